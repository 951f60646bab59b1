"""KFP's pages draw what kfp's own artifact would hold."""

import json

from kfp import dsl

from components.evaluate.drawn import classification_metrics
from tests.modelmill.evaluation import made


def test_the_classes_are_written_as_kfp_itself_writes_them() -> None:
    report = made.report(rows=100)
    theirs, (curve,) = dsl.ClassificationMetrics(), report.roc
    theirs.log_confusion_matrix(list(report.labels), [list(line) for line in report.confusion])
    wrong, right = (list(rates) for rates in zip(*curve.points, strict=True))
    theirs.log_roc_curve(wrong, right, list(curve.thresholds))
    found = classification_metrics(report)
    assert found == theirs.metadata
    assert "Infinity" not in json.dumps(found)
    thresholds = [point["confidenceThreshold"] for point in found["confidenceMetrics"]]
    assert thresholds == sorted(thresholds, reverse=True)


def test_of_more_labels_the_matrix_alone_is_drawn_and_of_numbers_nothing() -> None:
    assert classification_metrics(made.report(labels=("a", "b", "c"))).keys() == {"confusionMatrix"}
    assert classification_metrics(made.numbers_report()) == {}
