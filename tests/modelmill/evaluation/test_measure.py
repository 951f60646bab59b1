import numpy as np
import pytest

from modelmill.evaluation.measure import TestRows, worst_mistakes
from tests.modelmill.evaluation import made


def test_a_report_holds_the_figures_of_model_and_baselines_under_the_same_names() -> None:
    report = made.report(rows=300)
    assert list(report.metrics) == ["test", "majority", "tfidf"]
    assert report.metrics["test"].keys() == report.metrics["tfidf"].keys() == report.metrics["majority"].keys()
    assert report.intervals.keys() == report.metrics["test"].keys() - {"roc_auc", "f1_negative", "f1_positive"}
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
