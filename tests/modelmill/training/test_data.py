from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelmill.training.data import Batch, LabelledBatches, Masking, PackedBatches, labelled_rows

MASK, SPECIAL = 4, (0, 1, 2, 3, 4)
MASKING = Masking(rate=0.15, mask=MASK, special=SPECIAL, vocabulary=50)


def packed(rows: int, batch_rows: int, seed: int = 0, masking: Masking = MASKING) -> PackedBatches:
    """Every row holds its own number, so that it can be recognised where it was not hidden."""
    rows_NT = np.repeat(np.arange(100, 100 + rows, dtype=np.uint16)[:, None], 12, axis=1)
    rows_NT[:, 0] = 2
    return PackedBatches(rows_NT=rows_NT, batch_rows=batch_rows, seed=seed, masking=masking)


def labelled(lengths: list[int], batch_rows: int = 4, seed: int = 0) -> LabelledBatches:
    ids = [np.full(length, place + 10, dtype=np.uint16) for place, length in enumerate(lengths)]
    return LabelledBatches(ids=ids, labels_N=np.arange(len(ids)) % 3, batch_rows=batch_rows, seed=seed, pad=0)


def same(one: Batch, other: Batch) -> bool:
    return all(one.tensors[name].equal(other.tensors[name]) for name in one.tensors)


def originals(batch: Batch) -> list[int]:
    """The rows of a batch by their numbers, whatever was hidden."""
    restored_BT = batch.tensors["ids"].clone()
    row_M = np.repeat(np.arange(batch.rows), batch.tensors["real"].sum(dim=1).numpy())
    restored_BT[row_M, batch.tensors["positions"][batch.tensors["real"]]] = batch.tensors["targets"]
    assert (restored_BT[:, 1:] == restored_BT[:, 1:2]).all()
    return restored_BT[:, 1].tolist()


@given(rows=st.integers(1, 30), batch_rows=st.integers(1, 40), epochs=st.integers(1, 3), seed=st.integers(0, 99))
def test_every_packed_row_is_read_once_an_epoch(rows: int, batch_rows: int, epochs: int, seed: int) -> None:
    batches = packed(rows, batch_rows, seed)
    steps = -(-rows * epochs // batch_rows)
    read = [row for step in range(steps) for row in originals(batches.batch(step))]
    for epoch in range(epochs):
        assert sorted(read[epoch * rows : (epoch + 1) * rows]) == list(range(100, 100 + rows))


@given(step=st.integers(0, 60), rows=st.integers(1, 30))
def test_a_packed_batch_depends_on_nothing_but_seed_and_step(step: int, rows: int) -> None:
    read_through = packed(rows, 7)
    for earlier in range(step):
        read_through.batch(earlier)
    assert same(read_through.batch(step), packed(rows, 7).batch(step))
    assert not same(packed(rows, 7, seed=1).batch(step), packed(rows, 7).batch(step))


def test_an_epoch_has_an_order_of_its_own_and_a_row_is_hidden_anew_each_time() -> None:
    batches = packed(30, 10)
    read = [row for step in range(6) for row in originals(batches.batch(step))]
    assert read[:30] != read[30:]
    assert not same(packed(1, 1).batch(0), packed(1, 1).batch(1))


def test_of_the_chosen_tokens_four_fifths_are_masked_a_tenth_replaced_and_a_tenth_kept() -> None:
    ids_BT = np.full((400, 200), 30)
    ids_BT[:, ::10] = 3
    batch = MASKING.batch(ids_BT, [0])
    positions_BK, real_BK = batch.tensors["positions"], batch.tensors["real"]
    chosen = batch.tensors["ids"].gather(1, positions_BK)[real_BK].numpy()
    count = len(chosen)
    assert count / (400 * 180) == pytest.approx(0.15, abs=0.005)
    assert (batch.tensors["targets"] == 30).all()
    assert np.mean(chosen == MASK) == pytest.approx(0.8 + 0.1 / 50, abs=0.01)
    assert np.mean(chosen == 30) == pytest.approx(0.1 + 0.1 / 50, abs=0.01)
    others = Counter(chosen[(chosen != MASK) & (chosen != 30)].tolist())
    assert set(others) == set(range(50)) - {MASK, 30}


def test_special_tokens_are_never_chosen_and_other_tokens_are_left_as_they_are() -> None:
    ids_BT = np.random.default_rng(0).integers(0, 50, (64, 64))
    batch = MASKING.batch(ids_BT, [1])
    changed_BT = batch.tensors["ids"].numpy() != ids_BT
    assert not (changed_BT & np.isin(ids_BT, SPECIAL)).any()
    assert not set(batch.tensors["targets"].tolist()) & set(SPECIAL)
    assert changed_BT.sum() <= len(batch.tensors["targets"])


def test_a_batch_in_which_chance_chose_nothing_still_hides_one_token() -> None:
    batch = Masking(rate=1e-9, mask=MASK, special=SPECIAL, vocabulary=50).batch(np.array([[2, 3, 30, 31]]), [0])
    assert batch.tensors["targets"].tolist() == [30]


def test_validation_rows_are_hidden_the_same_way_whatever_the_seed() -> None:
    first, second = packed(10, 4, seed=1).fixed(2), packed(10, 4, seed=2).fixed(2)
    assert [batch.rows for batch in first] == [4, 4]
    assert all(same(one, other) for one, other in zip(first, second, strict=True))


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=60), batch_rows=st.integers(1, 9))
def test_every_labelled_row_is_read_once_an_epoch_with_its_label(lengths: list[int], batch_rows: int) -> None:
    batches = labelled(lengths, batch_rows)
    for epoch in range(2):
        steps = range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)
        read = [batches.batch(step) for step in steps]
        rows = [place for batch in read for place in (batch.tensors["ids"][:, 0] - 10).tolist()]
        assert sorted(rows) == list(range(len(lengths)))
        assert [label for batch in read for label in batch.tensors["labels"].tolist()] == [row % 3 for row in rows]
        assert sum(batch.tokens for batch in read) == sum(lengths)
        for batch in read:
            ids_BT, attention_BT = batch.tensors["ids"], batch.tensors["attention"]
            assert ((ids_BT != 0) == attention_BT).all()
            assert attention_BT.sum(dim=1).tolist() == [lengths[row] for row in (ids_BT[:, 0] - 10).tolist()]
            assert attention_BT[:, -1].any()


@given(step=st.integers(0, 40))
def test_a_labelled_batch_depends_on_nothing_but_seed_and_step(step: int) -> None:
    lengths = list(range(1, 30))
    read_through = labelled(lengths)
    for earlier in range(step):
        read_through.batch(earlier)
    assert same(read_through.batch(step), labelled(lengths).batch(step))


def test_two_epochs_and_two_seeds_have_different_orders() -> None:
    one, other = labelled([5] * 40), labelled([5] * 40, seed=1)
    assert not same(one.batch(0), one.batch(one.steps_per_epoch))
    assert not same(one.batch(0), other.batch(0))


def test_rows_of_like_length_go_together_so_that_little_is_padding() -> None:
    lengths = np.random.default_rng(0).integers(3, 60, 1500).tolist()
    batches = labelled(lengths, batch_rows=32)
    read = [batches.batch(step) for step in range(batches.steps_per_epoch)]
    assert sum(batch.tensors["ids"].numel() for batch in read) / sum(lengths) < 1.05
    shortest_first = [batch.tensors["ids"].shape[1] for batch in read]
    assert shortest_first != sorted(shortest_first)


def test_tables_become_rows() -> None:
    ragged = pa.chunked_array([pa.array([[1], [2, 3]], pa.list_(pa.uint16())), pa.array([[4]], pa.list_(pa.uint16()))])
    table = pa.table({"input_ids": ragged, "label": [1, 0, 1]})
    for part, expected in ((table, [[1], [2, 3], [4]]), (table.slice(1), [[2, 3], [4]])):
        ids, labels_N = labelled_rows(part)
        assert [row.tolist() for row in ids] == expected
        assert labels_N.tolist() == part["label"].to_pylist()
