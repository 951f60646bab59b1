"""From predicted numbers on the test rows to a report.

N rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modelmill.evaluation import regression
from modelmill.evaluation.checks import checks
from modelmill.evaluation.document import NumberError, NumberInterval, Regression, Report, ResidualBin
from modelmill.evaluation.intervals import wilson
from modelmill.evaluation.measure import Asked, shortened
from modelmill.evaluation.metrics import DECIMALS, Floats

_POINTS = 1000
_BINS = 20
_WORST = 10


@dataclass(frozen=True, kw_only=True)
class NumberRows:
    """The rows that a model is measured on."""

    ids: Sequence[str]
    texts: Sequence[str]
    """What a person reads of each."""
    truth: Floats
    """[N], in the target's own unit."""
    target: str
    """Its name."""


def measure_numbers(
    asked: Asked,
    rows: NumberRows,
    predicted_N: Floats,
    baselines: Mapping[str, Floats] | None = None,
    interval: NumberInterval | None = None,
) -> Report:
    """Return the report on a model's numbers, [N], beside those of baselines by name, and on the interval with them."""
    figures = {"test": regression.score(rows.truth, predicted_N)}
    intervals = {"test": regression.intervals(rows.truth, predicted_N)}
    if interval is not None:
        inside = int((np.abs(predicted_N - rows.truth) <= interval.half_width).sum())
        figures["test"]["interval_coverage"] = round(inside / len(rows.truth), DECIMALS)
        low, high = wilson(inside, len(rows.truth))
        intervals["test"]["interval_coverage"] = round(low, DECIMALS), round(high, DECIMALS)
    for name, theirs_N in (baselines or {}).items():
        figures[name] = regression.score(rows.truth, theirs_N)
        intervals[name] = regression.intervals(rows.truth, theirs_N)
    count = len(rows.truth)
    return Report(
        task=asked.task,
        model=asked.model,
        dataset=asked.dataset,
        test_rows=count,
        metrics=figures,
        intervals=intervals["test"],
        regression=Regression(
            target=rows.target,
            points=_points(rows.truth, predicted_N),
            residuals=_residuals(predicted_N - rows.truth),
            worst=_worst(rows, predicted_N),
            r2_intervals={name: each["r2"] for name, each in intervals.items()},
            interval=interval,
        ),
        checks=tuple(checks(figures, intervals["test"], asked.thresholds, asked.must_beat, count)),
        data=asked.data,
    )


def interval_of(error_M: Floats) -> NumberInterval | None:
    """Return the interval that goes with every prediction, from the errors on validation rows; None on too few."""
    width = regression.half_width(error_M)
    if width is None:
        return None
    return NumberInterval(half_width=_short(width), wanted=regression.COVERAGE, rows=len(error_M))


def _points(truth_N: Floats, predicted_N: Floats) -> tuple[tuple[float, float], ...]:
    # Rows are in the order of a hash: evenly spread ones are a fair sample.
    kept = np.unique(np.linspace(0, len(truth_N) - 1, min(_POINTS, len(truth_N))).round().astype(int))
    return tuple((_short(truth_N[row]), _short(predicted_N[row])) for row in kept)


def _residuals(error_N: Floats) -> tuple[ResidualBin, ...]:
    """Return the errors in 20 bins, as many above 0 as below."""
    reach = float(np.abs(error_N).max()) or 1.0
    counts, edges = np.histogram(error_N, bins=_BINS, range=(-reach, reach))
    return tuple(
        ResidualBin(low=_short(low), high=_short(high), rows=int(rows))
        for low, high, rows in zip(edges[:-1], edges[1:], counts, strict=True)
    )


def _worst(rows: NumberRows, predicted_N: Floats) -> tuple[NumberError, ...]:
    order = np.argsort(-np.abs(predicted_N - rows.truth), kind="stable")
    return tuple(
        NumberError(
            id=rows.ids[row],
            text=shortened(rows.texts[row]),
            truth=_short(rows.truth[row]),
            predicted=_short(predicted_N[row]),
        )
        for row in order[:_WORST].tolist()
    )


def _short(value: float) -> float:
    return float(f"{value:.6g}")
