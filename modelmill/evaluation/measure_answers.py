"""From the answers to the test questions to a report.

Q questions, F figures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modelmill.evaluation import intervals
from modelmill.evaluation.answers import exact_match, f1
from modelmill.evaluation.checks import checks
from modelmill.evaluation.document import AnswerError, Answers, AnswersPart, Report
from modelmill.evaluation.measure import Asked, shortened
from modelmill.evaluation.metrics import DECIMALS, Floats

_WORST = 10
# Characters of the context on either side of the right answer.
_AROUND = 200
FIGURES = ("exact_match", "f1")


@dataclass(frozen=True, kw_only=True)
class QuestionRows:
    """The questions that a model is measured on."""

    ids: Sequence[str]
    questions: Sequence[str]
    contexts: Sequence[str]
    references: Sequence[Sequence[str]]
    """Right answers; none where there is none."""
    starts: Sequence[int]
    """First character of the first one; -1 without one."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a model answered."""

    texts: Sequence[str]
    """'' for no answer."""
    score_Q: Floats
    """Probability of each."""
    loss_Q: Floats
    """In nats."""
    null_threshold: float | None
    """From when on it gives no answer; None for a model that always gives one."""


def figures_of(rows: QuestionRows, texts: Sequence[str]) -> Floats:
    """Return exact match and F1 of each answer: [Q, F]."""
    pairs = zip(texts, rows.references, strict=True)
    return np.array([[exact_match(given, real), f1(given, real)] for given, real in pairs], dtype=np.float64)


def measure_answers(
    asked: Asked, rows: QuestionRows, given: Given, baselines: Mapping[str, Sequence[str]] | None = None
) -> Report:
    """Return the report on a model's answers, beside those of baselines by name."""
    ours_QF = figures_of(rows, given.texts)
    parts = {"test": _part(ours_QF)}
    for name, theirs in (baselines or {}).items():
        parts[name] = _part(figures_of(rows, theirs))
    metrics = {name: {figure: getattr(part, figure) for figure in FIGURES} for name, part in parts.items()}
    metrics["test"]["loss"] = round(float(given.loss_Q.mean()), DECIMALS)
    spans = {**parts["test"].intervals, "loss": _rounded(intervals.of_mean(given.loss_Q))}
    has_answer_Q = np.array([bool(real) for real in rows.references])
    groups = {"answerable": has_answer_Q, "unanswerable": ~has_answer_Q}
    return Report(
        task=asked.task,
        model=asked.model,
        dataset=asked.dataset,
        test_rows=len(rows.ids),
        metrics=metrics,
        intervals=spans,
        answers=Answers(
            parts={name: _part(ours_QF[chosen_Q]) for name, chosen_Q in groups.items() if chosen_Q.any()},
            intervals={name: part.intervals for name, part in parts.items()},
            worst=_worst(rows, given, ours_QF[:, 1]),
            null_threshold=given.null_threshold,
            unanswered=sum(not text for text in given.texts),
        ),
        checks=tuple(checks(metrics, spans, asked.thresholds, asked.must_beat, len(rows.ids))),
        data=asked.data,
    )


def _part(values_QF: Floats) -> AnswersPart:
    mean_F = values_QF.mean(axis=0)
    spans = intervals.of_bootstrap(values_QF)
    return AnswersPart(
        rows=len(values_QF),
        exact_match=round(float(mean_F[0]), DECIMALS),
        f1=round(float(mean_F[1]), DECIMALS),
        intervals={name: _rounded(span) for name, span in zip(FIGURES, spans, strict=True)},
    )


def _rounded(interval: tuple[float, float]) -> tuple[float, float]:
    return round(interval[0], DECIMALS), round(interval[1], DECIMALS)


def _worst(rows: QuestionRows, given: Given, f1_Q: Floats) -> tuple[AnswerError, ...]:
    """Return the answers that share least with the references, of those the ones that the model was surest of."""
    order = np.lexsort((-given.score_Q, f1_Q))
    return tuple(_error(rows, given, row, float(f1_Q[row])) for row in order[:_WORST].tolist() if f1_Q[row] < 1)


def _error(rows: QuestionRows, given: Given, row: int, shared: float) -> AnswerError:
    context, start = rows.contexts[row], rows.starts[row]
    before, answer, after = shortened(context), "", ""
    if start >= 0:
        end = start + len(rows.references[row][0])
        first, last = max(0, start - _AROUND), min(len(context), end + _AROUND)
        before = ("… " if first else "") + context[first:start]
        answer, after = context[start:end], context[end:last] + (" …" if last < len(context) else "")
    return AnswerError(
        id=rows.ids[row],
        question=shortened(rows.questions[row]),
        before=before,
        answer=answer,
        after=after,
        given=shortened(given.texts[row]),
        f1=round(shared, DECIMALS),
        score=round(float(given.score_Q[row]), DECIMALS),
    )
