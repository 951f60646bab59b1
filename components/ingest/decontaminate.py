"""Keeps the corpus free of what validation and test rows say: no run of so many words of theirs may stand in it.

GPT-3 took runs of 13 words (arXiv:2005.14165, appendix C). A held-out row that is shorter counts as one run if it has 8
words at least, as there; a still shorter one says too little to be told from chance, and only a text that is nearly the
same is taken out for it.
"""

# N texts, W words

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from components.ingest.text.words import Booleans, Hashes, Words

SHORTEST = 8
"""Held-out rows of fewer words have no runs of their own."""

Grams = dict[int, Hashes]
"""By number of words: the hashes of the held-out runs, sorted."""


def held_out_grams(batches: Iterable[Sequence[str]], length: int) -> Grams:
    """Return the runs of so many words of held-out texts, and shorter texts as one run."""
    found: dict[int, list[npt.NDArray[np.uint64]]] = defaultdict(list)
    for texts in batches:
        words = Words.of(texts)
        found[length].append(words.grams(length)[0])
        for count in range(min(SHORTEST, length), length):
            short = np.flatnonzero(words.words_N == count)
            if len(short):
                found[count].append(words.grams_at(words.first_N[short], count))
    grams = {count: np.unique(np.concatenate(parts)) for count, parts in sorted(found.items())}
    return {count: hashes for count, hashes in grams.items() if len(hashes)}


def contaminated(texts: Sequence[str], grams: Grams) -> Booleans:
    """Return which texts hold a held-out run."""
    words = Words.of(texts)
    found_N = np.zeros(len(texts), dtype=np.bool_)
    counts = sorted(grams)
    for count, (hashes, first) in zip(counts, words.grams_of(counts), strict=True):
        held_out = grams[count]
        place = np.minimum(np.searchsorted(held_out, hashes), len(held_out) - 1)
        found_N[words.text_W[first[held_out[place] == hashes]]] = True
    return found_N
