"""What KFP's pages draw of a report: its confusion matrix and ROC curve, as a `ClassificationMetrics` artifact."""

from typing import Any

from modelmill.evaluation.document import Report

# A page of more cells is not read, and its numbers would fill the metadata store's message.
_MOST_LABELS = 100


def classification_metrics(report: Report) -> dict[str, Any]:
    """Return the metadata of a `system.ClassificationMetrics` artifact; nothing where the report is of no classes.

    A page has one ROC curve, so it is drawn where there is one: of two labels. The keys are those that kfp's
    `ClassificationMetrics.log_roc_curve` and `log_confusion_matrix` write.
    """
    found: dict[str, Any] = {}
    if report.confusion and len(report.labels) <= _MOST_LABELS:
        found["confusionMatrix"] = {
            "annotationSpecs": [{"displayName": label} for label in report.labels],
            "rows": [{"row": [*line]} for line in report.confusion],
        }
    if len(report.roc) == 1 and len(report.labels) == 2:
        (curve,) = report.roc
        found["confidenceMetrics"] = [
            {"confidenceThreshold": threshold, "recall": right, "falsePositiveRate": wrong}
            for threshold, (wrong, right) in zip(curve.thresholds, curve.points, strict=True)
        ]
    return found
