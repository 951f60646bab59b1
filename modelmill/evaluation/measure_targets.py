"""From answers to the test rows' sources to a report.

N rows.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modelmill.evaluation.checks import checks
from modelmill.evaluation.document import Answer, Report, Targets
from modelmill.evaluation.intervals import of_ratio
from modelmill.evaluation.measure import Asked, shortened
from modelmill.evaluation.metrics import DECIMALS, Floats
from modelmill.evaluation.overlap import Overlap, overlap

# Rows shown as they come, and those with the worst answers.
_SAMPLES, _WORST = 10, 10


@dataclass(frozen=True, kw_only=True)
class TargetRows:
    """The rows that a model is measured on, and what it makes of them."""

    ids: Sequence[str]
    sources: Sequence[str]
    references: Sequence[str]
    answers: Sequence[str]
    nats_N: Floats
    """Negative log-likelihood of each reference, summed over its tokens and its end."""
    tokens_N: Floats
    """How many those are."""


def measure_targets(
    asked: Asked, rows: TargetRows, baselines: Mapping[str, Sequence[str]], facts: Mapping[str, float]
) -> tuple[Report, Overlap]:
    """Return the report on a model's answers beside those of baselines by name, and what answers share with references.

    `facts` says how it was asked, for the page.
    """
    found = overlap(rows.answers, rows.references)
    spans = found.intervals()
    loss, low, high = of_ratio(rows.nats_N, rows.tokens_N)
    ours = {**found.figures(), "loss": loss, "perplexity": math.exp(loss)}
    spans |= {"loss": (low, high), "perplexity": (math.exp(low), math.exp(high))}
    figures = {"test": _rounded(ours)}
    beside: dict[str, dict[str, tuple[float, float]]] = {"test": _rounded_pairs(found.intervals())}
    for name, answers in baselines.items():
        theirs = overlap(answers, rows.references)
        figures[name] = _rounded(theirs.figures())
        beside[name] = _rounded_pairs(theirs.intervals())
    intervals = _rounded_pairs(spans)
    chrf_N = found.of_rows("chrf")
    report = Report(
        task=asked.task,
        model=asked.model,
        dataset=asked.dataset,
        test_rows=len(rows.ids),
        metrics=figures,
        intervals=intervals,
        targets=Targets(
            signatures=dict(found.signatures),
            asked=dict(facts),
            samples=_answers(rows, chrf_N, range(min(_SAMPLES, len(rows.ids)))),
            worst=_answers(rows, chrf_N, _worst(rows, chrf_N)),
            chrf_intervals={name: pairs["chrf"] for name, pairs in beside.items()},
        ),
        checks=tuple(checks(figures, intervals, asked.thresholds, asked.must_beat, len(rows.ids))),
        data=asked.data,
    )
    return report, found


def _worst(rows: TargetRows, chrf_N: Floats) -> Sequence[int]:
    """Return the rows whose answers have the least in common with the reference; of equals those known least."""
    each_N = rows.nats_N / np.maximum(rows.tokens_N, 1)
    return [int(row) for row in np.lexsort((-each_N, chrf_N))[:_WORST]]


def _answers(rows: TargetRows, chrf_N: Floats, places: Sequence[int]) -> tuple[Answer, ...]:
    return tuple(
        Answer(
            id=rows.ids[row],
            source=shortened(rows.sources[row]),
            reference=shortened(rows.references[row]),
            answer=shortened(rows.answers[row]),
            chrf=round(float(chrf_N[row]), DECIMALS),
        )
        for row in places
    )


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, DECIMALS) for name, value in figures.items()}


def _rounded_pairs(pairs: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    return {name: (round(low, DECIMALS), round(high, DECIMALS)) for name, (low, high) in pairs.items()}
