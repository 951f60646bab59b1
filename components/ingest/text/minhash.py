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
        whole = _whole(words, short)
        order = np.argsort(np.concatenate([text, short]), kind="stable")
        text = np.concatenate([text, short])[order]
        hashes = np.concatenate([hashes, whole])[order]
    having, first = np.unique(text, return_index=True)
    return hashes, first, having


def _whole(words: Words, texts: npt.NDArray[np.int64]) -> Hashes:
    """Return a hash of all words of each text that has any."""
    count = words.words_N[texts]
    first = np.cumsum(count) - count
    place = np.arange(int(count.sum())) - np.repeat(first, count)
    own = words.hash_W[np.repeat(words.first_N[texts], count) + place]
    # Each word's place goes in, so that the same words in another order differ.
    hashes: Hashes = np.bitwise_xor.reduceat(mix(own + (place + 1).astype(np.uint64)), first)
    return hashes


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
