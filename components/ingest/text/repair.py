"""Undoes mojibake: text that was once decoded with the wrong encoding ("schÃ¶n", "â€™", "ÄãºÃ").

ftfy's heuristic (R. Speer, ftfy 6, doi:10.5281/zenodo.2591652) says what looks like UTF-8 read as a single-byte
encoding, and undoes it line by line. Of its other repairs none is used: quotes, ligatures, full-width characters,
entities and compatibility forms are as the author wrote them. GBK read as Latin-1, which ftfy does not know, is undone
where it is beyond doubt.
"""

# N texts, C characters of the batch, joined

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ftfy import TextFixerConfig

# What a character means to ftfy's rule: nothing; a Greek or Cyrillic letter; a sign that is common in good text; one of
# mojibake; one that mojibake begins with; bad by itself; bad unless a Latin letter follows.
_PLAIN, _LETTER, _SIGN, _SUSPECT, _LEAD, _ALONE, _BEFORE = range(7)
# The longest pattern of ftfy's rule has seven characters.
_REACH = 7

# Sixteen bytes and more, in pairs that GB 2312 gives to Chinese punctuation and to the 3,755 common characters of its
# first level: in no language stand so many accented letters and signs in a row.
_GBK_PAIRS = 8
_GBK_DIFFERENT = 5
_GBK = re.compile("(?:[\xb0-\xd7][\xa1-\xfe]|[\xa1\xa3][\xa1-\xfe]){8,}")
# The same in shorter runs, which a text that holds a long one is made of.
_GBK_RUN = re.compile("(?:[\xa1-\xa9\xb0-\xf7][\xa1-\xfe])+")

_HEBREW = re.compile("[\u05d0-\u05ea]")
_HEBREW_WORD = re.compile("[\u05d0-\u05ea]{2}")


def repair(texts: Sequence[str]) -> tuple[list[str], npt.NDArray[np.bool_]]:
    """Return a batch of texts without mojibake, and which of them have changed.

    Only texts in which characters stand together as they do in mojibake are looked at closely.
    """
    repaired = list(texts)
    changed_N = np.zeros(len(repaired), dtype=np.bool_)
    for row in _suspects(texts):
        text = _repaired(texts[row])
        if text != texts[row]:
            repaired[row] = text
            changed_N[row] = True
    return repaired, changed_N


def _repaired(text: str) -> str:
    """Return a text with each line repaired by itself: lines come from different places."""
    return "\n".join(line if line.isascii() else _repaired_line(line) for line in text.split("\n"))


def _repaired_line(line: str) -> str:
    from ftfy import fix_encoding

    if any(_is_gbk(run[0]) for run in _GBK.finditer(line)):
        line = _GBK_RUN.sub(_chinese, line)
    repaired: str = fix_encoding(line, _only_encoding())
    # A sign of multiplication before a quotation mark would be one Hebrew letter; mojibake of Hebrew comes in words.
    if _HEBREW.search(repaired) and not _HEBREW_WORD.search(repaired):
        return line
    return repaired


def _is_gbk(run: str) -> bool:
    """Return whether pairs are as different as those of Chinese, unlike "················" and "ÀÁÂÃÄ…"."""
    pairs = [run[place : place + 2] for place in range(0, len(run), 2)]
    different = [pair for pair in pairs if ord(pair[1]) - ord(pair[0]) not in (0, 1)]
    return len(set(different)) >= _GBK_DIFFERENT and len(different) > 0.7 * len(pairs)


def _chinese(run: re.Match[str]) -> str:
    try:
        return run[0].encode("latin-1").decode("gb2312")
    except UnicodeDecodeError:
        return run[0]


@cache
def _only_encoding() -> "TextFixerConfig":
    from ftfy import TextFixerConfig

    # Of what cannot be restored, ftfy would make U+FFFD; a reader gets more from what is there.
    return TextFixerConfig(replace_lossy_sequences=False, explain=False)


def _suspects(texts: Sequence[str]) -> list[int]:
    """Return the texts that ftfy's rule calls bad, and those that may be GBK.

    A few passes over the batch find where the rule could apply at all; it is slow, and is asked for those places only.
    """
    from ftfy.badness import is_bad

    rows = [row for row, text in enumerate(texts) if not text.isascii()]
    if not rows:
        return []
    lengths = np.fromiter((len(texts[row]) + 1 for row in rows), np.int64, len(rows))
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    joined = "\n".join(texts[row] for row in rows) + "\n"
    at = _places(joined)
    where = np.searchsorted(starts, at, side="right") - 1
    many = np.bincount(where, minlength=len(rows)) >= _GBK_PAIRS
    bad = set(np.flatnonzero(many).tolist())
    for place, row in zip(at.tolist(), where.tolist(), strict=True):
        if row not in bad and is_bad(joined[max(0, place - _REACH) : place + _REACH + 1]):
            bad.add(row)
    return [rows[row] for row in sorted(bad)]


def _places(joined: str) -> npt.NDArray[np.int64]:
    """Return where ftfy's rule could apply: at two of its characters side by side, and at those bad by themselves."""
    codes_C = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    class_C = _classes()[np.minimum(codes_C, 0xFFFF)]
    pairs = np.flatnonzero(_pairs()[class_C[:-1] * np.uint8(8) + class_C[1:]])
    before = np.flatnonzero(class_C[:-1] == _BEFORE)
    follows = codes_C[before + 1] | 0x20
    before = before[(follows < ord("a")) | (follows > ord("z"))]
    return np.sort(np.concatenate((pairs, before, np.flatnonzero(class_C == _ALONE))))


@cache
def _pairs() -> npt.NDArray[np.bool_]:
    """Return which two classes side by side may be bad, by eight times the first and the second."""
    table = np.zeros((8, 8), dtype=np.bool_)
    table[_SUSPECT:, _SUSPECT:] = True
    table[_LETTER, _SUSPECT:] = table[_SUSPECT:, _LETTER] = True
    table[_LEAD:, _SIGN] = table[_SIGN, _LEAD:] = True
    return table.ravel()


@cache
def _classes() -> npt.NDArray[np.uint8]:
    """Return the class of each character below U+10000."""
    from ftfy.badness import MOJIBAKE_CATEGORIES

    table = np.full(0x10000, _PLAIN, np.uint8)
    for name, characters in MOJIBAKE_CATEGORIES.items():
        kind = _SIGN if name == "common" else _LETTER if name.endswith("_common") else _SUSPECT
        for low, high in re.findall("(.)(?:-(.))?", characters, re.DOTALL):
            table[ord(low) : ord(high or low) + 1] = kind
    # Ђ is a letter of Serbian, and what "вЂ™" begins with.
    for letters, kind in (("ÎÐØÙ√", _LEAD), ("ÂÃœŒ", _BEFORE), ("Ђ\ufffd", _ALONE)):
        for letter in letters:
            table[ord(letter)] = kind
    table[0x80:0xA0] = _ALONE
    return table
