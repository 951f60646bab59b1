"""Batches of a table's vectors; the order is a pure function of seed and step."""

# N rows, B rows of a batch, F numbers of a vector

from dataclasses import dataclass, field

import numpy as np
import torch

from modelmill.training.data import Array, Batch


@dataclass(kw_only=True)
class TableBatches:
    """Vectors with an answer each, shuffled anew in every epoch; the last batch of one may be smaller."""

    features_NF: Array
    answers_N: Array
    """Numbers of classes (int64), or the targets in the network's unit (float32)."""
    batch_rows: int
    seed: int
    _epoch: tuple[int, Array] | None = field(default=None, init=False, repr=False)

    @property
    def steps_per_epoch(self) -> int:
        """How many batches hold every row once."""
        return -(-len(self.features_NF) // self.batch_rows)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            order_N = np.random.default_rng([self.seed, epoch]).permutation(len(self.features_NF))
            self._epoch = (epoch, order_N)
        return self._of(self._epoch[1][place * self.batch_rows : (place + 1) * self.batch_rows])

    def fixed(self) -> list[Batch]:
        """Return every row once, in the rows' own order."""
        starts = range(0, len(self.features_NF), self.batch_rows)
        return [self._of(slice(start, start + self.batch_rows)) for start in starts]

    def _of(self, rows: Array | slice) -> Batch:
        # Copies: what comes from Arrow may not be written to, and torch wants to.
        features_BF = np.array(self.features_NF[rows], order="C")
        tensors = {
            "features": torch.from_numpy(features_BF),
            "answers": torch.from_numpy(np.array(self.answers_N[rows], order="C")),
        }
        return Batch(tensors=tensors, rows=len(features_BF), tokens=len(features_BF))
