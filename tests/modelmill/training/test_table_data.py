"""Batches of a table: each row once an epoch, the same at every call."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelmill.training.table_data import TableBatches


def batches_of(rows: int, batch_rows: int, seed: int = 0) -> TableBatches:
    numbers = np.arange(rows)
    features_NF = np.stack([numbers, -numbers], axis=1).astype(np.float32)
    return TableBatches(features_NF=features_NF, answers_N=numbers, batch_rows=batch_rows, seed=seed)


@given(rows=st.integers(1, 40), batch_rows=st.integers(1, 50), epoch=st.integers(0, 3))
def test_an_epoch_holds_each_row_once_with_its_own_answer(rows: int, batch_rows: int, epoch: int) -> None:
    batches = batches_of(rows, batch_rows)
    steps = batches.steps_per_epoch
    found = [batches.batch(epoch * steps + place) for place in range(steps)]
    answers = np.concatenate([batch.tensors["answers"].numpy() for batch in found])
    features_NF = np.concatenate([batch.tensors["features"].numpy() for batch in found])
    assert sorted(answers) == list(range(rows))
    assert np.array_equal(features_NF[:, 0], answers)
    assert np.array_equal(features_NF[:, 1], -answers)
    assert sum(batch.rows for batch in found) == rows
    assert max(batch.rows for batch in found) <= batch_rows


def test_a_step_gives_the_same_batch_whatever_was_asked_before() -> None:
    one, other = batches_of(20, 3), batches_of(20, 3)
    for step in range(30):
        one.batch(step)
    assert one.batch(11).tensors["answers"].tolist() == other.batch(11).tensors["answers"].tolist()


def test_epochs_and_seeds_differ_in_their_order() -> None:
    orders = [
        tuple(batches_of(20, 20, seed).batch(step).tensors["answers"].tolist()) for seed in (0, 1) for step in (0, 1)
    ]
    assert len(set(orders)) == 4


@pytest.mark.parametrize("batch_rows", [1, 7, 100])
def test_fixed_rows_come_in_their_own_order(batch_rows: int) -> None:
    found = [answer for batch in batches_of(20, batch_rows).fixed() for answer in batch.tensors["answers"].tolist()]
    assert found == list(range(20))
