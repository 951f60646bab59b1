"""Batches of pictures, and how a class is learned from them."""

# N pictures, B batch, H rows, W columns, C channels, L labels

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch.nn import functional as F

from modelmill.training.augment import flipped, mixed, moved
from modelmill.training.augment_settings import Augment
from modelmill.training.data import Batch
from modelmill.training.objectives import Objective, Scored
from modelmill.training.room import room

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


def pixel_array(batches: Iterable[pa.RecordBatch], rows: int, shape: tuple[int, int, int]) -> Pixels:
    """Return the pixels of the column `pixels` as one array [N, H, W, C]."""
    size = int(np.prod(shape))
    made: Pixels = room((rows, *shape), np.uint8)
    done = 0
    for batch in batches:
        column = batch["pixels"]
        start = column.offset * size
        values = np.frombuffer(column.buffers()[1], dtype=np.uint8)[start : start + len(column) * size]
        made[done : done + len(column)] = values.reshape(-1, *shape)
        done += len(column)
    assert done == rows
    return made


@dataclass(kw_only=True)
class RowOrder:
    """Which rows a step reads: every row once an epoch, in an order that the seed decides."""

    rows: int
    batch_rows: int
    seed: int
    _epoch: tuple[int, npt.NDArray[np.int64]] | None = field(default=None, init=False, repr=False)

    @property
    def steps_per_epoch(self) -> int:
        """How many batches hold every row once."""
        return -(-self.rows // self.batch_rows)

    def of(self, step: int) -> npt.NDArray[np.int64]:
        """Return the rows of a step, counted from 0."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, np.random.default_rng([self.seed, 0, epoch]).permutation(self.rows))
        # Sorted, a mapped file is read forward.
        return np.sort(self._epoch[1][slice(*self.edges(place))])

    def edges(self, place: int) -> tuple[int, int]:
        """Return where the batch of a place in the epoch begins and ends.

        Batches differ by a row at most: a last one of a few rows would have a mean and a deviation of its own, and
        batch normalisation with it.
        """
        first, last = (self.rows * edge // self.steps_per_epoch for edge in (place, place + 1))
        return first, last


@dataclass(kw_only=True)
class PixelBatches:
    """Pictures with a class each: every row once an epoch, in an order and with changes that seed and step decide."""

    pixels_NHWC: Pixels
    labels_N: Labels
    batch_rows: int
    seed: int
    augment: Augment | None
    """None leaves the pictures as they are; their order is drawn all the same."""
    order: RowOrder = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.order = RowOrder(rows=len(self.labels_N), batch_rows=self.batch_rows, seed=self.seed)

    @property
    def steps_per_epoch(self) -> int:
        """How many batches hold every row once."""
        return self.order.steps_per_epoch

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0."""
        return self._changed(self.order.of(step), np.random.default_rng([self.seed, 1, step]))

    def fixed(self) -> list[Batch]:
        """Return every row once, in the rows' own order, unchanged."""
        starts = range(0, len(self.labels_N), self.batch_rows)
        return [self._plain(slice(start, start + self.batch_rows)) for start in starts]

    def _plain(self, rows: Any) -> Batch:
        return _batch(self.pixels_NHWC[rows], self.labels_N[rows])

    def _changed(self, rows_B: npt.NDArray[np.int64], chance: np.random.Generator) -> Batch:
        augment = self.augment
        if augment is None:
            return self._plain(rows_B)
        pixels_BHWC = moved(self.pixels_NHWC[rows_B], augment.padding(self.pixels_NHWC.shape[1]), chance)
        if augment.flip:
            pixels_BHWC = flipped(pixels_BHWC, chance)
        labels_B = self.labels_N[rows_B]
        if not (augment.mixup or augment.cutmix):
            return _batch(pixels_BHWC, labels_B)
        made = mixed(pixels_BHWC, augment, chance)
        others = {
            "other_labels": torch.from_numpy(labels_B[made.partner_B]),
            "share": torch.tensor(made.share, dtype=torch.float32),
        }
        return _batch(made.pixels_BHWC, labels_B, others)


def _batch(pixels_BHWC: Pixels, labels_B: Labels, others: dict[str, torch.Tensor] | None = None) -> Batch:
    tensors = {"pixels": torch.from_numpy(np.ascontiguousarray(pixels_BHWC)), "labels": torch.from_numpy(labels_B)}
    # A picture counts as one token: it is as much work in one batch as in another.
    return Batch(tensors=tensors | (others or {}), rows=len(labels_B), tokens=len(labels_B))


def picture_classification(label_smoothing: float) -> Objective:
    """Return the objective of a picture's class; while learning, a share of each label is spread over all of them.

    Source: Szegedy et al. 2016, section 7 (arXiv:1512.00567).
    """
    return partial(_classification, label_smoothing)


def _classification(label_smoothing: float, model: Any, batch: Batch) -> Scored:
    return picture_scored(picture_logits(model, batch), batch, model.training, label_smoothing)


def picture_logits(model: Any, batch: Batch) -> torch.Tensor:
    """Return what a classifier says of a batch of pictures [B, L]."""
    logits_BL: torch.Tensor = model(batch.tensors["pixels"])
    return logits_BL


def picture_scored(logits_BL: torch.Tensor, batch: Batch, learning: bool, label_smoothing: float) -> Scored:
    """Score logits by the pictures' labels, of mixed pictures by both."""
    tensors, logits_BL = batch.tensors, logits_BL.float()
    smoothing = label_smoothing if learning else 0.0
    loss = F.cross_entropy(logits_BL, tensors["labels"], reduction="sum", label_smoothing=smoothing)
    if "share" in tensors:
        other = F.cross_entropy(logits_BL, tensors["other_labels"], reduction="sum", label_smoothing=smoothing)
        loss = tensors["share"] * loss + (1 - tensors["share"]) * other
    correct = (logits_BL.detach().argmax(dim=1) == tensors["labels"]).sum()
    return Scored(loss=loss, count=len(logits_BL), sums={"accuracy": correct})
