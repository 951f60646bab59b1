"""Decides over all rows at once which are kept and where: duplicates, conflicts, splits.

A row's split hangs on the texts of its group alone: the same on every machine, in every order of files and rows, and
whatever the labels. A group is what must not be torn apart: equal and nearly equal texts, and rows with the same key.
"""

# N rows, by number in the order of reading

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from components.ingest.index import Index
from components.ingest.settings import Split
from components.ingest.splits import by_label, by_time, split_of

Booleans = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.int8]
Integers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

# What becomes of a row, in one of the two datasets: absent, kept, or dropped for a reason.
ABSENT, KEPT = 0, 1
REASONS = {2: "duplicate", 3: "near_duplicate", 4: "label_conflict", 5: "held_out", 6: "over_max_rows"}
_DUPLICATE, _NEAR_DUPLICATE, _CONFLICT, _HELD_OUT, _OVER_MAX_ROWS = REASONS

_LOW_HALF = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
# 2^64 divided by the golden ratio: Fibonacci hashing (Knuth, The Art of Computer Programming 3, section 6.4).
_ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What became of each row."""

    labelled_N: Bytes
    """As a labelled row. A row without a usable label is ABSENT: reading has counted it."""
    corpus_N: Bytes
    """As a text of the corpus."""
    split_N: Bytes
    """The split of each row's group, as a position in SPLITS; holds for labelled rows."""
    same_N: Integers
    """A number for each row's id."""
    draw_N: Integers
    """A number from 0 to 2^32 - 1 by which the corpus's own split is drawn, the same throughout a cluster."""
    group_N: Words
    """The same number throughout a group: of its row with the smallest id."""


def settle(index: Index, near_N: Integers, group_N: Integers, split: Split, *, rules: "Rules") -> Settled:
    """Settle all rows; `near_N` and `group_N` number each row's cluster of near-duplicates, and its group around it."""
    rank_N, same_N = _ranks(index)
    twins_N = near_N if rules.drop_near else same_N
    labelled_N = _labelled(index, same_N, twins_N if rules.drop_near_labelled else same_N, rank_N)
    _keep_at_most(labelled_N, index, rules.most_rows)
    lead_N = _leads(group_N, rank_N)
    split_N = _splits(index, lead_N, rank_N, labelled_N == KEPT, split)
    in_corpus = ~index.labelled_N | rules.takes_labelled
    has_labelled = np.zeros(index.rows, dtype=np.bool_)
    has_labelled[group_N[index.labelled_N]] = True
    corpus_N = np.zeros(index.rows, dtype=np.int8)
    held_out = in_corpus & has_labelled[group_N] & (split_N != 0)
    # A labelled text that is one too many, or the twin of one, does not come back through the corpus.
    beyond = np.zeros(index.rows, dtype=np.bool_)
    beyond[twins_N[labelled_N == _OVER_MAX_ROWS]] = True
    beyond = in_corpus & index.labelled_N & beyond[twins_N] & ~held_out
    corpus_N[held_out], corpus_N[beyond] = _HELD_OUT, _OVER_MAX_ROWS
    _keep_firsts(corpus_N, in_corpus & ~held_out & ~beyond, same_N, twins_N, rank_N)
    _keep_at_most(corpus_N, index, rules.most_rows)
    return Settled(
        labelled_N=labelled_N,
        corpus_N=corpus_N,
        split_N=split_N.astype(np.int8),
        same_N=same_N,
        draw_N=(index.low_N[_leads(near_N, rank_N)] & _LOW_HALF).astype(np.int64),
        group_N=index.high_N[lead_N] ^ index.low_N[lead_N],
    )


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the recipe says of rows that are alike."""

    takes_labelled: bool
    """Whether the training texts of labelled rows belong to the corpus."""
    drop_near: bool
    """Whether of near-duplicates one is kept, or all of them, together in one split."""
    drop_near_labelled: bool = True
    """Whether that holds for labelled rows too."""
    most_rows: Mapping[int, int] = field(default_factory=dict)
    """How many rows of a source are kept at most, by its number; nothing for the others."""


def _keep_at_most(fate_N: Bytes, index: Index, most_rows: Mapping[int, int]) -> None:
    """Drop of the kept rows of a source those that are too many, drawn by their ids."""
    for source, most in most_rows.items():
        rows = np.flatnonzero((fate_N == KEPT) & (index.source_N == source))
        # Multiplied, so that the draw says nothing about the rows' splits and shards, which go by the ids' own bits.
        draw = (index.high_N[rows] ^ index.low_N[rows]) * _ODD
        order = np.lexsort((index.low_N[rows], index.high_N[rows], draw >> _HALF))
        fate_N[rows[order[most:]]] = _OVER_MAX_ROWS


def _splits(index: Index, lead_N: Integers, rank_N: Integers, kept: Booleans, split: Split) -> Integers:
    draw_N = index.low_N[lead_N]
    if split.by == "label":
        return by_label(lead_N, draw_N, index.label_N, rank_N, kept, split)
    if split.by == "time":
        return by_time(lead_N, draw_N, index.time_N, kept, split)
    return split_of(draw_N, split)


def _ranks(index: Index) -> tuple[Integers, Integers]:
    """Return each row's place in the order of ids, of equal ones the smallest tie and the first read first, and a
    number for its id."""
    tie_N = index.tie_N
    order = np.lexsort((*([tie_N] if tie_N.any() else []), index.low_N, index.high_N))
    high, low = index.high_N[order], index.low_N[order]
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    rank_N = np.empty(len(order), dtype=np.int64)
    rank_N[order] = np.arange(len(order))
    same_N = np.empty(len(order), dtype=np.int64)
    same_N[order] = np.cumsum(new) - 1
    return rank_N, same_N


def _leads(cluster_N: Integers, rank_N: Integers) -> Integers:
    """Return, for each row, the row of its cluster with the smallest id."""
    smallest = np.full(len(cluster_N), len(cluster_N), dtype=np.int64)
    np.minimum.at(smallest, cluster_N, rank_N)
    by_rank = np.empty(len(rank_N), dtype=np.int64)
    by_rank[rank_N] = np.arange(len(rank_N))
    return by_rank[smallest[cluster_N]] if len(rank_N) else by_rank


def _labelled(index: Index, same_N: Integers, twins_N: Integers, rank_N: Integers) -> Bytes:
    usable = index.labelled_N & (index.label_N >= 0)
    lowest = np.full(index.rows, np.iinfo(np.int32).max, dtype=np.int32)
    highest = np.full(index.rows, -1, dtype=np.int32)
    np.minimum.at(lowest, same_N[usable], index.label_N[usable])
    np.maximum.at(highest, same_N[usable], index.label_N[usable])
    conflict = usable & (lowest != highest)[same_N]
    fate_N = np.zeros(index.rows, dtype=np.int8)
    fate_N[conflict] = _CONFLICT
    _keep_firsts(fate_N, usable & ~conflict, same_N, twins_N, rank_N)
    return fate_N


def _keep_firsts(fate_N: Bytes, among: Booleans, same_N: Integers, twins_N: Integers, rank_N: Integers) -> None:
    """Keep of the rows among, in each cluster of twins, the one with the smallest id; the others are duplicates."""
    rows = np.flatnonzero(among)
    rows = rows[np.argsort(rank_N[rows])]
    fate_N[rows] = _NEAR_DUPLICATE
    firsts = np.unique(twins_N[rows], return_index=True)[1]
    distinct = np.zeros(len(rows), dtype=np.bool_)
    distinct[np.unique(same_N[rows], return_index=True)[1]] = True
    fate_N[rows[~distinct]] = _DUPLICATE
    fate_N[rows[firsts]] = KEPT
