import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from modelmill.training.causal_data import NOTHING, CausalBatches
from modelmill.training.data import Batch
from modelmill.training.packing import Documents, Packed, best_fit, concatenate

PAD, FIRST, END = 0, 1, 2


def read(table: pa.Table) -> Documents:
    return Documents.of(table.schema, table.to_batches())


def documents(count: int) -> Documents:
    """Each holds its own number, so that it can be recognised."""
    lists = [[10 + number] * (number % 5) for number in range(count)]
    return read(pa.table({"input_ids": pa.array(lists, pa.list_(pa.uint8()))}))


def fitted(count: int) -> Packed:
    return best_fit(documents(count), 8, first=FIRST, end=END, pad=PAD)


def batches(packed: Packed, batch_rows: int = 3, seed: int = 0) -> CausalBatches:
    return CausalBatches(packed=packed, batch_rows=batch_rows, seed=seed, first=FIRST, end=END)


def same(one: Batch, other: Batch) -> bool:
    return all(one.tensors[name].equal(other.tensors[name]) for name in one.tensors)


@given(count=st.integers(1, 40), batch_rows=st.integers(1, 9))
def test_in_an_epoch_every_token_but_the_first_of_a_document_is_a_target_once(count: int, batch_rows: int) -> None:
    packed = fitted(count)
    found: list[int] = []
    for batch in batches(packed, batch_rows).fixed(10_000):
        targets_BT, ids_BT = batch.tensors["targets"].numpy(), batch.tensors["ids"].numpy()
        found += targets_BT[targets_BT != NOTHING].tolist()
        # A target follows its position, and nothing follows an end, or padding.
        assert (targets_BT[:, :-1] == ids_BT[:, 1:])[targets_BT[:, :-1] != NOTHING].all()
        assert (targets_BT[np.isin(ids_BT, [PAD, END])] == NOTHING).all()
        assert batch.tokens == (ids_BT != PAD).sum()
    wanted = [10 + number for number in range(count) for _ in range(number % 5)] + [END] * count
    assert sorted(found) == sorted(wanted)


def test_where_documents_are_not_kept_apart_the_mark_before_each_is_no_target() -> None:
    packed = concatenate(documents(20), 8, first=FIRST, end=END, heads="document")
    batch = batches(packed).batch(0)
    targets_BT, ids_BT = batch.tensors["targets"], batch.tensors["ids"]
    assert "documents" not in batch.tensors
    assert not (targets_BT == FIRST).any()
    expected_BT = ids_BT[:, 1:].clone()
    expected_BT[expected_BT == FIRST] = NOTHING
    assert targets_BT[:, :-1].equal(expected_BT)
    assert (targets_BT[:, -1] == NOTHING).all()


@given(rows=st.integers(5, 60), batch_rows=st.integers(1, 9), epochs=st.integers(1, 3))
def test_every_row_is_read_once_an_epoch_and_a_batch_depends_on_seed_and_step_alone(
    rows: int, batch_rows: int, epochs: int
) -> None:
    rows_NT = np.repeat(np.arange(100, 100 + rows, dtype=np.uint8)[:, None], 4, axis=1)
    packed = Packed(rows_NT=rows_NT, figures={})
    made = batches(packed, batch_rows)
    steps = -(-rows * epochs // batch_rows)
    read = [made.batch(step) for step in range(steps)]
    numbers = [row for batch in read for row in batch.tensors["ids"][:, 0].tolist()]
    for epoch in range(epochs):
        assert sorted(numbers[epoch * rows : (epoch + 1) * rows]) == list(range(100, 100 + rows))
    assert same(batches(packed, batch_rows).batch(steps - 1), read[-1])
    assert not same(batches(packed, rows, seed=1).batch(0), batches(packed, rows).batch(0))


def test_the_same_documents_stored_in_other_chunks_give_the_same_batches() -> None:
    whole = documents(30)
    lists = np.split(whole.ids_S, np.cumsum(whole.length_D)[:-1])
    kind = pa.list_(pa.uint8())
    chunks = [pa.array(lists[start : start + 7], kind) for start in range(0, 30, 7)]
    again = read(pa.table({"input_ids": pa.chunked_array(chunks)}))
    other = best_fit(again, 8, first=FIRST, end=END, pad=PAD)
    assert all(same(batches(fitted(30)).batch(step), batches(other).batch(step)) for step in range(5))


@given(count=st.integers(3, 40))
def test_where_one_mark_begins_and_ends_documents_it_is_a_target_as_an_end_alone(count: int) -> None:
    packed = concatenate(documents(count), 8, first=END, end=END, heads="document")
    made = CausalBatches(packed=packed, batch_rows=3, seed=0, first=END, end=END)
    for batch in made.fixed(10_000):
        targets_BT, ids_BT = batch.tensors["targets"].numpy(), batch.tensors["ids"].numpy()
        # What follows a mark within a row is no mark to learn; what follows a text may be.
        assert (targets_BT[ids_BT == END] != END).all()
        ends_BT = (ids_BT[:, 1:] == END) & (ids_BT[:, :-1] != END)
        assert (targets_BT[:, :-1][ends_BT] == END).all()
