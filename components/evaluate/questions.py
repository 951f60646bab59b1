"""Measure a model that answers questions, from raw questions and contexts as they will be served."""

# Q questions

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from components.evaluate.settings import EvaluateSettings
from components.evaluate.subject import Subject, check_finite
from modelmill.dataset import Dataset
from modelmill.errors import UserError
from modelmill.evaluation import answers
from modelmill.evaluation.answers import f1
from modelmill.evaluation.document import Data, Report, Split
from modelmill.evaluation.intervals import of_bootstrap
from modelmill.evaluation.measure import Asked
from modelmill.evaluation.measure_answers import Given, QuestionRows, figures_of, measure_answers
from modelmill.evaluation.metrics import DECIMALS
from modelmill.evaluation.probes import Measured
from modelmill.models.questions import token_span
from modelmill.step import Step

if TYPE_CHECKING:
    from modelmill.models.question_predictor import QuestionPredictor, Scored

# Questions between two signs of progress, and between two looks at the wish to stop.
_CHUNK = 128


def measure_questions(
    step: Step, settings: EvaluateSettings, dataset: Dataset, predictor: Any, facts: Mapping[str, Any]
) -> tuple[Report, pa.Table]:
    """Return the report on answers to the test questions, and the table of those.

    Raises:
        UserError: fewer than two test questions.
        NoAnswers: the model's scores are not finite.
    """
    rows = _test_rows(dataset)
    found = _Answered(rows, predictor)
    for start in range(0, len(rows.ids), _CHUNK):
        step.check_stop()
        step.progress("answering the test questions", start, len(rows.ids), "questions")
        found.add(start, start + _CHUNK)
    step.progress("answering the test questions", len(rows.ids), len(rows.ids), "questions")
    check_finite(np.isfinite(found.losses), rows.ids, "scores", "test questions", "finetune.lr")
    asked = Asked(
        task=settings.task,
        model=facts["model"],
        dataset=dataset.address,
        data=Data(splits={name: Split(rows=dataset.rows(name)) for name in dataset.splits}),
        thresholds=settings.thresholds,
        must_beat=settings.must_beat,
    )
    given = Given(
        texts=found.texts,
        score_Q=np.array(found.scores),
        loss_Q=np.array(found.losses),
        null_threshold=predictor.decoder.questions.null_threshold if predictor.decoder.unanswerable else None,
    )
    beside = _baselines(rows) if settings.subject == "model" else {}
    # The shortest, so that it can be asked from a command line.
    place = min(range(len(rows.ids)), key=lambda row: (len(rows.contexts[row]), row))
    ask = json.dumps({"question": rows.questions[place], "context": rows.contexts[place]}, ensure_ascii=False)
    return measure_answers(asked, rows, given, beside).adding(ask=ask), _table(rows, found)


def _test_rows(dataset: Dataset) -> QuestionRows:
    count = dataset.rows("test")
    if count < 2:
        raise UserError(
            f"{dataset.address}: {count} questions in the test split, at least 2 are needed; raise ingest.split.test "
            "or give more questions"
        )
    table = dataset.table("test", ["id", "question", "context", "answers"])
    real = table["answers"].to_pylist()
    return QuestionRows(
        ids=table["id"].to_pylist(),
        questions=table["question"].to_pylist(),
        contexts=table["context"].to_pylist(),
        references=[[answer["text"] for answer in one] for one in real],
        starts=[one[0]["start"] if one else -1 for one in real],
    )


class _Answered:
    """The answers so far."""

    def __init__(self, rows: QuestionRows, predictor: "QuestionPredictor") -> None:
        self.rows, self.predictor = rows, predictor
        self.texts: list[str] = []
        self.scores: list[float] = []
        self.losses: list[float] = []
        self.places: list[tuple[int, int]] = []

    def add(self, start: int, end: int) -> None:
        """Answer some of the questions, which ingest has cleaned."""
        questions, contexts = self.rows.questions[start:end], self.rows.contexts[start:end]
        for row, scored in enumerate(self.predictor.scores(list(zip(questions, contexts, strict=True))), start):
            loss = self._loss(row, scored)
            if not np.isfinite(loss):
                # Told with all others like it.
                self.losses.append(np.nan)
                continue
            found = self.predictor.found(scored)
            self.texts.append(found.text(self.rows.contexts[row]))
            self.scores.append(found.score)
            self.losses.append(loss)
            self.places.append((found.start, found.end))

    def _loss(self, row: int, scored: "Scored") -> float:
        """Return the mean over a question's windows of what they lose, as in training."""
        span, start = None, self.rows.starts[row]
        if start >= 0:
            span = token_span(scored.starts_C, scored.ends_C, start, start + len(self.rows.references[row][0]))
        losses = []
        for window, start_T, end_T in zip(scored.windows, scored.start_WT, scored.end_WT, strict=True):
            first, last = (window.place(token) for token in span) if span else (0, 0)
            places = (first, last) if first and last else (0, 0)
            losses += [_surprise(one_T, place) for one_T, place in zip((start_T, end_T), places, strict=True)]
        return float(np.mean(losses))


def _surprise(score_T: Any, place: int) -> float:
    score_T = score_T.astype(np.float64)
    return float(np.logaddexp.reduce(score_T) - score_T[place])


class _ByF1:
    """Answers scored by the mean of F1."""

    metric = "f1"

    def __init__(self, references: Sequence[Sequence[str]]) -> None:
        self.references = references

    def figures(self, batch: slice, answers: Any) -> Any:
        pairs = zip(answers["answer"], self.references[batch], strict=True)
        return np.array([f1(given, real) for given, real in pairs])

    def measured(self, figures: Any) -> Measured:
        (span,) = of_bootstrap(figures[:, None])
        value, low, high = (round(float(one), DECIMALS) for one in (figures.mean(), *span))
        return Measured(value=value, low=low, high=high)


def asked_questions(dataset: Dataset, predictor: Any, folder: Path, table: pa.Table) -> Subject:
    """Return what may be probed of a model whose answers to the test questions are in a table."""
    asked = dataset.table("test", ["question", "context", "answers"])
    references = [[answer["text"] for answer in one] for one in asked["answers"].to_pylist()]
    return Subject(
        predictor=predictor,
        folder=folder,
        inputs=asked.select(["question", "context"]).to_pylist(),
        ids=table["id"].to_pylist(),
        answers=table["f1"].to_numpy().astype(np.float64),
        scoring=_ByF1(references),
    )


def _baselines(rows: QuestionRows) -> dict[str, list[str]]:
    made = {}
    for name, answer in answers.BASELINES.items():
        spans = [answer(question, context) for question, context in zip(rows.questions, rows.contexts, strict=True)]
        made[name] = [context[start:end] for (start, end), context in zip(spans, rows.contexts, strict=True)]
    return made


def _table(rows: QuestionRows, found: _Answered) -> pa.Table:
    figures_QF = figures_of(rows, found.texts)
    return pa.table(
        {
            "id": list(rows.ids),
            "answer": found.texts,
            "score": pa.array(found.scores, pa.float32()),
            "start": pa.array([start for start, _ in found.places], pa.int32()),
            "end": pa.array([end for _, end in found.places], pa.int32()),
            "exact_match": pa.array(figures_QF[:, 0], pa.float32()),
            "f1": pa.array(figures_QF[:, 1], pa.float32()),
            "loss": pa.array(found.losses, pa.float32()),
        }
    )
