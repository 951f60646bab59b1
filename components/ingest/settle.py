"""Decides, for all rows with the same ids at once, which are kept and where: duplicates, conflicts, splits.

A row's split hangs on its text alone, through its id: the same on every machine, in every order of files and rows, and
whatever its label.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.ingest.settings import Split
from components.ingest.spill import id_words

SPLITS = ("train", "validation", "test")

Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_HALF = np.uint64(32)
_LOW_HALF = np.uint64(0xFFFFFFFF)


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What a bucket came to; all positions are rows of `table`, in the order of their ids."""

    table: pa.Table
    labelled: Integers
    """Kept labelled rows."""
    labelled_split: Integers
    """Their splits, as positions in SPLITS."""
    corpus: Integers
    """Kept rows of the corpus."""
    labelled_dropped: dict[str, Integers]
    """Dropped labelled rows by reason."""
    corpus_dropped: dict[str, Integers]
    """Dropped rows of the corpus by reason."""


def split_of(low: Words, split: Split) -> Integers:
    """Return the split of labelled rows, as positions in SPLITS, by the trailing words of their ids."""
    # Bits 64 to 95 of the SHA-256. Shards go by the first bits and the corpus's own split by bits 96 to 127: the bits
    # of a hash are independent, so that the three draws are.
    draw = (low >> _HALF).astype(np.float64) / 2.0**32
    # Shares that sum to 1 in decimals may not in binary: without a test split nothing may be left for it.
    bounds = [split.train, split.train + split.validation if split.test else 1.0]
    return np.searchsorted(bounds, draw, side="right")


def corpus_draw(low: Words) -> Integers:
    """Return a number from 0 to 2^32 - 1 for each row of the corpus, by which its split is drawn."""
    return (low & _LOW_HALF).astype(np.int64)


def settle(table: pa.Table, split: Split, *, takes_labelled: bool) -> Settled:
    """Settle one bucket: a table of id, text, label (null where unusable) and labelled, in the order of reading."""
    high, low = id_words(table["id"])
    label = table["label"].combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy()
    labelled = table["labelled"].to_numpy()
    # Stable: of equal ids the row that was read first comes first.
    order = np.lexsort((low, high))
    group = _groups(high[order], low[order])
    drawn = split_of(low[order], split)
    kept, dropped = _labelled(group, label[order], labelled[order])
    in_corpus = ~labelled[order] | takes_labelled
    has_labelled = np.zeros(group[-1] + 1, dtype=np.bool_)
    has_labelled[group[labelled[order]]] = True
    held_out = in_corpus & has_labelled[group] & (drawn != 0)
    corpus = _firsts(group, in_corpus & ~held_out)
    return Settled(
        table=table,
        labelled=order[kept],
        labelled_split=drawn[kept],
        corpus=order[corpus],
        labelled_dropped={reason: order[rows] for reason, rows in dropped.items()},
        corpus_dropped={
            "held_out": order[held_out],
            "duplicate": order[in_corpus & ~held_out & ~corpus],
        },
    )


def _groups(high: Words, low: Words) -> Integers:
    """Return the number of each sorted row's id: 0 for the first id, 1 for the next one."""
    new = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    return np.concatenate(([0], np.cumsum(new)))


def _firsts(group: Integers, among: Booleans) -> Booleans:
    """Return which rows are the first of their group among some."""
    rows = np.flatnonzero(among)
    firsts = np.zeros(len(group), dtype=np.bool_)
    firsts[rows[np.unique(group[rows], return_index=True)[1]]] = True
    return firsts


def _labelled(group: Integers, label: Integers, labelled: Booleans) -> tuple[Booleans, dict[str, Booleans]]:
    """Return which labelled rows are kept, and those dropped as duplicates or because their labels differ."""
    usable = labelled & (label >= 0)
    lowest = np.full(group[-1] + 1, np.iinfo(np.int64).max)
    highest = np.full(group[-1] + 1, -1)
    np.minimum.at(lowest, group[usable], label[usable])
    np.maximum.at(highest, group[usable], label[usable])
    conflict = usable & (lowest != highest)[group]
    kept = _firsts(group, usable & ~conflict)
    return kept, {"label_conflict": conflict, "duplicate": usable & ~conflict & ~kept}
