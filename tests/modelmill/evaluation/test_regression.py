"""Figures of predicted numbers: scikit-learn's, and intervals that hold what they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn
from sklearn.linear_model import LinearRegression

from modelmill.evaluation import baselines, regression

NUMBERS = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=20)


@given(pairs=PAIRS)
def test_figures_are_those_of_scikit_learn(pairs: list[tuple[float, float]]) -> None:
    truth, predicted = np.array(pairs).T
    found = regression.score(truth, predicted)
    assert found["rmse"] == pytest.approx(sklearn.root_mean_squared_error(truth, predicted), rel=1e-6)
    assert found["mse"] == pytest.approx(sklearn.mean_squared_error(truth, predicted), rel=1e-6)
    assert found["mae"] == pytest.approx(sklearn.mean_absolute_error(truth, predicted), rel=1e-6)
    if np.ptp(truth) > 1e-2:
        assert found["r2"] == pytest.approx(sklearn.r2_score(truth, predicted), rel=1e-6, abs=1e-5)


def test_the_percentage_error_is_scikit_learns_where_it_says_something() -> None:
    truth, predicted = np.array([10.0, 20, 40]), np.array([11.0, 18, 40])
    found = regression.score(truth, predicted)
    assert found[regression.MAPE] == pytest.approx(sklearn.mean_absolute_percentage_error(truth, predicted), abs=1e-6)
    for others in ([-1.0, 20, 40], [0.0, 20, 40], [0.1, 20, 40]):
        assert regression.MAPE not in regression.score(np.array(others), predicted)


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_targets_of_any_size_and_place_keep_their_digits(size: float) -> None:
    generator = np.random.default_rng(0)
    truth = (generator.normal(size=500) + 1000) * size
    predicted = truth + 0.5 * generator.normal(size=500) * size
    found = regression.score(truth, predicted)
    assert found["r2"] == pytest.approx(sklearn.r2_score(truth, predicted), abs=1e-6)
    assert found["rmse"] == pytest.approx(sklearn.root_mean_squared_error(truth, predicted), rel=1e-8)


def test_targets_that_are_all_the_same_are_scored_as_scikit_learn_does() -> None:
    same = np.full(5, 7.0)
    assert regression.score(same, same)["r2"] == sklearn.r2_score(same, same) == 1.0
    assert regression.score(same, same + 1)["r2"] == sklearn.r2_score(same, same + 1) == 0.0


@given(pairs=PAIRS)
def test_an_interval_holds_its_figure_and_is_the_same_at_every_call(pairs: list[tuple[float, float]]) -> None:
    truth, predicted = np.array(pairs).T
    figures, found = regression.score(truth, predicted), regression.intervals(truth, predicted)
    assert found == regression.intervals(truth, predicted)
    assert found.keys() == figures.keys()
    for name, (low, high) in found.items():
        assert low <= figures[name] <= high, name
        assert np.isfinite([low, high]).all()


def test_intervals_hold_the_truth_nineteen_times_in_twenty() -> None:
    generator = np.random.default_rng(1)
    held, times = 0, 200
    for _ in range(times):
        truth = generator.normal(size=150)
        low, high = regression.intervals(truth, truth + generator.normal(size=150))["rmse"]
        held += low <= 1.0 <= high
    # 95 % less what a percentile interval of 150 rows is too narrow by, and luck.
    assert 0.89 <= held / times <= 0.99


def test_more_rows_make_intervals_narrower_and_very_many_are_still_quick() -> None:
    generator = np.random.default_rng(2)
    widths = []
    for rows in (100, 10_000, 200_000):
        truth = generator.normal(size=rows)
        low, high = regression.intervals(truth, truth + generator.normal(size=rows))["r2"]
        widths.append(high - low)
    assert widths[0] > 5 * widths[1] > 10 * widths[2]


def test_least_squares_is_scikit_learns() -> None:
    generator = np.random.default_rng(3)
    train_MF, features_NF = generator.normal(size=(60, 4)) + 5, generator.normal(size=(9, 4))
    # Two columns that depend on each other, as one-hot names do.
    train_MF[:, 3], features_NF[:, 3] = 1 - train_MF[:, 2], 1 - features_NF[:, 2]
    targets_M = train_MF @ [1.0, -2, 3, 0] + generator.normal(size=60)
    wanted = LinearRegression().fit(train_MF, targets_M).predict(features_NF)
    np.testing.assert_allclose(baselines.least_squares(train_MF, targets_M, features_NF), wanted, rtol=1e-9)


def test_the_mean_is_the_training_rows() -> None:
    assert baselines.mean(np.array([1.0, 2, 6]), 2).tolist() == [3.0, 3.0]


def test_an_interval_from_other_rows_holds_nine_new_numbers_in_ten() -> None:
    generator, held = np.random.default_rng(4), []
    for _ in range(200):
        # Errors of no common shape: nothing is assumed of them.
        errors = generator.exponential(size=80) * generator.choice([-1, 3], size=80)
        width = regression.half_width(errors[:40])
        assert width is not None
        held.append((np.abs(errors[40:]) <= width).mean())
    # At least 0.9, and at most 1 / 41 more (Lei et al. 2018, theorem 2), on average over many drawn.
    assert 0.89 <= np.mean(held) <= 0.935


@pytest.mark.parametrize(("rows", "there"), [(0, False), (8, False), (9, True)])
def test_so_few_rows_measure_no_interval(rows: int, there: bool) -> None:
    assert (regression.half_width(np.arange(rows, dtype=float)) is not None) == there
