"""Gopher's rules against texts that repeat themselves (arXiv:2112.11446, table A1), over a batch at a time.

A run of ten words that occurs twice holds runs of five that do: so only words whose short runs repeat are looked at for
longer ones, and most texts are done with after the first.
"""

# N texts, W words, G runs of words (grams), P places of runs

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from components.ingest.text.lines import Lines
from components.ingest.text.settings import Repetition
from components.ingest.text.verdicts import Rule, share
from components.ingest.text.words import Hashes, Integers, Words, mix


def repetition_rules(words: Words, lines: Lines, settings: Repetition) -> Iterator[Rule]:
    """Yield the verdicts of the rules that have a threshold."""
    for name, parts, count, chars in (
        ("lines", lines, settings.duplicate_lines, settings.duplicate_line_chars),
        ("paragraphs", lines.paragraphs(), settings.duplicate_paragraphs, settings.duplicate_paragraph_chars),
    ):
        if count is not None:
            repeated_N = share(parts.per_text(parts.repeated_L), parts.count_N)
            yield Rule(f"repeated_{name}", repeated_N, high=count, unit=f"of the {name}")
        if chars is not None:
            repeated_N = share(parts.chars_per_text(parts.repeated_L), words.chars_N)
            yield Rule(f"repeated_{name}_chars", repeated_N, high=chars, unit="of the characters")
    yield from _grams(words, settings)


def _grams(words: Words, settings: Repetition) -> Iterator[Rule]:
    limits = {**settings.top_grams, **settings.duplicate_grams}
    # Places where a shorter run repeats, from which the next longer ones are taken; at first all of them.
    places = np.arange(len(words.hash_W))
    for count in sorted(limits):
        hashes, places = _at(words, places, count)
        order, again_P = _sorted(hashes ^ mix(words.text_W[places].astype(np.uint64)))
        if count in settings.top_grams:
            top_N = share(_top(words, places[order], again_P, count), words.chars_N)
            yield Rule(f"top_{count}_gram", top_N, high=settings.top_grams[count], unit="of the characters")
        if count in settings.duplicate_grams:
            covered_N = share(_covered(words, places[order[again_P]], count), words.chars_N)
            limit = settings.duplicate_grams[count]
            yield Rule(f"duplicate_{count}_grams", covered_N, high=limit, unit="of the characters")
        repeats_P = again_P.copy()
        repeats_P[:-1] |= again_P[1:]
        places = np.sort(places[order[repeats_P]])


def _at(words: Words, places: Integers, count: int) -> tuple[Hashes, Integers]:
    """Return the hashes of the runs of so many words that begin at places, as far as they end in the same text."""
    places = places[places + count <= len(words.hash_W)]
    places = places[words.text_W[places] == words.text_W[places + count - 1]]
    return words.grams_at(places, count), places


def _sorted(keys: Hashes) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """Return the order that puts equal keys side by side, earlier first, and which of them repeat the one before."""
    order = np.argsort(keys, kind="stable")
    again_P = np.zeros(len(keys), dtype=np.bool_)
    again_P[1:] = keys[order[1:]] == keys[order[:-1]]
    return order, again_P


def _top(words: Words, places: Integers, again_P: npt.NDArray[np.bool_], count: int) -> Integers:
    """Return the characters that the most frequent run of each text takes [N]; 0 where none occurs twice."""
    begins = np.flatnonzero(~again_P)
    times_G = np.diff(begins, append=len(again_P))
    twice = times_G > 1
    first_G, times_G = places[begins[twice]], times_G[twice]
    last_G = first_G + count - 1
    chars_G = words.start_W[last_G] + words.chars_W[last_G] - words.start_W[first_G]
    text_G = words.text_W[first_G]
    # Of equally frequent runs the longest counts.
    most = np.lexsort((chars_G, times_G, text_G))
    top_N = np.zeros(len(words.chars_N), dtype=np.int64)
    top_N[text_G[most]] = (times_G * chars_G)[most]
    return top_N


def _covered(words: Words, places: Integers, count: int) -> Integers:
    """Return the characters of each text [N] that lie in a run that repeats an earlier one, each counted once."""
    depth = np.zeros(len(words.hash_W) + 1, dtype=np.int32)
    np.add.at(depth, places, 1)
    np.subtract.at(depth, places + count, 1)
    inside_W = np.cumsum(depth[:-1]) > 0
    return words.per_text(words.text_W[inside_W], words.chars_W[inside_W])
