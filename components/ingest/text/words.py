"""Texts as words, by the batch: where each word stands, how long it is, and a hash of it.

A word is a run of letters, digits and marks; an apostrophe or hyphen parts two ("don't", "well-known"). Scripts that
are written without spaces (Chinese, Japanese, Thai and their like) give one word a character, so that no rule needs
spaces.
All the work is done on arrays of code points; nothing is done text by text or word by word.
"""

# N texts, C characters of a batch, W words, L lines

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]
Booleans = npt.NDArray[np.bool_]

# What a character is. LETTER and DIGIT make words, each UNSPACED one is a word.
OTHER, SPACE, LINE_END, LETTER, DIGIT, UNSPACED = range(6)

# Scripts without spaces between words, by first and last code point: the Unicode blocks that UAX #29 leaves to
# dictionaries (Thai, Lao, Myanmar, Khmer, Tibetan), kana, and the ideographs. Hangul is written with spaces.
_UNSPACED = (
    (0x0E00, 0x0EFF),
    (0x0F00, 0x0FFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x3005, 0x3007),
    (0x3041, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9D),
    (0x20000, 0x323AF),
)
_POINTS = 0x110000
# Beyond it lie planes without letters; the tables' tails stay OTHER.
_LAST_LETTER = 0x323B0

# Odd numbers of 64 random bits; the hash of a word is a polynomial in the first, mixed at the end.
_BASE = np.uint64(0x9E3779B97F4A7C15)
_CHAIN = np.uint64(0xD6E8FEB86659FD93)
_POWERS = 1 << 12


@lru_cache(maxsize=1)
def _classes() -> Bytes:
    """What each code point is [0x110000]."""
    kinds = np.zeros(_POINTS, dtype=np.uint8)
    by_category = defaultdict(lambda: OTHER, {"L": LETTER, "M": LETTER, "N": DIGIT, "Z": SPACE})
    categories = map(unicodedata.category, map(chr, range(_LAST_LETTER)))
    kinds[:_LAST_LETTER] = np.fromiter((by_category[category[0]] for category in categories), np.uint8, _LAST_LETTER)
    for first, last in _UNSPACED:
        part = kinds[first : last + 1]
        part[part == LETTER] = UNSPACED
    kinds[[ord("\t"), ord("\r")]] = SPACE
    kinds[ord("\n")] = LINE_END
    return kinds


@lru_cache(maxsize=1)
def _lowered() -> Hashes:
    """A random number for each code point [0x110000], the same for a letter in upper and in lower case."""
    points = np.arange(_POINTS, dtype=np.uint64)
    characters = list(map(chr, range(_LAST_LETTER)))
    for character, lower in zip(characters, map(str.lower, characters), strict=True):
        if character != lower and len(lower) == 1:
            points[ord(character)] = ord(lower)
    return mix(points + np.uint64(1))


@lru_cache(maxsize=1)
def _powers() -> Hashes:
    """The powers of the base; a character further back than these counts as much as the last one of them."""
    return np.multiply.accumulate(np.full(_POWERS, _BASE, dtype=np.uint64))


def mix(hashes: Hashes) -> Hashes:
    """Return 64-bit numbers scattered, so that each bit hangs on all bits of the old one (MurmurHash3's finaliser)."""
    hashes = (hashes ^ (hashes >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    hashes = (hashes ^ (hashes >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return hashes ^ (hashes >> np.uint64(33))


@dataclass(frozen=True, kw_only=True, eq=False)
class Words:
    """The words of a batch of texts, in order."""

    points_C: npt.NDArray[np.uint32]
    """Code points of all texts, each with a line end after it."""
    kind_C: Bytes
    """What each character is: LETTER, SPACE and so on."""
    begin_N: Integers
    """Where each text begins among the characters."""
    chars_N: Integers
    """Characters of each text."""

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Words":
        """Return the words of texts."""
        joined = "\n".join([*texts, ""])
        points_C = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        chars_N = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        begin_N = np.cumsum(chars_N + 1) - chars_N - 1
        return cls(points_C=points_C, kind_C=_classes()[points_C], begin_N=begin_N, chars_N=chars_N)

    @cached_property
    def _spelt(self) -> tuple[Integers, Integers]:
        """Where the characters are that belong to words, and which of them begin one."""
        inside_C, starts_C = _marked(self.kind_C)
        places = np.flatnonzero(inside_C)
        return places, np.flatnonzero(starts_C[places])

    @cached_property
    def start_W(self) -> Integers:
        """Where each word begins among the characters."""
        places, first_W = self._spelt
        return places[first_W]

    @cached_property
    def chars_W(self) -> Integers:
        """Characters of each word."""
        places, first_W = self._spelt
        return np.diff(first_W, append=len(places))

    @cached_property
    def hash_W(self) -> Hashes:
        """A hash of each word, equal for equal words, in upper or lower case."""
        places, first_W = self._spelt
        return hash_runs(self.points_C[places], first_W)

    @cached_property
    def text_W(self) -> Integers:
        """The text that each word stands in."""
        return np.repeat(np.arange(len(self.words_N)), self.words_N)

    @cached_property
    def words_N(self) -> Integers:
        """Words of each text."""
        # There are many words to a text: to look for the texts among the words takes less than the other way round.
        return np.diff(np.searchsorted(self.start_W, self.begin_N), append=len(self.start_W))

    @cached_property
    def first_N(self) -> Integers:
        """The number of each text's first word."""
        return np.cumsum(self.words_N) - self.words_N

    @cached_property
    def unspaced_N(self) -> Integers:
        """Words of each text that are characters of a script without spaces."""
        return self.per_text(self.text_W[self.kind_C[self.start_W] == UNSPACED])

    def text_at(self, places: Integers) -> Integers:
        """Return the texts that characters, given by where they stand, belong to."""
        return np.searchsorted(self.begin_N, places, side="right") - 1

    def per_text(self, texts: Integers, weights: npt.NDArray[np.int64] | None = None) -> Integers:
        """Return how often each text is named [N], or the sum of the weights that it is named with."""
        return np.bincount(texts, weights, minlength=len(self.chars_N)).astype(np.int64)

    def grams(self, count: int) -> tuple[Hashes, Integers]:
        """Return a hash of each run of so many words of one text, and the number of its first word."""
        (found,) = self.grams_of([count])
        return found

    def grams_of(self, counts: Sequence[int]) -> Iterator[tuple[Hashes, Integers]]:
        """Yield the same for several lengths, ascending: each goes on from the one before."""
        hashes, done = self.hash_W, 1
        for count in counts:
            total = max(len(self.hash_W) - count + 1, 0)
            hashes = hashes[:total]
            for step in range(done, count):
                hashes = hashes * _CHAIN + self.hash_W[step : total + step]
            done = count
            whole = np.flatnonzero(self.text_W[:total] == self.text_W[count - 1 : total + count - 1])
            yield mix(hashes[whole]), whole

    def grams_at(self, places: Integers, count: int) -> Hashes:
        """Return the hashes of the runs of so many words that begin at some words."""
        hashes = self.hash_W[places]
        for step in range(1, count):
            hashes = hashes * _CHAIN + self.hash_W[places + step]
        return mix(hashes)


def _marked(kind_C: Bytes) -> tuple[Booleans, Booleans]:
    """Return which characters belong to words, and which begin one."""
    spelt_C = (kind_C == LETTER) | (kind_C == DIGIT)
    starts_C = spelt_C.copy()
    starts_C[1:] &= ~spelt_C[:-1]
    single_C = kind_C == UNSPACED
    return spelt_C | single_C, starts_C | single_C


def hash_runs(points: npt.NDArray[np.uint32], first: Integers) -> Hashes:
    """Return a hash of each run of code points, given where each run begins; upper and lower case are the same."""
    if not len(first):
        return np.zeros(0, dtype=np.uint64)
    place = np.arange(len(points)) - np.repeat(first, np.diff(first, append=len(points)))
    weighted = _lowered()[points] * _powers()[np.minimum(place, _POWERS - 1)]
    return mix(np.add.reduceat(weighted, first))
