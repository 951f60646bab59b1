import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from modelmill.evaluation.curves import (
    area_interval,
    areas_undefined,
    calibration_error,
    confidence_bins,
    precision_recall_curves,
    roc_curves,
)
from tests.modelmill.evaluation.made import guesses


def test_a_curve_of_two_labels_is_the_second_labels_and_runs_from_corner_to_corner() -> None:
    truth, probability = guesses(3000)
    (curve,) = roc_curves(truth, probability, ("no", "yes"))
    assert curve.label == "yes"
    assert (curve.points[0], curve.points[-1]) == ((0, 0), (1, 1))
    assert len(curve.points) <= 101
    assert list(curve.points) == sorted(curve.points)
    # The area under what is kept is that of the whole curve.
    across, up = zip(*curve.points, strict=True)
    assert np.trapezoid(up, across) == pytest.approx(curve.auc, abs=0.002)


def test_more_labels_have_a_curve_each_and_an_absent_one_has_none() -> None:
    truth, probability = guesses(300, labels=4)
    curves = roc_curves(np.minimum(truth, 2), probability, ("a", "b", "c", "d"))
    assert [curve.label for curve in curves] == ["a", "b", "c"]


def _steps(points: tuple[tuple[float, float], ...]) -> float:
    recall, precision = zip(*points, strict=True)
    return float(np.diff(recall, prepend=0.0) @ np.array(precision))


def test_the_area_under_the_steps_of_a_precision_recall_curve_is_the_average_precision() -> None:
    truth, probability = guesses(150)
    curves = precision_recall_curves(truth, probability, ("no", "yes"))
    assert [curve.label for curve in curves] == ["yes", "no"]
    for index, curve in zip((1, 0), curves, strict=True):
        wanted = average_precision_score(truth == index, probability[:, index])
        assert curve.average_precision == pytest.approx(wanted, abs=1e-6)
        assert _steps(curve.points) == pytest.approx(wanted, abs=5e-4)
        assert curve.points[-1][0] == 1
        assert curve.guess == pytest.approx((truth == index).mean(), abs=1e-6)
        assert curve.interval[0] < curve.average_precision < curve.interval[1]


def test_of_many_rows_a_hundred_steps_tell_the_area_too() -> None:
    # One row in fifty: the curve is made by few of the rows.
    truth, probability = guesses(20_000, labels=50, skill=2.5)
    curve = precision_recall_curves(truth, probability, [str(label) for label in range(50)])[7]
    assert len(curve.points) <= 101
    assert _steps(curve.points) == pytest.approx(curve.average_precision, abs=0.01)


@pytest.mark.parametrize("labels", [2, 3])
def test_rows_of_one_label_have_no_curve_and_are_told_so(labels: int) -> None:
    truth, probability = np.zeros(20, dtype=np.int64), guesses(20, labels)[1]
    names = ("a", "b", "c")[:labels]
    assert roc_curves(truth, probability, names) == ()
    assert precision_recall_curves(truth, probability, names) == ()
    why = areas_undefined(truth, names)
    assert why == {**dict.fromkeys(names[1:], "no test row carries it"), "a": "every test row carries it"}
    assert areas_undefined(guesses(200, labels)[0], names) == {}


def test_an_area_of_few_rows_in_perfect_order_is_not_known_for_sure() -> None:
    positive, score = np.array([True] * 5 + [False] * 15), np.linspace(1, 0, 20)
    low, high = area_interval(positive, score, 1.0)
    assert (low < 0.7, high) == (True, 1.0)
    one = np.arange(20) == 0
    assert area_interval(one, score, 1.0)[0] < 0.3


def test_an_areas_interval_holds_the_truth_nineteen_times_in_twenty() -> None:
    # Two normal distributions a unit apart: the area is that of the standard one up to 1 / sqrt(2).
    generator, held, times = np.random.default_rng(3), 0, 300
    for _ in range(times):
        positive = generator.random(200) < 0.3
        score = generator.normal(size=200) + positive
        (curve,) = roc_curves(positive.astype(np.int64), np.stack([-score, score], axis=1), ("no", "yes"))
        assert curve.interval is not None
        held += curve.interval[0] <= 0.760250 <= curve.interval[1]
    assert 0.91 <= held / times <= 0.99


def test_every_row_is_in_one_bin_of_confidence() -> None:
    truth, probability = guesses(500, labels=3)
    bins = confidence_bins(truth, probability)
    assert sum(each.rows for each in bins) == 500
    assert sum(each.correct for each in bins) == int((probability.argmax(axis=1) == truth).sum())
    assert all(each.low - 1e-6 <= each.confidence <= each.high + 1e-6 for each in bins if each.rows)
    assert bins[0].low <= 1 / 3
    assert bins[-1].high == 1


def test_a_probability_on_an_edge_opens_the_bin_above() -> None:
    bins = confidence_bins(np.array([0, 0]), np.array([[0.65, 0.35], [1.0, 0.0]]))
    assert [(each.low, each.rows) for each in bins if each.rows] == [(0.65, 1), (0.95, 1)]


def test_calibration_error_is_the_mean_gap_of_confidence_and_accuracy() -> None:
    # Two rows at 0.8 of which one is right, two at 0.6 which both are: (2 * 0.3 + 2 * 0.4) / 4.
    probability = np.array([[0.8, 0.2], [0.8, 0.2], [0.6, 0.4], [0.6, 0.4]])
    assert calibration_error(confidence_bins(np.array([0, 1, 0, 0]), probability)) == pytest.approx(0.35)
