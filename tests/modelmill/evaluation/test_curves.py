import numpy as np
import pytest

from modelmill.evaluation.curves import calibration_error, confidence_bins, roc_curves
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
