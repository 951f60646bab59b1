"""Pairs of perceptual hashes that differ in few bits, found exactly and without comparing every pair.

Two hashes of 64 bits that differ in d bits, cut into d + r blocks, are equal in at least r of them. So for every choice
of r blocks the hashes are sorted by these, and only those that are equal there are compared: G. S. Manku, A. Jain and
A. Das Sarma, Detecting near-duplicates for web crawling, 2007, section 3. r grows with the number of hashes, so that
few of them meet by chance.

A blank picture has no frequencies to speak of: the hashes of all of them are alike, whatever the shade. They, and
others that look alike without being so, are left out by the caller (`wanted_N`) and so never become one cluster.
"""

# N hashes, D distinct hashes, P pairs, G groups of hashes that meet

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

_BITS = 64
# Pairs that are compared at once: about 100 MB.
_CHUNK_PAIRS = 1 << 21


def near_links(hash_N: Hashes, distance: int, wanted_N: Booleans | None = None) -> Iterator[Integers]:
    """Yield pairs [P, 2] of positions, smaller first, of hashes that differ in at most `distance` bits, each pair once.

    Of equal hashes the first stands for all: it is paired with each of the others, and it alone with hashes near it.
    So what is linked is the same as if all pairs were given. Memory is bounded, however many pairs there are.
    """
    places = np.arange(len(hash_N)) if wanted_N is None else np.flatnonzero(wanted_N)
    hash_D, first, which = np.unique(hash_N[places], return_index=True, return_inverse=True)
    others = np.flatnonzero(first[which] != np.arange(len(places)))
    if len(others):
        yield np.stack((places[first[which[others]]], places[others]), axis=1)
    if distance < 1:
        return
    for one, other in _near(hash_D, distance):
        pair = np.stack((places[first[one]], places[first[other]]), axis=1)
        pair.sort(axis=1)
        yield pair


def _near(hash_D: Hashes, distance: int) -> Iterator[tuple[Integers, Integers]]:
    """Yield the positions of distinct hashes that differ in at most `distance` bits, each pair once."""
    masks = _masks(len(hash_D), distance)
    for number, mask in enumerate(masks):
        key_D = hash_D & mask
        order = np.argsort(key_D, kind="stable")
        for left, right in _meetings(key_D[order]):
            unlike = hash_D[order[left]] ^ hash_D[order[right]]
            near = np.flatnonzero(np.bitwise_count(unlike) <= distance)
            # A pair that meets under several masks is taken under the first of them.
            for earlier in masks[:number]:
                near = near[unlike[near] & earlier != 0]
            if len(near):
                yield order[left[near]], order[right[near]]


def _masks(count: int, distance: int) -> list[np.uint64]:
    """Return the choices of blocks of which any two hashes so near are equal in one."""
    together = 1
    # So many bits that chance alone lets about one hash meet another; more masks than a few dozen do not pay.
    while _BITS * together // (distance + together) < count.bit_length() and distance + together < 8:
        together += 1
    edges = np.linspace(0, _BITS, distance + together + 1).round().astype(int)
    blocks = [((1 << int(stop)) - 1) ^ ((1 << int(start)) - 1) for start, stop in pairwise(edges)]
    return [np.uint64(sum(chosen)) for chosen in combinations(blocks, together)]


def _meetings(key_D: Hashes) -> Iterator[tuple[Integers, Integers]]:
    """Yield all pairs of positions with the same key among sorted keys, some millions at a time."""
    count = len(key_D)
    new = np.flatnonzero(np.concatenate(([True], key_D[1:] != key_D[:-1])))
    size_G = np.diff(new, append=count)
    # Each hash meets those after it in its group.
    end_D = np.repeat(new + size_G, size_G)
    after_D = end_D - np.arange(count) - 1
    total_D = np.cumsum(after_D)
    start = 0
    while start < count:
        done = total_D[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(total_D, done + _CHUNK_PAIRS, side="right")))
        one = np.repeat(np.arange(start, stop), after_D[start:stop])
        begin = total_D[start:stop] - after_D[start:stop] - done
        yield one, one + 1 + np.arange(len(one)) - np.repeat(begin, after_D[start:stop])
        start = stop
