"""Rows that cleaning has changed in a way worth seeing: a few of each batch, by the kind of change, before and after.

Trimmed or collapsed white space alone is not worth it. What is masked in a text, or was dropped for it, is never shown
as it was.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from itertools import islice

import numpy as np

from components.ingest.text.personal import PLACEHOLDERS, Personal, mask
from components.ingest.text.repair import repair
from modelmill.ledger import SAMPLE_CHARS
from modelmill.text import clean, has_markup, has_other_form, has_unseen

FEW = 3
"""Rows of a kind that a batch brings."""
MOST = 20
"""Rows of a kind that are kept to be looked at, per source file."""

# A change that lies deeper in a text is not shown: to find it would take longer than to clean the text.
_HEAD = 4000
# Characters before a change that are shown with it.
_LEAD = 100
# Of a batch's changed texts so many characters are looked at for what was not marked while it was done: to find the
# rare kinds of all texts would cost a twentieth of all the work.
_LOOKED_AT = 1 << 18
_SEEN_BY: Mapping[str, Callable[[str], bool]] = {
    "markup": has_markup,
    "unseen_characters": has_unseen,
    "unicode_form": has_other_form,
}
_INK = re.compile(r"\S")
# In place of personal data before they were masked.
_HIDDEN = dict.fromkeys(PLACEHOLDERS, "████")


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A row that cleaning has changed."""

    row: int
    """As a person counts in the file, from 1."""
    kind: str
    """What was done to it: `mojibake`, `markup`, `personal_data` and so on."""
    before: str
    """What stood there, around the first change, personal data hidden."""
    after: str


Marks = Mapping[str, Collection[int]]
"""By kind of change: the numbers of the rows that underwent it, as far as it was known while it was done."""


def changes(
    raw: Mapping[int, str], kept: Iterable[tuple[int, str]], *, marks: Marks, personal: Personal
) -> list[Changed]:
    """Return the first rows of each kind of change among those kept, given by number what stood there."""
    found: list[Changed] = []
    counts: Counter[str] = Counter()
    # Of most rows cleaning gives back the very same text, or trims it.
    rows = [(number, text) for number, text in kept if raw[number] is not text and raw[number].strip() != text]
    for number, text, kind in _kinds(raw, rows, marks):
        if counts[kind] == FEW or (found and found[-1].row == number):
            continue
        if (pair := _shown(raw[number], text, personal)) is not None:
            counts[kind] += 1
            found.append(Changed(row=number, kind=kind, before=pair[0], after=pair[1]))
    return found


def _kinds(raw: Mapping[int, str], rows: Sequence[tuple[int, str]], marks: Marks) -> Iterator[tuple[int, str, str]]:
    """Yield row, text and kind of each change that is found out."""
    looked_at = rows[: 1 + int(np.searchsorted(np.cumsum([len(text) for _, text in rows]), _LOOKED_AT))]
    # What is in none of them is found to be so at once.
    joined = "\n".join(raw[number] for number, _ in looked_at)
    seen_by = {kind: holds for kind, holds in _SEEN_BY.items() if holds(joined)}
    for place, (number, text) in enumerate(rows):
        for kind, marked in marks.items():
            if number in marked:
                yield number, text, kind
        if place < len(looked_at):
            yield from ((number, text, kind) for kind, holds in seen_by.items() if holds(raw[number]))


def _shown(before: str, after: str, personal: Personal) -> tuple[str, str] | None:
    """Return both texts around their first difference beside white space, None where they cannot be shown."""
    head = before[:_HEAD]
    if personal.action != "keep":
        hidden = _hidden(head, personal)
        if hidden is None:
            return None
        head = hidden
    if len(before) > _HEAD:
        # A number that was cut through is none that masking would find.
        head = head[:-_LEAD]
    after = after[:_HEAD]
    one, other = "".join(head.split()), "".join(after.split())
    apart = (at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1])
    same = next(apart, min(len(one), len(other)))
    if same == min(len(one), len(other)) and len(before) > _HEAD:
        return None
    return _around(head, same), _around(after, same)


def _hidden(text: str, personal: Personal) -> str | None:
    """Return a text without personal data, None where they could be told from it all the same."""
    # Some are found only once markup is gone: "jane&#64;example.com" cannot be hidden as it stands there.
    bare = [unescape(text), clean(repair([text])[0][0])]
    if not mask([text, *bare], personal).hit.any():
        return text
    found = mask([text], personal, _HIDDEN)
    if any(mask([one], personal).counts.total() > found.counts.total() for one in bare):
        return None
    return found.texts[0]


def _around(text: str, place: int) -> str:
    """Return the part of a text around a character, which is counted without white space."""
    if len(text) > SAMPLE_CHARS:
        there = next(islice(_INK.finditer(text), place, None), None)
        start = max(0, (there.start() if there else len(text)) - _LEAD)
        text = "…" * (start > 0) + text[start : start + SAMPLE_CHARS]
    # Half a surrogate pair is no text that could be written down.
    return text.encode(errors="replace").decode()
