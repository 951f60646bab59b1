import numpy as np
import pytest

from modelmill.evaluation.document import Data
from modelmill.evaluation.measure import Asked, TestRows, measure, worst_mistakes
from modelmill.evaluation.report import render
from tests.modelmill.evaluation import made


def test_a_report_holds_the_figures_of_model_and_baselines_under_the_same_names() -> None:
    report = made.report(rows=300)
    assert list(report.metrics) == ["test", "majority", "tfidf"]
    assert report.metrics["test"].keys() == report.metrics["tfidf"].keys() == report.metrics["majority"].keys()
    assert report.intervals.keys() == report.metrics["test"].keys()
    for name, (low, high) in report.intervals.items():
        assert low <= report.metrics["test"][name] <= high, name
        assert high - low > 0.01, name
    assert {"brier_score_loss", "calibration_error", "roc_auc", "average_precision"} <= report.intervals.keys()
    assert report.calibration_error == report.metrics["test"]["calibration_error"]
    assert sum(map(sum, report.confusion)) == report.test_rows == 300
    right = sum(report.confusion[index][index] for index in range(2))
    assert report.metrics["test"]["accuracy"] == pytest.approx(right / 300, abs=1e-6)
    assert [one.rows for one in report.per_class] == [sum(line) for line in report.confusion]
    assert [one.predicted for one in report.per_class] == [
        sum(column) for column in zip(*report.confusion, strict=True)
    ]
    assert [check.kind for check in report.checks] == ["threshold", "must_beat"]


def test_the_same_predictions_give_the_same_bytes() -> None:
    assert made.report().to_json() == made.report().to_json()


def test_each_label_has_intervals_of_its_own_and_one_without_rows_has_none() -> None:
    truth, probability = made.guesses(200, 3)
    truth = np.minimum(truth, 1)
    asked = Asked(task="text-classification", model="m", dataset="d", data=Data(splits={}))
    ids = [str(row) for row in range(200)]
    report = measure(asked, TestRows(ids=ids, inputs=ids, texts=ids, truth=truth, labels=("a", "b", "c")), probability)
    for one in report.per_class[:2]:
        for name in ("precision", "recall", "f1"):
            low, high = one.intervals[name]
            assert low <= getattr(one, name) <= high
    assert report.per_class[2].intervals == {}
    assert "f1_c" not in report.intervals
    assert report.areas_undefined == {"c": "no test row carries it"}
    assert [curve.label for curve in report.precision_recall] == ["a", "b"]


def test_rows_of_one_label_are_measured_and_said_to_have_no_areas() -> None:
    asked = Asked(task="text-classification", model="m", dataset="d", data=Data(splits={}))
    ids, truth = [str(row) for row in range(40)], np.zeros(40, dtype=np.int64)
    rows = TestRows(ids=ids, inputs=ids, texts=ids, truth=truth, labels=made.LABELS)
    report = measure(asked, rows, made.guesses(40)[1])
    assert (report.roc, report.precision_recall) == ((), ())
    assert not {"roc_auc", "average_precision"} & report.metrics["test"].keys()
    assert "NaN" not in report.to_json()
    page = render(report)
    assert "positive (no test row carries it)" in page
    assert "negative (every test row carries it)" in page


def test_a_comparison_is_measured_without_baselines() -> None:
    report = made.report(tfidf_skill=None, at_least=None)
    assert list(report.metrics) == ["test"]
    assert report.checks == ()


def test_the_surest_mistakes_come_first_and_ties_keep_their_order() -> None:
    truth = np.array([0, 0, 1, 1, 0])
    positive = np.array([0.6, 0.9, 0.1, 0.7, 0.9])
    rows = TestRows(ids=list("abcde"), inputs=["t"] * 5, texts=["t"] * 5, truth=truth, labels=made.LABELS)
    found = worst_mistakes(rows, np.stack([1 - positive, positive], axis=1))
    assert [one.id for one in found] == ["b", "c", "e", "a"]
    assert (found[1].label, found[1].predicted) == ("positive", "negative")
    assert (found[1].probability, found[1].probability_of_label) == (0.9, 0.1)


def test_a_long_text_is_cut_at_a_word() -> None:
    report = made.report(text="word " * 300)
    assert all(len(one.text) <= 602 and one.text.endswith("word …") for one in report.examples)
    unbroken = made.report(text="电影" * 600)
    assert {len(one.text) for one in unbroken.examples} == {602}
