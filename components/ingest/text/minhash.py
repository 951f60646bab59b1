"""MinHash signatures of texts, and the keys by which near-duplicates meet (Broder 1997; Leskovec et al., chapter 3)."""

# N texts, W runs of words, K hash functions, B bands

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from components.ingest.text.settings import NearDuplicates
from components.ingest.text.words import Hashes, Words, mix

# Runs of words that are hashed at a time: what fits into a core's cache with the products.
_BLOCK = 1 << 15
# No run of words has this hash but by a chance of 2^-32.
_NONE = np.uint32(0xFFFFFFFF)


def band_keys(words: Words, scheme: NearDuplicates) -> tuple[Hashes, npt.NDArray[np.int64]]:
    """Return the keys [M, B] of the texts that have words, and the numbers of those texts.

    Two texts whose sets of runs overlap by a share s (Jaccard) have a key in common with a chance of
    1 - (1 - s^rows)^bands: with 14 bands of 8, 0.06 at s = 0.5, 0.77 at 0.75, and 0.9996 at 0.9. A text shorter than a
    run counts as one run, so that short ones match when their words are the same.
    """
    hashes, first_M, having = _runs(words, scheme.words)
    signature_KM = _signatures(hashes, first_M, scheme.bands * scheme.rows)
    keys_MB = np.empty((len(having), scheme.bands), dtype=np.uint64)
    for band in range(scheme.bands):
        key_M = np.full(len(having), band + 1, dtype=np.uint64)
        for row in range(band * scheme.rows, (band + 1) * scheme.rows):
            key_M = mix(key_M ^ signature_KM[row])
        keys_MB[:, band] = key_M
    return keys_MB, having


def _runs(words: Words, length: int) -> tuple[Hashes, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the hashes of all runs text by text, where each text's begin, and which texts have any."""
    hashes, place = words.grams(length)
    text = words.text_W[place]
    short = np.flatnonzero((words.words_N > 0) & (words.words_N < length))
    if len(short):
        whole = np.array([_whole(words, int(number)) for number in short], dtype=np.uint64)
        order = np.argsort(np.concatenate([text, short]), kind="stable")
        text = np.concatenate([text, short])[order]
        hashes = np.concatenate([hashes, whole])[order]
    having, first = np.unique(text, return_index=True)
    return hashes, first, having


def _whole(words: Words, number: int) -> np.uint64:
    first = int(words.first_N[number])
    own = words.hash_W[first : first + int(words.words_N[number])]
    # Each word's place goes in, so that the same words in another order differ.
    places: Hashes = np.arange(1, len(own) + 1, dtype=np.uint64)
    return np.uint64(np.bitwise_xor.reduce(mix(own + places)))


def _signatures(hashes: Hashes, first_M: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.uint32]:
    """Return the least value [K, M] that each hash function takes among each text's runs."""
    factor_K, offset_K = _functions(count)
    signature_KM = np.full((count, len(first_M)), _NONE, dtype=np.uint32)
    low = hashes.astype(np.uint32)
    product = np.empty(_BLOCK, dtype=np.uint32)
    for begin in range(0, len(low), _BLOCK):
        block = low[begin : begin + _BLOCK]
        inside = slice(np.searchsorted(first_M, begin, side="right") - 1, np.searchsorted(first_M, begin + len(block)))
        starts = np.maximum(first_M[inside] - begin, 0)
        values = product[: len(block)]
        for factor, offset, least in zip(factor_K, offset_K, signature_KM, strict=True):
            np.multiply(block, factor, out=values)
            np.add(values, offset, out=values)
            np.minimum(least[inside], np.minimum.reduceat(values, starts), out=least[inside])
    return signature_KM


@lru_cache(maxsize=4)
def _functions(count: int) -> tuple[Any, Any]:
    """Multiply-add hash functions over numbers that are scattered already; fixed, so that signatures last."""
    drawn = mix(np.arange(1, 2 * count + 1, dtype=np.uint64)).astype(np.uint32)
    return drawn[:count] | np.uint32(1), drawn[count:]
