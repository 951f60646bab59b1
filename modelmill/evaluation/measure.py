"""From a model's probabilities on the test rows to a report.

N rows, L labels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelmill.evaluation import curves, intervals, metrics, sums
from modelmill.evaluation.checks import Baseline, Metric, Threshold, checks
from modelmill.evaluation.document import ClassFigures, Data, Example, Report
from modelmill.evaluation.metrics import DECIMALS, Floats, Labels
from modelmill.settings import Task

_EXAMPLES = 10
# Enough to see what the text says; longer ones are cut at a word.
_EXAMPLE_CHARACTERS = 600


@dataclass(frozen=True, kw_only=True)
class TestRows:
    """The rows that a model is measured on."""

    __test__ = False  # pytest takes it for a test by its name

    ids: Sequence[str]
    inputs: Sequence[Any]
    """What the model is asked: texts, the bytes of pictures, a table's rows as mappings."""
    texts: Sequence[str]
    """What a person reads of each."""
    truth: Labels
    """Label numbers, [N]."""
    labels: tuple[str, ...]
    picture: Callable[[Any], str] | None = None
    """From an input to a small picture of it, as a `data:` URI."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a report is about and what it must answer."""

    task: Task
    model: str
    dataset: str
    data: Data
    thresholds: Mapping[Metric, Threshold] = field(default_factory=dict)
    must_beat: Sequence[Baseline] = ()


def measure(
    asked: Asked, rows: TestRows, probability_NL: Floats, baselines: Mapping[str, Floats] | None = None
) -> Report:
    """Return the report on a model's probabilities, [N, L], beside those of baselines by name."""
    confusion_LL = metrics.confusion_matrix(rows.truth, probability_NL.argmax(axis=1), len(rows.labels))
    figures = {"test": _scores(rows, probability_NL)}
    for name, theirs_NL in (baselines or {}).items():
        figures[name] = _scores(rows, theirs_NL)
    per_class = _per_class(confusion_LL, rows.labels)
    spans = _intervals(rows, probability_NL, confusion_LL, per_class, figures["test"])
    bins = curves.confidence_bins(rows.truth, probability_NL)
    return Report(
        task=asked.task,
        model=asked.model,
        dataset=asked.dataset,
        test_rows=len(rows.truth),
        labels=rows.labels,
        metrics=figures,
        intervals=spans,
        per_class=per_class,
        confusion=tuple(tuple(int(cell) for cell in line_L) for line_L in confusion_LL),
        roc=curves.roc_curves(rows.truth, probability_NL, rows.labels),
        precision_recall=curves.precision_recall_curves(rows.truth, probability_NL, rows.labels),
        areas_undefined=curves.areas_undefined(rows.truth, rows.labels),
        calibration=bins,
        calibration_error=figures["test"]["calibration_error"],
        examples=worst_mistakes(rows, probability_NL),
        checks=tuple(checks(figures, spans, asked.thresholds, asked.must_beat, len(rows.truth))),
        data=asked.data,
    )


def _scores(rows: TestRows, probability_NL: Floats) -> metrics.Figures:
    error = curves.calibration_error(curves.confidence_bins(rows.truth, probability_NL))
    by_label = metrics.f1_by_label(rows.truth, probability_NL, rows.labels)
    return {**metrics.score(rows.truth, probability_NL), "calibration_error": error, **by_label}


def _intervals(
    rows: TestRows,
    probability_NL: Floats,
    confusion_LL: NDArray[np.int64],
    per_class: Sequence[ClassFigures],
    figures: metrics.Figures,
) -> dict[str, intervals.Interval]:
    """Return the 95 % interval of every figure of the model."""
    spans = intervals.of_confusion(confusion_LL)
    spans["log_loss"] = intervals.of_mean(metrics.row_losses(rows.truth, probability_NL))
    spans["brier_score_loss"] = intervals.of_mean(metrics.row_briers(rows.truth, probability_NL))
    drawn = sums.of_probabilities(rows.truth, probability_NL)
    low, high = intervals.of_sums(drawn.values_PK, drawn.figures)["calibration_error"]
    # Drawn anew, rows are a little less well calibrated; and the bins' means are rounded.
    spans["calibration_error"] = min(low, figures["calibration_error"]), max(high, figures["calibration_error"])
    if "roc_auc" in figures:
        positive_N = rows.truth == 1
        spans["roc_auc"] = curves.area_interval(positive_N, probability_NL[:, 1], figures["roc_auc"])
        area = figures["average_precision"]
        spans["average_precision"] = curves.precision_interval(area, int(positive_N.sum()))
    spans |= {metrics.f1_name(one.label): one.intervals["f1"] for one in per_class if one.intervals}
    return {
        # None of these figures is below 0, wherever a normal interval begins.
        name: (round(max(low, 0.0), DECIMALS), round(high, DECIMALS))
        for name, (low, high) in spans.items()
        if name in figures
    }


def _per_class(confusion_LL: NDArray[np.int64], labels: Sequence[str]) -> tuple[ClassFigures, ...]:
    figures, ends = metrics.per_class(confusion_LL), intervals.of_classes(confusion_LL)
    rows_L = confusion_LL.sum(axis=1)
    return tuple(
        ClassFigures(
            label=label,
            rows=int(rows_L[index]),
            predicted=int(confusion_LL[:, index].sum()),
            **{name: round(float(values_L[index]), DECIMALS) for name, values_L in figures.items()},
            intervals={
                name: (round(float(low_L[index]), DECIMALS), round(float(high_L[index]), DECIMALS))
                for name, (low_L, high_L) in ends.items()
                if rows_L[index]
            },
        )
        for index, label in enumerate(labels)
    )


def worst_mistakes(rows: TestRows, probability_NL: Floats) -> tuple[Example, ...]:
    """Return the mistakes with the highest probability of the wrong label, at most 10, the worst first."""
    predicted_N = probability_NL.argmax(axis=1)
    mistakes = np.flatnonzero(predicted_N != rows.truth)
    # Stable: of equal probabilities the first row, whatever the sorting algorithm.
    order = np.argsort(-probability_NL[mistakes, predicted_N[mistakes]], kind="stable")
    return tuple(
        Example(
            id=rows.ids[row],
            text=shortened(rows.texts[row]),
            picture=rows.picture(rows.inputs[row]) if rows.picture else "",
            label=rows.labels[rows.truth[row]],
            predicted=rows.labels[predicted_N[row]],
            probability=round(float(probability_NL[row, predicted_N[row]]), DECIMALS),
            probability_of_label=round(float(probability_NL[row, rows.truth[row]]), DECIMALS),
        )
        for row in mistakes[order[:_EXAMPLES]]
    )


def shortened(text: str) -> str:
    """Return a text cut at a word, where it is longer than a report needs."""
    if len(text) <= _EXAMPLE_CHARACTERS:
        return text
    cut = text[:_EXAMPLE_CHARACTERS]
    return (cut.rsplit(maxsplit=1)[0] if " " in cut else cut) + " …"
