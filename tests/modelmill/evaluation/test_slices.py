from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import f1_score, r2_score

from modelmill.evaluation import sums
from modelmill.evaluation.checks import Threshold
from modelmill.evaluation.intervals import wilson
from modelmill.evaluation.slices import (
    FEWEST,
    MISSING,
    OTHERS,
    marked,
    slice_checks,
    slice_figures,
    slicing,
    slicings_of,
)
from tests.modelmill.evaluation import made


def test_texts_and_truth_values_are_slices_of_their_own_the_most_frequent_first() -> None:
    found = slicing("street", pa.array(["south", None, "north", "south", "south", "north"]))
    assert found.names == ("south", "north", MISSING)
    assert found.code_N.tolist() == [0, 2, 1, 0, 0, 1]
    assert slicing("garden", pa.array([True, False, True])).names == ("true", "false")


def test_rare_values_are_one_slice() -> None:
    found = slicing("word", pa.array([f"word {place // 2:02d}" for place in range(60)]))
    assert len(found.names) == 20
    assert found.names[-1] == OTHERS
    assert len(found.of(OTHERS)) == 60 - 19 * 2


def test_numbers_are_cut_into_quarters_of_the_rows() -> None:
    found = slicing("area", pa.array([*np.arange(100, dtype=float), None, float("nan")], from_pandas=False))
    assert found.names == ("below 24", "24 to below 49", "49 to below 74", "74 and up", MISSING)
    assert [len(found.of(name)) for name in found.names] == [24, 25, 25, 26, 2]
    assert slicing("rooms", pa.array([1, 2, 3, 2])).names == ("2", "1", "3")


def test_dates_are_cut_too_and_a_number_that_most_rows_have_begins_no_empty_slice() -> None:
    day = datetime.fromisoformat("2020-01-01")
    found = slicing("built", pa.array([day + timedelta(days=place) for place in range(40)], pa.timestamp("us")))
    assert found.names[0] == "below 2020-01-10"
    mostly = slicing("sum", pa.array([0] * 80 + list(range(1, 21))))
    assert mostly.names == ("all",)
    assert (mostly.code_N == 0).all()


def test_a_table_of_predictions_says_which_slices_its_rows_are_in() -> None:
    slicings = [slicing("a.b", pa.array(["x", "y", "x"])), slicing("n", pa.array([1, 1, 2]))]
    again = slicings_of(marked(pa.table({"id": ["1", "2", "3"]}), slicings))
    assert [one.column for one in again] == ["a.b", "n"]
    for one, other in zip(slicings, again, strict=True):
        assert [one.names[code] for code in one.code_N] == [other.names[code] for code in other.code_N]


def test_each_slice_has_the_figures_of_its_rows_the_smallest_first() -> None:
    truth, probability = made.guesses(400, 3)
    given = probability.argmax(axis=1)
    street = np.array(["south"] * 300 + ["north"] * 90 + ["west"] * 10)
    parts = [slicing("street", pa.array(street.tolist()), names=("east",))]
    both = [sums.of_labels(truth, given, ("a", "b", "c")), sums.of_probabilities(truth, probability)]
    found = slice_figures(parts, both, "accuracy", truth)
    assert [(one.value, one.rows, one.few) for one in found] == [
        ("east", 0, True), ("west", 10, True), ("north", 90, False), ("south", 300, False)
    ]  # fmt: skip
    assert (found[0].metrics, found[0].interval) == ({}, None)
    north = street == "north"
    assert found[2].metrics["f1_macro"] == pytest.approx(
        f1_score(truth[north], given[north], average="macro"), abs=1e-6
    )
    assert found[2].interval == pytest.approx(wilson(int((truth == given)[north].sum()), 90), abs=1e-6)
    assert set(found[2].metrics) >= {"log_loss", "brier_score_loss", "calibration_error"}


def test_a_slice_of_equal_numbers_has_no_r2() -> None:
    generator = np.random.default_rng(0)
    truth = np.array([5.0] * 40 + generator.normal(size=60).tolist())
    predicted = truth + 0.3 * generator.normal(size=100)
    parts = [slicing("kind", pa.array(["flat"] * 40 + ["other"] * 60))]
    flat, other = slice_figures(parts, [sums.of_numbers(truth, predicted)], "r2", truth)
    assert "r2" not in flat.metrics
    assert flat.interval is None
    assert other.metrics["r2"] == pytest.approx(r2_score(truth[40:], predicted[40:]), abs=1e-6)
    assert other.interval is not None
    assert other.interval[0] < other.metrics["r2"] < other.interval[1]


def test_every_slice_with_rows_enough_is_to_meet_a_threshold() -> None:
    truth = np.zeros(100, dtype=np.int64)
    given = np.array([0] * 60 + [1] * 20 + [0] * 20)
    parts = [slicing("street", pa.array(["south"] * 60 + ["north"] * 30 + ["west"] * 10))]
    both = [sums.of_labels(truth, given, ("a", "b"))]
    checks = slice_checks(parts, both, {"street": {"accuracy": Threshold(min=0.8)}})
    assert {check.part: check.passed for check in checks} == {"street: south": True, "street: north": False}
    assert checks[1].sentence == "Accuracy of street: north 0.333 over 30 rows is below the wanted 0.800."
    assert FEWEST == 30
