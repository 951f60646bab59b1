"""Batches for training: the order is a pure function of seed and step, so a position in the data is a step's number."""

# N rows, B rows of a batch, T tokens, K masked positions of a row at most, M masked positions of a batch

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from modelmill.errors import ModelmillError

Array = npt.NDArray[Any]

# Batches that a window of shuffled rows holds; within it rows of like length go together.
_WINDOW_BATCHES = 50
# BERT, section 3.1 (arXiv:1810.04805): of the chosen tokens 80 % become [MASK], 10 % a random one, 10 % stay.
_TO_MASK, _TO_RANDOM = 0.8, 0.1


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Tensors by name, and how much work they are."""

    tensors: Mapping[str, torch.Tensor]
    rows: int
    tokens: int
    """Padding not counted."""
    flat: Mapping[str, str] = field(default_factory=dict)
    """Tensors that have an entry for each true one of another tensor, by the other's name; the rest have one a row."""

    def cut(self, most: int | None) -> "Iterator[Batch]":
        """Yield the batch in pieces of at most so many rows, as even as can be.

        Raises:
            ModelmillError: a tensor has neither an entry a row nor another tensor that says which are a row's.
        """
        if most is None or most >= self.rows:
            yield self
            return
        # Even, since normalisation over the batch cannot do with a single row that is left over.
        count = -(-self.rows // most)
        for number in range(count):
            yield self.rows_between(self.rows * number // count, self.rows * (number + 1) // count)

    def rows_between(self, start: int, end: int) -> "Batch":
        """Return some of the rows, with as much of the padding as the batch has.

        Raises:
            ModelmillError: a tensor has neither an entry a row nor another tensor that says which are a row's.
        """
        tensors = {name: self._piece(name, start, end) for name in self.tensors}
        tokens = self.tokens * (end - start) // self.rows
        return Batch(tensors=tensors, rows=end - start, tokens=tokens, flat=self.flat)

    def _piece(self, name: str, start: int, end: int) -> torch.Tensor:
        tensor = self.tensors[name]
        if name in self.flat:
            of_row_B = self.tensors[self.flat[name]].flatten(1).sum(dim=1)
            first, count = int(of_row_B[:start].sum()), int(of_row_B[start:end].sum())
            return tensor[first : first + count]
        if tensor.ndim and len(tensor) != self.rows:
            raise ModelmillError(f"a batch of {self.rows} rows holds {len(tensor)} {name}, and cannot be cut")
        return tensor[start:end] if tensor.ndim else tensor

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        if device.type == "cpu":
            return self
        moved = {name: tensor.pin_memory().to(device, non_blocking=True) for name, tensor in self.tensors.items()}
        return replace(self, tensors=moved)


class Batches(Protocol):
    """What a training loop reads."""

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0, always the same one."""


@dataclass(frozen=True, kw_only=True)
class Masking:
    """How tokens are hidden from a masked language model."""

    rate: float
    """Share of the tokens, from 0 to 1."""
    mask: int
    """Id of [MASK]."""
    special: tuple[int, ...]
    """Ids that are never chosen."""
    vocabulary: int
    """Random tokens are drawn from these many."""

    def batch(self, ids_BT: Array, seed: Sequence[int]) -> Batch:
        """Return full rows with tokens hidden, where they were, and what they were."""
        generator = np.random.default_rng(seed)
        allowed_BT = ~np.isin(ids_BT, self.special)
        chosen_BT = (generator.random(ids_BT.shape) < self.rate) & allowed_BT
        if not chosen_BT.any():
            chosen_BT[np.unravel_index(allowed_BT.argmax(), allowed_BT.shape)] = True
        targets_M = ids_BT[chosen_BT].astype(np.int64)
        fate_M = generator.random(len(targets_M))
        random_M = generator.integers(0, self.vocabulary, len(targets_M))
        hidden_M = np.where(fate_M < _TO_MASK, self.mask, np.where(fate_M < _TO_MASK + _TO_RANDOM, random_M, targets_M))
        hidden_BT = ids_BT.astype(np.int64)
        hidden_BT[chosen_BT] = hidden_M
        count_B = chosen_BT.sum(axis=1)
        width = int(count_B.max())
        positions_BK = np.argsort(~chosen_BT, axis=1, kind="stable")[:, :width]
        tensors = {
            "ids": torch.from_numpy(hidden_BT),
            "positions": torch.from_numpy(positions_BK),
            "real": torch.from_numpy(np.arange(width) < count_B[:, None]),
            "targets": torch.from_numpy(targets_M),
        }
        return Batch(tensors=tensors, rows=len(ids_BT), tokens=ids_BT.size, flat={"targets": "real"})


@dataclass(kw_only=True)
class PackedBatches:
    """Full rows, shuffled anew in every epoch, hidden anew in every step; a batch may span two epochs."""

    rows_NT: Array
    batch_rows: int
    seed: int
    masking: Masking
    _epochs: dict[int, Array] = field(default_factory=dict, init=False, repr=False)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0."""
        places_B = np.arange(step * self.batch_rows, (step + 1) * self.batch_rows)
        epoch_B, place_B = np.divmod(places_B, len(self.rows_NT))
        rows_B = [self._order(int(epoch))[place] for epoch, place in zip(epoch_B, place_B, strict=True)]
        return self.masking.batch(self.rows_NT[rows_B], [self.seed, 1, step])

    def fixed(self, most: int) -> list[Batch]:
        """Return at most so many batches in the rows' own order, hidden the same way at every call."""
        starts = range(0, len(self.rows_NT), self.batch_rows)[:most]
        return [self.masking.batch(self.rows_NT[start : start + self.batch_rows], [2, start]) for start in starts]

    def _order(self, epoch: int) -> Array:
        if epoch not in self._epochs:
            # Rows are read forward: an earlier epoch is asked for no more.
            self._epochs = {number: order for number, order in self._epochs.items() if number == epoch - 1}
            self._epochs[epoch] = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.rows_NT))
        return self._epochs[epoch]


@dataclass(kw_only=True)
class LabelledBatches:
    """Rows of unlike length with a class each, batched with rows of like length and padded to the longest."""

    ids: Sequence[Array]
    labels_N: Array
    batch_rows: int
    seed: int
    pad: int
    _epoch: tuple[int, list[Array]] | None = field(default=None, init=False, repr=False)

    @property
    def steps_per_epoch(self) -> int:
        """How many batches hold every row once."""
        return -(-len(self.ids) // self.batch_rows)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, self._order(epoch))
        return self._padded(self._epoch[1][place])

    def fixed(self) -> list[Batch]:
        """Return every row once, the shortest first."""
        order_N = np.argsort(self._lengths(), kind="stable")
        return [self._padded(order_N[at : at + self.batch_rows]) for at in range(0, len(order_N), self.batch_rows)]

    def _lengths(self) -> Array:
        return np.array([len(row) for row in self.ids], dtype=np.int64)

    def _order(self, epoch: int) -> list[Array]:
        generator = np.random.default_rng([self.seed, epoch])
        shuffled_N = generator.permutation(len(self.ids))
        lengths_N = self._lengths()
        window = _WINDOW_BATCHES * self.batch_rows
        batches = []
        for start in range(0, len(shuffled_N), window):
            rows = shuffled_N[start : start + window]
            rows = rows[np.argsort(lengths_N[rows], kind="stable")]
            batches += [rows[at : at + self.batch_rows] for at in range(0, len(rows), self.batch_rows)]
        return [batches[place] for place in generator.permutation(len(batches))]

    def _padded(self, rows_B: Array) -> Batch:
        length_B = np.array([len(self.ids[row]) for row in rows_B])
        ids_BT = np.full((len(rows_B), int(length_B.max())), self.pad, dtype=np.int64)
        for place, row in enumerate(rows_B):
            ids_BT[place, : length_B[place]] = self.ids[row]
        tensors = {
            "ids": torch.from_numpy(ids_BT),
            "attention": torch.from_numpy(np.arange(ids_BT.shape[1]) < length_B[:, None]),
            "labels": torch.from_numpy(self.labels_N[rows_B].astype(np.int64)),
        }
        return Batch(tensors=tensors, rows=len(rows_B), tokens=int(length_B.sum()))


def labelled_rows(table: pa.Table) -> tuple[list[Array], Array]:
    """Return the token rows of a table, each of its own length, and its labels [N]."""
    return token_rows(table["input_ids"]), table["label"].to_numpy()


def token_rows(column: pa.ChunkedArray) -> list[Array]:
    """Return the rows of a column of tokens, each of its own length."""
    whole = column.combine_chunks()
    ids = whole.flatten().to_numpy(zero_copy_only=False)
    ends_N = np.cumsum(whole.value_lengths().to_numpy(zero_copy_only=False))
    return np.split(ids, ends_N[:-1])
