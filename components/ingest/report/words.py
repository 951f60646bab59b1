"""How figures and texts are written on the page."""

import re
from collections import Counter
from collections.abc import Iterable
from difflib import SequenceMatcher
from itertools import pairwise

CUT = 600
"""A text is cut there, in characters."""
# Of two long texts, so many characters are shown before the first that differs.
_LEAD = 100
# Equal pieces of two texts that are compared. Texts of words have some 10,000; one sign over and over has 360,000,
# takes seconds, and shows nothing.
_MEETINGS = 50_000

# What cannot be seen, or would turn the text around it: ASCII and C1 controls, soft hyphen, zero-width space,
# directional overrides and isolates, byte order mark. Joiners stay: scripts and emoji are made with them.
_UNSEEN = (*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x200B, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF)
_HIDDEN = {code: f"⟨{code:04X}⟩" for code in _UNSEEN if chr(code) not in "\t\n\r"}

# Words of scripts with spaces between them; of others, and of signs, each character by itself.
_TOKEN = re.compile(r"[0-9A-Za-z\u00C0-\u024F\u0370-\u052F]+|\s+|.", re.DOTALL)


def percent(part: float, whole: float) -> str:
    """Return a share with as many digits as say something; 0 % and 100 % are exact."""
    if not whole:
        return "–"
    share = 100 * part / whole
    if share in {0, 100}:
        return f"{share:.0f}\u00a0%"
    if 0 < share < 0.01:
        return "<\u00a00.01\u00a0%"
    if 99.9 < share < 100:
        return ">\u00a099.9\u00a0%"
    return f"{share:.2f}\u00a0%" if share < 1 else f"{share:.1f}\u00a0%"


def number(value: float) -> str:
    """Return a figure of a column or an edge: whole ones whole, others with four digits that count."""
    if abs(value) >= 1e15:
        said = f"{value:.3g}"
    else:
        said = f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 10_000 else f"{value:,.4g}"
    return said.replace("-", "−")


def words(reason: str) -> str:
    """Return a reason word as words."""
    return reason.replace("_", " ")


def lead(text: str) -> str:
    """Return a text that begins with a capital, and is else as it was."""
    return text[:1].upper() + text[1:]


def cut(text: str, length: int = CUT) -> str:
    """Return a text of at most so many characters, and an ellipsis."""
    return text if len(text) <= length else text[:length].rstrip() + " …"


def visible(page: str) -> str:
    """Return a page in which what cannot be seen is written out, and which UTF-8 can hold."""
    return page.translate(_HIDDEN).encode(errors="replace").decode()


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, which an s makes plural."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


Pieces = list[tuple[str, bool]]
"""A text in pieces, each with whether it differs from the other text."""


def changes(before: str, after: str) -> tuple[Pieces, Pieces]:
    """Return both texts in pieces, cut to where they begin to differ."""
    same = next((at for at, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), 0)
    start = same - _LEAD if same > CUT // 2 else 0
    one, other = (_TOKEN.findall("… " * (start > 0) + cut(text[start:])) for text in (before, after))
    here, there = Counter(one), Counter(other)
    if sum(count * there[token] for token, count in here.items()) > _MEETINGS:
        return [("".join(one), True)], [("".join(other), True)]
    steps = SequenceMatcher(None, one, other, autojunk=False).get_opcodes()
    return (
        [("".join(one[low:high]), kind != "equal") for kind, low, high, _, _ in steps if high > low],
        [("".join(other[low:high]), kind != "equal") for kind, _, _, low, high in steps if high > low],
    )


def ranges(sizes: Iterable[tuple[int, int]]) -> list[tuple[str, int]]:
    """Return counts by size put together: 2, 3, 4, 5 to 9, 10 to 99 and so on, without those that are empty."""
    edges = [2, 3, 4, 5, 10, 100, 1_000, 10_000, 100_000]
    found = [0] * len(edges)
    for size, count in sizes:
        found[max(0, sum(size >= edge for edge in edges) - 1)] += count
    names = [f"{low:,}" if high == low + 1 else f"{low:,} to {high - 1:,}" for low, high in pairwise(edges)]
    names.append(f"{edges[-1]:,} and more")
    return [(name, count) for name, count in zip(names, found, strict=True) if count]
