import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelmill.training.target_data import TargetBatches, alike

SIZES = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=80)


def batches(sizes: list[tuple[int, int]], rows: int, prefix: tuple[int, ...] = (7,)) -> TargetBatches:
    """Every row is told by the number that fills it."""
    return TargetBatches(
        sources=[np.full(source, 10 + number) for number, (source, _) in enumerate(sizes)],
        targets=[np.full(target, 10 + number) for number, (_, target) in enumerate(sizes)],
        prefix=prefix,
        batch_rows=rows,
        seed=3,
        pad=0,
    )


@given(sizes=SIZES, rows=st.integers(1, 9))
def test_an_epoch_holds_every_row_once_with_its_own_target(sizes: list[tuple[int, int]], rows: int) -> None:
    made = batches(sizes, rows)
    for epoch in range(2):
        seen = []
        for place in range(made.steps_per_epoch):
            batch = made.batch(epoch * made.steps_per_epoch + place)
            numbers = batch.tensors["ids"].amax(dim=1)
            seen += (numbers - 10).tolist()
            wanted = batch.tensors["wanted"]
            assert batch.rows <= rows
            assert batch.tokens == int(batch.tensors["attention"].sum()) + int(wanted.sum())
            # What is scored in a row is its own target.
            assert batch.tensors["targets"].tolist() == numbers.repeat_interleave(wanted.sum(dim=1)).tolist()
        assert sorted(seen) == list(range(len(sizes)))
    assert sorted(int(b.tensors["ids"].amax(dim=1)[r]) - 10 for b in made.fixed() for r in range(b.rows)) == list(
        range(len(sizes))
    )


@given(sizes=SIZES, rows=st.integers(1, 9))
def test_all_batches_but_one_are_full(sizes: list[tuple[int, int]], rows: int) -> None:
    made = [len(batch) for batch in alike(np.arange(len(sizes)), np.array(sizes), rows)]
    assert sum(made) == len(sizes)
    assert sum(count < rows for count in made) <= 1


def test_rows_alike_on_both_sides_go_together_so_that_little_is_padding() -> None:
    generator = np.random.default_rng(0)
    sizes = [(int(a), int(b)) for a, b in generator.integers(2, 25, (16_000, 2))]
    made = batches(sizes, 32)
    assert made.padding_share() < 0.05
    places = sum(made.batch(step).tensors["ids"].numel() for step in range(made.steps_per_epoch))
    places += sum(made.batch(step).tensors["inputs"].numel() for step in range(made.steps_per_epoch))
    assert abs(made.padding_share() - (1 - np.array(sizes).sum() / places)) < 1e-9


def test_what_begins_every_target_is_given_and_not_scored() -> None:
    tensors = batches([(2, 3), (1, 1)], 2, prefix=(7, 8)).fixed()[0].tensors
    rows = sorted(zip(tensors["inputs"].tolist(), tensors["wanted"].tolist(), strict=True))
    assert rows == [
        ([7, 8, 10, 10], [False, True, True, True]),
        ([7, 8, 0, 0], [False, True, False, False]),
    ] or rows == [
        ([7, 8, 0, 0], [False, True, False, False]),
        ([7, 8, 10, 10], [False, True, True, True]),
    ]


def test_a_batch_can_be_cut_and_its_pieces_are_its_rows() -> None:
    whole = batches([(2, 3), (4, 1), (3, 2)], 3).fixed()[0]
    pieces = list(whole.cut(1))
    assert [piece.rows for piece in pieces] == [1, 1, 1]
    assert [token for piece in pieces for token in piece.tensors["targets"].tolist()] == whole.tensors[
        "targets"
    ].tolist()
