"""The report on predicted numbers: what it holds, what decides, and that the page tells it."""

import pytest

from modelmill.evaluation.checks import Threshold
from modelmill.evaluation.document import Report
from modelmill.evaluation.report import render
from tests.modelmill.evaluation.made import folds, numbers_report


def test_a_report_holds_points_errors_and_the_worst_rows() -> None:
    report = numbers_report()
    assert set(report.metrics) == {"test", "mean", "linear"}
    assert report.metrics["test"]["r2"] > report.metrics["linear"]["r2"] > 0.7 > 0 > report.metrics["mean"]["r2"]
    assert report.intervals.keys() == report.metrics["test"].keys()
    told = report.regression
    assert told is not None
    assert len(told.points) == 120
    assert sum(each.rows for each in told.residuals) == 120
    assert told.residuals[0].low == -told.residuals[-1].high
    errors = [abs(one.predicted - one.truth) for one in told.worst]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] == pytest.approx(max(abs(predicted - truth) for truth, predicted in told.points), abs=1e-3)
    assert told.worst[0].text.startswith("rooms=3, street=south ")
    assert (report.labels, report.confusion, report.calibration_error) == ((), (), None)
    assert Report.read(report.to_json()) == report


def test_of_many_rows_a_thousand_are_drawn() -> None:
    told = numbers_report(rows=5000).regression
    assert told is not None
    assert len(told.points) == 1000


def test_thresholds_are_decided_on_the_nearer_end_of_the_interval() -> None:
    report = numbers_report()
    low, high = report.intervals["rmse"]
    value = report.metrics["test"]["rmse"]
    checks = numbers_report(thresholds={"r2": Threshold(min=0.9), "rmse": Threshold(max=(value + high) / 2)}).checks
    assert [check.passed for check in checks if check.kind == "threshold"] == [True, False]
    assert checks[1].bound == high
    assert "would meet the wanted" in checks[1].sentence
    assert low < value < high


@pytest.mark.parametrize(("noise", "passed"), [(0.5, True), (2.0, False)])
def test_the_mean_is_always_to_be_beaten_and_least_squares_where_it_is_asked_for(noise: float, passed: bool) -> None:
    assert [check.against for check in numbers_report(noise=noise).checks] == ["mean"]
    checks = {check.against: check for check in numbers_report(noise=noise, must_beat=("linear",)).checks}
    assert checks["mean"].passed
    assert (checks["linear"].passed, checks["linear"].metric) == (passed, "r2")
    assert ("beats the least-squares baseline's" if passed else "does not beat") in checks["linear"].sentence


def test_the_page_draws_the_numbers_and_no_matrix() -> None:
    page = render(numbers_report().adding(cross_validation=folds()))
    for said in ("Predicted against true", "How far off it is", "The rows it is farthest off", "Least squares", "R²"):
        assert said in page, said
    for unsaid in ("Confusion matrix", "ROC curve", "How sure it is", "Wilson"):
        assert unsaid not in page, unsaid
    assert page.count('class="point"') == 2 * 120
    assert "Over 2 folds" in page
    assert "0.850 ± 0.020" in page
    assert "2.5 ± 0.02" in page


def test_a_better_baseline_is_an_alert() -> None:
    assert "The least-squares baseline is better: R² " in render(numbers_report(noise=2.0))
    assert "alert" not in render(numbers_report()).split("</style>")[1]


def test_what_comes_from_data_is_escaped() -> None:
    page = render(numbers_report(text="<script>alert(1)</script>", target="<b>price</b>"))
    assert "<script" not in page
    assert "<b>price" not in page


@pytest.mark.parametrize("size", [1e-7, 1e7])
def test_targets_of_any_size_are_told_in_digits_that_count(size: float) -> None:
    page = render(numbers_report(size=size))
    assert "nan" not in page.split("</style>")[1]
    assert ("e-" if size < 1 else "e+") in page.replace("e−", "e-")


def test_the_interval_with_each_number_is_told_with_the_share_that_it_holds() -> None:
    report = numbers_report()
    assert report.regression is not None
    told = report.regression.interval
    assert told is not None
    inside = [abs(predicted - truth) <= told.half_width for truth, predicted in report.regression.points]
    share = report.metrics["test"]["interval_coverage"]
    assert share == pytest.approx(sum(inside) / 120, abs=0.01)
    low, high = report.intervals["interval_coverage"]
    assert low < share < high
    assert (told.wanted, told.rows) == (0.9, 40)
    assert f"{100 * share:.1f} %" in render(report)
    few = numbers_report(validation=5)
    assert "interval_coverage" not in few.metrics["test"]
    assert "at least 9 are needed" in render(few)
