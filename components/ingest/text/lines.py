"""The lines and paragraphs of a batch of texts, and which of them repeat an earlier one of the same text."""

# N texts, L lines or paragraphs, C characters

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from components.ingest.text.words import LINE_END, Booleans, Hashes, Integers, Words, hash_runs, mix

_CLOSING = "\"'”’»)]）」』】"
# C4, section 2.2: "a period, exclamation mark, question mark, or end quotation mark"; with those of other scripts.
_END_MARKS = ".!?…。！？｡؟۔।॥។။" + '"”’»」』'
_BULLETS = "-*•‣▪●○◦–·"


def is_any(points: npt.NDArray[np.uint32], characters: str) -> Booleans:
    """Return which code points are one of a few characters."""
    return np.isin(points, np.array([ord(each) for each in characters], dtype=np.uint32))


@dataclass(frozen=True, kw_only=True, eq=False)
class Lines:
    """The lines of a batch that hold anything, or its paragraphs."""

    words: Words
    start_L: Integers
    """Where each begins among the batch's characters."""
    stop_L: Integers
    """Where each ends, its line end not counted."""

    @classmethod
    def of(cls, words: Words) -> "Lines":
        """Return the lines of all texts; empty ones are left out."""
        ends = np.flatnonzero(words.kind_C == LINE_END)
        starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
        some = ends > starts
        return cls(words=words, start_L=starts[some], stop_L=ends[some])

    def paragraphs(self) -> "Lines":
        """Return the paragraphs: lines with nothing but one line end between them belong together."""
        first = np.ones(len(self.start_L), dtype=np.bool_)
        first[1:] = (self.start_L[1:] > self.stop_L[:-1] + 1) | (self.text_L[1:] != self.text_L[:-1])
        last = np.append(first[1:], True) if len(first) else first
        return Lines(words=self.words, start_L=self.start_L[first], stop_L=self.stop_L[last])

    @cached_property
    def text_L(self) -> Integers:
        """The text that each stands in."""
        return self.words.text_at(self.start_L)

    @cached_property
    def chars_L(self) -> Integers:
        """Characters of each."""
        return self.stop_L - self.start_L

    @cached_property
    def count_N(self) -> Integers:
        """How many each text has."""
        return self.words.per_text(self.text_L)

    @cached_property
    def repeated_L(self) -> Booleans:
        """Which repeat an earlier one of the same text, upper and lower case being the same."""
        inside = np.zeros(len(self.words.points_C) + 1, dtype=np.int8)
        inside[self.start_L] += 1
        inside[self.stop_L] -= 1
        kept = np.cumsum(inside[:-1], dtype=np.int8).astype(np.bool_)
        first = np.cumsum(self.chars_L) - self.chars_L
        return later_ones(hash_runs(self.words.points_C[kept], first) ^ mix(self.text_L.astype(np.uint64)))

    def ending_with(self, characters: str) -> Booleans:
        """Return which end with one of a few characters."""
        return is_any(self.words.points_C[self.stop_L - 1], characters)

    @cached_property
    def sentence_ends_L(self) -> Booleans:
        """Which end with a mark that ends a sentence, or a closing quote."""
        return self.ending_with(_END_MARKS)

    @cached_property
    def ellipsis_ends_L(self) -> Booleans:
        """Which end with an ellipsis."""
        points_C, last_L = self.words.points_C, self.stop_L - 1
        dots_L = np.ones(len(last_L), dtype=np.bool_)
        for back in range(3):
            place_L = last_L - back
            dots_L &= (place_L >= self.start_L) & (points_C[np.maximum(place_L, 0)] == ord("."))
        found_L: Booleans = dots_L | (points_C[last_L] == ord("…"))
        return found_L

    @cached_property
    def bullets_L(self) -> Booleans:
        """Which begin with a bullet."""
        return is_any(self.words.points_C[self.start_L], _BULLETS)

    def per_text(self, chosen_L: Booleans) -> Integers:
        """Return how many of the chosen ones each text has [N]."""
        return self.words.per_text(self.text_L[chosen_L])

    def chars_per_text(self, chosen_L: Booleans) -> Integers:
        """Return how many characters the chosen ones of each text hold [N]."""
        return self.words.per_text(self.text_L[chosen_L], self.chars_L[chosen_L])


def sentences(words: Words) -> Integers:
    """Return how many sentences each text has [N]: end marks with a space, a line end, a quote or a character after."""
    places = np.flatnonzero(is_any(words.points_C[:-1], "".join(each for each in _END_MARKS if each not in _CLOSING)))
    after = words.points_C[places + 1]
    wide = words.points_C[places] > 0xFF
    ends = wide | (words.kind_C[places + 1] == LINE_END) | is_any(after, " \t" + _CLOSING)
    return words.per_text(words.text_at(places[ends]))


def later_ones(keys: Hashes) -> Booleans:
    """Return which keys are equal to an earlier one."""
    order = np.argsort(keys, kind="stable")
    later = np.zeros(len(keys), dtype=np.bool_)
    later[order[1:]] = keys[order[1:]] == keys[order[:-1]]
    return later
