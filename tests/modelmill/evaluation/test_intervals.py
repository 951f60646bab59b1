import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from modelmill.evaluation import intervals, metrics


@pytest.mark.parametrize(
    ("right", "rows", "low", "high"),
    [
        # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval_is_the_published_one(right: int, rows: int, low: float, high: float) -> None:
    assert intervals.wilson(right, rows) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10**7).flatmap(lambda rows: st.tuples(st.integers(0, rows), st.just(rows))))
def test_wilsons_interval_contains_the_share_and_stays_between_0_and_1(case: tuple[int, int]) -> None:
    right, rows = case
    low, high = intervals.wilson(right, rows)
    assert 0 <= low <= right / rows <= high <= 1
    assert low < high


def test_an_interval_over_no_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="0 rows: at least 1"):
        intervals.wilson(0, 0)


@given(
    st.integers(2, 5)
    .flatmap(lambda size: arrays.arrays(np.int64, (size, size), elements=st.integers(0, 300)))
    .filter(lambda table: table.sum() > 0)
)
def test_every_interval_contains_its_figure(table: "np.typing.NDArray[np.int64]") -> None:
    points = metrics.of_confusion(table[None])
    found = intervals.of_confusion(table)
    assert found.keys() == points.keys()
    for name, (low, high) in found.items():
        assert 0 <= low <= points[name][0] <= high <= 1 + 1e-12, name


def test_a_few_rows_that_are_all_right_prove_little() -> None:
    found = intervals.of_confusion(np.array([[5, 0], [0, 5]]))
    for name, (low, high) in found.items():
        assert low < 0.9, name
        assert high == 1, name


def test_intervals_narrow_with_the_square_root_of_the_rows() -> None:
    table = np.array([[400, 100], [90, 410]])
    few, many = intervals.of_confusion(table), intervals.of_confusion(table * 100)
    for name, (low, high) in few.items():
        assert (high - low) / (many[name][1] - many[name][0]) == pytest.approx(10, rel=0.06), name


def test_the_same_table_gives_the_same_interval() -> None:
    table = np.array([[40, 10], [9, 41]])
    assert intervals.of_confusion(table) == intervals.of_confusion(table)


def test_the_interval_of_macro_f1_covers_the_truth_about_95_times_in_100() -> None:
    shares = np.array([[0.45, 0.10], [0.08, 0.37]])
    truth = metrics.of_confusion(shares[None])["f1_macro"][0]
    generator = np.random.default_rng(7)
    covered = 0
    for _ in range(400):
        table = generator.multinomial(120, shares.ravel()).reshape(2, 2)
        low, high = intervals.of_confusion(table)["f1_macro"]
        covered += low <= truth <= high
    # Three standard errors of 400 draws around 0.95 are 0.033.
    assert 0.917 <= covered / 400 <= 0.983


def test_the_interval_of_a_mean_is_the_normal_one() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0])
    half = 1.959964 * np.sqrt(5 / 3) / 2
    assert intervals.of_mean(values) == pytest.approx((2.5 - half, 2.5 + half))
