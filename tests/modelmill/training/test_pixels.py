"""Batches of pictures: every row once an epoch, the same for a seed and a step, and the loss of mixed labels."""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional as F

from modelmill.training import room
from modelmill.training.augment_settings import Augment
from modelmill.training.data import Batch
from modelmill.training.pixels import PixelBatches, picture_classification, pixel_array

ROWS = 23
NUMBERED = np.arange(ROWS, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), dtype=np.uint8)
LABELS = np.arange(ROWS) % 3


def batches(augment: Augment | None = None, seed: int = 0, batch_rows: int = 8) -> PixelBatches:
    return PixelBatches(pixels_NHWC=NUMBERED, labels_N=LABELS, batch_rows=batch_rows, seed=seed, augment=augment)


def same(one: Batch, other: Batch) -> bool:
    return one.tensors.keys() == other.tensors.keys() and all(
        torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items()
    )


def numbers(batch: Batch) -> list[int]:
    found: list[int] = batch.tensors["pixels"][:, 0, 0, 0].tolist()
    return found


@pytest.mark.parametrize("batch_rows", [1, 7, 8, 22, 23, 50])
def test_every_row_comes_once_an_epoch_with_its_label_in_batches_alike(batch_rows: int) -> None:
    data = batches(batch_rows=batch_rows)
    orders = []
    for epoch in range(3):
        steps = range(epoch * data.steps_per_epoch, (epoch + 1) * data.steps_per_epoch)
        made = [data.batch(step) for step in steps]
        seen = [number for batch in made for number in numbers(batch)]
        assert Counter(seen) == Counter(range(ROWS))
        assert all(np.array_equal(batch.tensors["labels"], LABELS[numbers(batch)]) for batch in made)
        assert max(batch.rows for batch in made) - min(batch.rows for batch in made) <= 1
        assert max(batch.rows for batch in made) <= batch_rows
        orders.append([frozenset(numbers(batch)) for batch in made])
    assert batch_rows in (1, 23, 50) or orders[0] != orders[1]


CHANGES = Augment(crop=2, flip=True, mixup=0.5, cutmix=0.5)


def test_a_batch_is_a_pure_function_of_seed_and_step() -> None:
    forward = batches(CHANGES)
    made = [forward.batch(step) for step in range(9)]
    jumping = batches(CHANGES)
    for step in (8, 0, 4, 7, 1):
        assert same(jumping.batch(step), made[step])
    other = batches(CHANGES, seed=1)
    assert not any(same(other.batch(step), made[step]) for step in range(9))


def test_each_step_changes_the_same_rows_in_its_own_way() -> None:
    whole = batches(CHANGES, batch_rows=ROWS)
    assert not same(whole.batch(0), whole.batch(1))


def test_the_other_label_is_that_of_the_picture_that_was_mixed_in() -> None:
    seen = 0
    for step in range(12):
        tensors = batches(Augment(crop=0, cutmix=1.0)).batch(step).tensors
        lowest_B, highest_B = (getattr(tensors["pixels"].flatten(1), name)(1).values.numpy() for name in ("min", "max"))
        # One of both is the picture itself, the other what was pasted in.
        there = lowest_B != highest_B
        pairs = zip(tensors["labels"].tolist(), tensors["other_labels"].tolist(), strict=True)
        found = [{int(LABELS[low]), int(LABELS[high])} for low, high in zip(lowest_B, highest_B, strict=True)]
        assert all({*pair} == labels for pair, labels, mixed in zip(pairs, found, there, strict=True) if mixed)
        seen += int(there.sum())
    assert seen > 20


def test_validation_rows_come_as_they_are_in_their_own_order() -> None:
    made = batches(CHANGES).fixed()
    assert [number for batch in made for number in numbers(batch)] == list(range(ROWS))
    assert all(batch.tensors.keys() == {"pixels", "labels"} for batch in made)
    assert [batch.rows for batch in made] == [8, 8, 7]


class Fixed(torch.nn.Module):
    """Answers the same logits whatever it is asked."""

    def __init__(self, logits_BL: torch.Tensor) -> None:
        super().__init__()
        self.logits_BL = torch.nn.Parameter(logits_BL)

    def forward(self, pixels_BHWC: torch.Tensor) -> torch.Tensor:
        return self.logits_BL[: len(pixels_BHWC)]


def test_the_loss_of_mixed_labels_is_that_of_their_mixed_distribution() -> None:
    torch.manual_seed(0)
    model = Fixed(torch.randn(8, 3))
    batch = batches(Augment(mixup=1.0)).batch(1)
    tensors = batch.tensors
    scored = picture_classification(0.1)(model, batch)
    share = float(tensors["share"])
    assert 0 < share < 1
    wanted_BL = share * F.one_hot(tensors["labels"], 3) + (1 - share) * F.one_hot(tensors["other_labels"], 3)
    wanted_BL = 0.9 * wanted_BL + 0.1 / 3
    logits_BL = model.logits_BL[: batch.rows]
    expected = F.cross_entropy(logits_BL, wanted_BL, reduction="sum")
    torch.testing.assert_close(scored.loss, expected)
    assert scored.count == batch.rows
    correct = (logits_BL.argmax(1) == tensors["labels"]).sum()
    assert scored.sums == {"accuracy": correct}


def test_labels_are_not_smoothed_where_nothing_is_learned() -> None:
    model = Fixed(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)))
    (batch, *_) = batches().fixed()
    learning = picture_classification(0.2)(model, batch).loss
    model.eval()
    torch.testing.assert_close(
        picture_classification(0.2)(model, batch).loss, picture_classification(0.0)(model, batch).loss
    )
    assert not torch.isclose(learning, picture_classification(0.2)(model, batch).loss)


@pytest.mark.parametrize("in_memory", [1 << 30, 0])
def test_pixels_are_one_array_in_memory_or_from_a_file(monkeypatch: pytest.MonkeyPatch, in_memory: int) -> None:
    monkeypatch.setattr(room, "IN_MEMORY", in_memory)
    values: Any = np.random.default_rng(0).integers(0, 256, (10, 2, 2, 3), dtype=np.uint8)
    table = pa.table({"pixels": pa.array([one.tobytes() for one in values], pa.binary(12))})
    # A batch may begin inside the memory of its table.
    parts = [*table.slice(0, 4).to_batches(), *table.slice(4).to_batches()]
    made = pixel_array(parts, 10, (2, 2, 3))
    assert np.array_equal(made, values)
    assert isinstance(made, np.memmap) == (not in_memory)
