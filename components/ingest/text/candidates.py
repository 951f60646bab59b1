"""Where personal data could stand in a batch of texts: a few passes over all its characters at once, in numpy."""

# C characters of the batch, joined; M marks: its digits, colons and "@"; W windows

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]

# Between two texts: longer than any gap within a number, so that none reaches from one text into the next.
_GAP = 4
_BETWEEN = "\0" * (_GAP + 1)
# Characters looked at in one go: what stays in a processor's cache.
_SLICE = 1 << 18
# The fewest digits of a number that is looked for, and those of an IP address ("10.9.8.70"), which has three gaps.
_FEWEST = 6
_FEWEST_QUAD = 4
# What may belong to a number beside its digits (an IBAN's letters), or say what it is.
_AROUND = 48
# Between two colons of an IPv6 address stand at most four digits.
_COLONS = 5


class Window(NamedTuple):
    """A stretch of one text."""

    text: int
    start: int
    """First character, counted from the text's own beginning."""
    stop: int


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """What is worth a closer look."""

    numbers: list[Window]
    colons: list[Window]
    """Where two colons stand close together."""
    ats: list[tuple[int, int]]
    """Text and character of each "@" with something on both sides."""


def candidates(texts: Sequence[str]) -> Candidates:
    """Return where numbers, colons and "@" stand in a batch."""
    numbers: list[Window] = []
    colons: list[Window] = []
    ats: list[tuple[int, int]] = []
    # One byte a character for the one, four for the other.
    for ascii_ones in (True, False):
        rows = [row for row, text in enumerate(texts) if text.isascii() is ascii_ones and text]
        if rows:
            batch = _Batch([texts[row] for row in rows], rows)
            numbers += batch.numbers()
            colons += batch.colons()
            ats += batch.ats()
    return Candidates(numbers=numbers, colons=colons, ats=ats)


class _Batch:
    """Texts joined, and where their marks stand."""

    def __init__(self, texts: Sequence[str], rows: Sequence[int]) -> None:
        self._rows = rows
        lengths = np.fromiter((len(text) for text in texts), np.int64, len(texts))
        self._starts = np.concatenate(([0], np.cumsum(lengths + len(_BETWEEN))[:-1]))
        self._stops = self._starts + lengths
        self._at_M, self._mark_M = _marks(_BETWEEN.join(texts))

    def numbers(self) -> Iterator[Window]:
        """Yield the windows around enough digits in a row."""
        digit_M = self._at_M[(self._mark_M >= 48) & (self._mark_M < 58)]
        first_W, last_W, count_W, gaps_W = _clusters(digit_M, _GAP)
        enough_W = (count_W >= _FEWEST) | ((count_W >= _FEWEST_QUAD) & (gaps_W >= 3))
        yield from self._windows(first_W[enough_W], last_W[enough_W])

    def colons(self) -> Iterator[Window]:
        """Yield the windows around colons that stand close together."""
        first_W, last_W, count_W, _ = _clusters(self._at_M[self._mark_M == 58], _COLONS)
        many_W = count_W >= 2
        yield from self._windows(first_W[many_W], last_W[many_W])

    def ats(self) -> Iterator[tuple[int, int]]:
        """Yield every "@" as row and position."""
        at_M = self._at_M[self._mark_M == 64]
        text_M = np.searchsorted(self._starts, at_M, side="right") - 1
        for text, at in zip(text_M.tolist(), (at_M - self._starts[text_M]).tolist(), strict=True):
            yield self._rows[text], at

    def _windows(self, first_W: Positions, last_W: Positions) -> Iterator[Window]:
        """Yield windows around the given stretches; those that meet are one."""
        if not len(first_W):
            return
        text_W = np.searchsorted(self._starts, first_W, side="right") - 1
        start_W = np.maximum(first_W - _AROUND, self._starts[text_W])
        stop_W = np.minimum(last_W + 1 + _AROUND, self._stops[text_W])
        # Windows are in order, and their ends rise with them.
        new_W = np.concatenate(([True], (start_W[1:] >= stop_W[:-1]) | (text_W[1:] != text_W[:-1])))
        heads = np.flatnonzero(new_W)
        tails = np.concatenate((heads[1:] - 1, [len(new_W) - 1]))
        texts = text_W[heads]
        starts = start_W[heads] - self._starts[texts]
        stops = stop_W[tails] - self._starts[texts]
        for text, start, stop in zip(texts.tolist(), starts.tolist(), stops.tolist(), strict=True):
            yield Window(self._rows[text], start, stop)


def _marks(joined: str) -> tuple[Positions, npt.NDArray[np.uint8]]:
    """Return where digits, colons, "@" and the signs between them in ASCII stand, full-width ones too, and which."""
    at: list[Positions] = []
    marks: list[npt.NDArray[np.uint8]] = []
    narrow = joined.isascii()
    for start in range(0, len(joined), _SLICE):
        part = joined[start : start + _SLICE]
        if narrow or part.isascii():
            codes_C = np.frombuffer(part.encode("ascii"), np.uint8)
            found = np.flatnonzero((codes_C - np.uint8(48)) <= 16)
            mark = codes_C[found]
        else:
            wide_C = np.frombuffer(part.encode("utf-32-le", "surrogatepass"), np.uint32)
            found = np.flatnonzero(((wide_C - np.uint32(48)) <= 16) | ((wide_C - np.uint32(0xFF10)) <= 16))
            # U+FF10 is 0x10 modulo 256, and the ASCII "0" is 0x30.
            mark = (wide_C[found] & 0xFF).astype(np.uint8)
            mark[wide_C[found] > 0xFF] += np.uint8(0x20)
        at.append(found + start)
        marks.append(mark)
    return np.concatenate(at), np.concatenate(marks)


def _clusters(at_M: Positions, gap: int) -> tuple[Positions, Positions, Positions, Positions]:
    """Return first and last place, number and inner gaps of marks that follow each other at most `gap` apart."""
    if not len(at_M):
        return at_M, at_M, at_M, at_M
    step_M = np.diff(at_M)
    heads = np.concatenate(([0], np.flatnonzero(step_M > gap) + 1))
    tails = np.concatenate((heads[1:] - 1, [len(at_M) - 1]))
    gaps_M = np.concatenate(([0], np.cumsum(step_M > 1)))
    return at_M[heads], at_M[tails], tails - heads + 1, gaps_M[tails] - gaps_M[heads]
