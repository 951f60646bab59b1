"""Batches for models that predict the next token: rows, what comes after each position, and which document it is of."""

# N rows, B rows of a batch, T tokens

from dataclasses import dataclass, field

import numpy as np
import torch

from modelmill.training.data import Array, Batch
from modelmill.training.packing import Packed

NOTHING = -100
"""The target where nothing is to be predicted."""


@dataclass(kw_only=True)
class CausalBatches:
    """Packed rows, shuffled anew in every epoch; a batch may span two epochs.

    The last token of a row, the last of a document that is kept apart, and padding have no next token. Where documents
    are not kept apart, the mark before each is no target either: that one comes after the other is nothing to learn.
    """

    packed: Packed
    batch_rows: int
    seed: int
    first: int
    """Id of the mark before each document."""
    end: int
    """Id of the mark after each; GPT-2 has one for both."""
    _epochs: dict[int, Array] = field(default_factory=dict, init=False, repr=False)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0."""
        places_B = np.arange(step * self.batch_rows, (step + 1) * self.batch_rows)
        epoch_B, place_B = np.divmod(places_B, len(self.packed.rows_NT))
        rows_B = [self._order(int(epoch))[place] for epoch, place in zip(epoch_B, place_B, strict=True)]
        return causal_batch(self.packed, np.array(rows_B), self.first, self.end)

    def fixed(self, most: int) -> list[Batch]:
        """Return at most so many batches in the rows' own order."""
        rows = len(self.packed.rows_NT)
        starts = range(0, rows, self.batch_rows)[:most]
        return [
            causal_batch(self.packed, np.arange(start, min(start + self.batch_rows, rows)), self.first, self.end)
            for start in starts
        ]

    def _order(self, epoch: int) -> Array:
        if epoch not in self._epochs:
            # Rows are read forward: an earlier epoch is asked for no more.
            self._epochs = {number: order for number, order in self._epochs.items() if number == epoch - 1}
            generator = np.random.default_rng([self.seed, 0, epoch])
            self._epochs[epoch] = generator.permutation(len(self.packed.rows_NT))
        return self._epochs[epoch]


def causal_batch(packed: Packed, rows_B: Array, first: int, end: int) -> Batch:
    """Return rows as tensors `ids` and `targets` [B, T], and `documents` [B, T] where they are kept apart."""
    ids_BT = packed.rows_NT[rows_B].astype(np.int64)
    targets_BT = np.full_like(ids_BT, NOTHING)
    targets_BT[:, :-1] = ids_BT[:, 1:]
    if not packed.apart:
        mark_BT = targets_BT == first
        if first == end:
            # Of two in a row the second begins a document; a single one ends the text before it.
            mark_BT &= ids_BT == end
        targets_BT[mark_BT] = NOTHING
        tensors = {"ids": torch.from_numpy(ids_BT), "targets": torch.from_numpy(targets_BT)}
        return Batch(tensors=tensors, rows=len(ids_BT), tokens=ids_BT.size)
    documents_BT = packed.documents_of(rows_B)
    same_BT = (documents_BT[:, 1:] == documents_BT[:, :-1]) & (documents_BT[:, 1:] > 0)
    targets_BT[:, :-1][~same_BT] = NOTHING
    tensors = {
        "ids": torch.from_numpy(ids_BT),
        "targets": torch.from_numpy(targets_BT),
        "documents": torch.from_numpy(documents_BT),
    }
    return Batch(tensors=tensors, rows=len(ids_BT), tokens=int((documents_BT > 0).sum()))
