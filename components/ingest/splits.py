"""Which split a group of rows falls into: by a hash, in the same shares for each class, or by time."""

# N rows, G groups that hold kept labelled rows

import numpy as np
import numpy.typing as npt

from components.ingest.settings import Split

SPLITS = ("train", "validation", "test")

Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_HALF = np.uint64(32)


def split_of(draw_N: Words, split: Split) -> Integers:
    """Return splits, as positions in SPLITS, by the trailing words of ids."""
    # Bits 64 to 95 of the SHA-256. Shards go by the first bits and the corpus's own split by bits 96 to 127: the bits
    # of a hash are independent, so that the three draws are.
    draw = (draw_N >> _HALF).astype(np.float64) / 2.0**32
    return np.searchsorted(_bounds(split), draw, side="right")


def by_label(
    lead_N: Integers, draw_N: Words, label_N: npt.NDArray[np.int32], rank_N: Integers, kept: Booleans, split: Split
) -> Integers:
    """Return the split of each row so that each class has the same shares, up to the size of a group.

    Groups are dealt out in the order of their hashes. A group belongs to the class of its kept row with the smallest
    id; one without kept rows is drawn by its hash. `rank_N` is each row's place in the order of ids.
    """
    split_N = split_of(draw_N, split)
    rows = np.flatnonzero(kept)
    rows = rows[np.argsort(rank_N[rows])]
    lead_G, first, size_G = np.unique(lead_N[rows], return_index=True, return_counts=True)
    label_G = label_N[rows[first]]
    for label in np.unique(label_G):
        own = np.flatnonzero(label_G == label)
        own = own[np.argsort(draw_N[lead_G[own]])]
        _deal(split_N, lead_N, lead_G[own], size_G[own], split)
    return split_N


def by_time(lead_N: Integers, draw_N: Words, time_N: npt.NDArray[np.float64], kept: Booleans, split: Split) -> Integers:
    """Return the split of each row: the oldest groups train, the newest test. A group is as old as its oldest row."""
    split_N = split_of(draw_N, split)
    rows = np.flatnonzero(kept)
    lead_G, place, size_G = np.unique(lead_N[rows], return_inverse=True, return_counts=True)
    time_G = np.full(len(lead_G), np.inf)
    np.fmin.at(time_G, place, time_N[rows])
    order = np.lexsort((draw_N[lead_G], time_G))
    _deal(split_N, lead_N, lead_G[order], size_G[order], split)
    return split_N


def _deal(split_N: Integers, lead_N: Integers, lead_G: Integers, size_G: Integers, split: Split) -> None:
    """Deal groups out in order, each into the split in which its middle row lies."""
    middle_G = (np.cumsum(size_G) - size_G / 2) / max(size_G.sum(), 1)
    dealt = np.full(len(lead_N), -1, dtype=np.int64)
    dealt[lead_G] = np.searchsorted(_bounds(split), middle_G, side="right")
    found = dealt[lead_N]
    split_N[found >= 0] = found[found >= 0]


def _bounds(split: Split) -> list[float]:
    # Shares that sum to 1 in decimals may not in binary: without a test split nothing may be left for it.
    return [split.train, split.train + split.validation if split.test else 1.0]
