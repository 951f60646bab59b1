"""KFP's pages draw what kfp's own artifact would hold."""

import json
from pathlib import Path

from kfp import dsl

from components.evaluate.drawn import classification_metrics
from modelmill.command import Result, _write_outputs
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


def test_the_classes_reach_the_file_that_kfp_reads_and_other_artifacts_have_scalars(tmp_path: Path) -> None:
    classes = classification_metrics(made.report(rows=100))
    listed = {name: {"artifacts": [{"name": name, "uri": str(tmp_path / name)}]} for name in ("metrics", "classes")}
    asked = {"outputs": {"outputFile": str(tmp_path / "outputs.json"), "artifacts": listed}}
    result = Result(outputs={}, summary={"accuracy": 0.5, "metrics": {}}, metadata={"classes": classes})
    _write_outputs(json.dumps(asked), result)
    written = json.loads((tmp_path / "outputs.json").read_text())["artifacts"]
    found = {name: one["artifacts"][0]["metadata"] for name, one in written.items()}
    assert found == {"metrics": {"accuracy": 0.5}, "classes": classes}
