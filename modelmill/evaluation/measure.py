"""From a model's probabilities on the test rows to a report.

N rows, L labels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelmill.evaluation import curves, intervals, metrics
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
    spans = intervals.of_confusion(confusion_LL)
    spans["log_loss"] = intervals.of_mean(metrics.row_losses(rows.truth, probability_NL))
    rounded = {name: (round(low, DECIMALS), round(high, DECIMALS)) for name, (low, high) in spans.items()}
    bins = curves.confidence_bins(rows.truth, probability_NL)
    return Report(
        task=asked.task,
        model=asked.model,
        dataset=asked.dataset,
        test_rows=len(rows.truth),
        labels=rows.labels,
        metrics=figures,
        intervals=rounded,
        per_class=_per_class(confusion_LL, rows.labels),
        confusion=tuple(tuple(int(cell) for cell in line_L) for line_L in confusion_LL),
        roc=curves.roc_curves(rows.truth, probability_NL, rows.labels),
        calibration=bins,
        calibration_error=curves.calibration_error(bins),
        examples=worst_mistakes(rows, probability_NL),
        checks=tuple(checks(figures, rounded, asked.thresholds, asked.must_beat, len(rows.truth))),
        data=asked.data,
    )


def _scores(rows: TestRows, probability_NL: Floats) -> metrics.Figures:
    return {**metrics.score(rows.truth, probability_NL), **metrics.f1_by_label(rows.truth, probability_NL, rows.labels)}


def _per_class(confusion_LL: NDArray[np.int64], labels: Sequence[str]) -> tuple[ClassFigures, ...]:
    figures = metrics.per_class(confusion_LL)
    return tuple(
        ClassFigures(
            label=label,
            rows=int(confusion_LL[index].sum()),
            predicted=int(confusion_LL[:, index].sum()),
            **{name: round(float(values_L[index]), DECIMALS) for name, values_L in figures.items()},
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
