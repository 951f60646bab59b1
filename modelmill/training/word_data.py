"""Batches of word embeddings: words with what stands around them, and words of noise; made by seed and step alone."""

# S words of all documents, K of them kept in an epoch, B words of a batch, W places around each, V vocabulary

from dataclasses import dataclass, field

import numpy as np
import torch

from modelmill.models.word_vectors import accompanied, around, drawn, noise_share, stays
from modelmill.training.data import Array, Batch


@dataclass(frozen=True)
class _Epoch:
    """The words that an epoch keeps, in their order, and the order in which they are looked at."""

    number: int
    first: int
    """Its first step."""
    ids_K: Array
    document_K: Array
    order: Array

    def steps(self, batch_rows: int) -> int:
        return -(-len(self.order) // batch_rows)


@dataclass(kw_only=True)
class WordBatches:
    """Every word that an epoch keeps once, in the middle of a window of a size drawn for it.

    Frequent words are left out at random before windows are laid. The last batch of an epoch may be smaller. A word
    that no other of its document stands beside is in no batch.
    """

    ids_S: Array
    document_S: Array
    """The number of each word's document."""
    counts_V: Array
    """How often each word is in the training split."""
    window: int
    subsample: float
    """0 leaves all in."""
    batch_rows: int
    seed: int
    _epoch: _Epoch | None = field(default=None, init=False, repr=False)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0."""
        epoch = self._of(step)
        start = (step - epoch.first) * self.batch_rows
        at_B = epoch.order[start : start + self.batch_rows]
        chance = np.random.default_rng([self.seed, 1, step])
        reach_B = chance.integers(1, self.window + 1, len(at_B))
        return self._made(epoch.ids_K, epoch.document_K, at_B, reach_B, chance)

    def fixed(self, most: int) -> list[Batch]:
        """Return at most so many batches, always the same, of what the first epoch keeps, with whole windows."""
        epoch = self._begun(0, 0)
        made = []
        for start in range(0, len(epoch.order), self.batch_rows)[:most]:
            at_B = epoch.order[start : start + self.batch_rows]
            reach_B = np.full(len(at_B), self.window)
            chance = np.random.default_rng([2, start])
            made.append(self._made(epoch.ids_K, epoch.document_K, at_B, reach_B, chance))
        return made

    def _made(self, ids_S: Array, document_S: Array, at_B: Array, reach_B: Array, chance: np.random.Generator) -> Batch:
        contexts_BW, real_BW = around(ids_S, document_S, at_B, reach_B, self.window)
        noise_B = drawn(noise_share(self.counts_V), (len(at_B),), chance)
        tensors = {
            "words": torch.from_numpy(ids_S[at_B].astype(np.int64)),
            "contexts": torch.from_numpy(contexts_BW.astype(np.int64)),
            "real": torch.from_numpy(real_BW),
            "noise": torch.from_numpy(noise_B.astype(np.int64)),
        }
        return Batch(tensors=tensors, rows=len(at_B), tokens=len(at_B))

    def _of(self, step: int) -> _Epoch:
        """Return the epoch that a step belongs to; how long each is depends on what it leaves out."""
        epoch = self._epoch
        if epoch is None or step < epoch.first:
            epoch = self._begun(0, 0)
        while step >= epoch.first + epoch.steps(self.batch_rows):
            epoch = self._begun(epoch.number + 1, epoch.first + epoch.steps(self.batch_rows))
        self._epoch = epoch
        return epoch

    def _begun(self, number: int, first: int) -> _Epoch:
        chance = np.random.default_rng([self.seed, 0, number])
        ids_K, document_K = self.ids_S, self.document_S
        if self.subsample:
            kept = chance.random(len(ids_K)) < stays(self.counts_V, self.subsample)[ids_K]
            ids_K, document_K = ids_K[kept], document_K[kept]
        places = np.flatnonzero(accompanied(document_K))
        if not len(places):
            # Nothing was left beside anything: such a corpus is read whole.
            ids_K, document_K = self.ids_S, self.document_S
            places = np.flatnonzero(accompanied(document_K))
        order = places[chance.permutation(len(places))]
        return _Epoch(number=number, first=first, ids_K=ids_K, document_K=document_K, order=order)
