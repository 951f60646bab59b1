"""Reports for the tests, measured on made-up rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelmill.evaluation.checks import Baseline, Metric, Threshold
from modelmill.evaluation.document import CrossValidation, Data, Place, Report, Sample, Split, Spread
from modelmill.evaluation.measure import Asked, TestRows, measure
from modelmill.evaluation.measure_numbers import NumberRows, interval_of, measure_numbers
from modelmill.evaluation.measure_targets import TargetRows, measure_targets
from modelmill.evaluation.metrics import Floats, Labels

LABELS = ("negative", "positive")


def guesses(rows: int, labels: int = 2, skill: float = 1.5, seed: int = 0) -> tuple[Labels, Floats]:
    """Return true labels, and probabilities that favour them the more, the more skill there is."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, labels, rows)
    scores = generator.normal(size=(rows, labels))
    scores[np.arange(rows), truth] += skill
    odds = np.exp(scores)
    return truth, odds / odds.sum(axis=1, keepdims=True)


def report(
    rows: int = 200,
    labels: Sequence[str] = LABELS,
    skill: float = 1.5,
    tfidf_skill: float | None = 0.5,
    text: str = "a dull, lifeless film",
    at_least: float | None = 0.6,
) -> Report:
    """Return a report; without a skill for it, there are no baselines."""
    truth, probability = guesses(rows, len(labels), skill)
    baselines = {}
    if tfidf_skill is not None:
        baselines["majority"] = np.tile(np.bincount(truth, minlength=len(labels)) / rows, (rows, 1))
        baselines["tfidf"] = guesses(rows, len(labels), tfidf_skill)[1]
    counts = {label: int((truth == index).sum()) for index, label in enumerate(labels)}
    asked = Asked(
        task="text-classification",
        model="models/" + "a" * 64,
        dataset="datasets/" + "b" * 64,
        data=Data(splits={"test": Split(rows=rows, labels=counts), "train": Split(rows=8 * rows)}),
        thresholds={"accuracy": Threshold(min=at_least)} if at_least is not None else {},
    )
    texts = [f"{text} {row}" for row in range(rows)]
    ids = [f"{row:032x}" for row in range(rows)]
    return measure(
        asked, TestRows(ids=ids, inputs=texts, texts=texts, truth=truth, labels=tuple(labels)), probability, baselines
    )


def numbers_report(
    rows: int = 120,
    noise: float = 0.5,
    linear_noise: float = 1.0,
    thresholds: dict[Metric, Threshold] | None = None,
    must_beat: tuple[Baseline, ...] = (),
    text: str = "rooms=3, street=south",
    target: str = "price",
    size: float = 1.0,
    validation: int = 40,
) -> Report:
    """Return a report on numbers that are right but for some noise."""
    generator = np.random.default_rng(0)
    truth = size * (generator.normal(size=rows) * 3 + 20)
    asked = Asked(
        task="table-regression",
        model="models/" + "a" * 64,
        dataset="datasets/" + "b" * 64,
        data=Data(splits={"test": Split(rows=rows), "train": Split(rows=3 * rows)}),
        thresholds=thresholds or {},
        must_beat=must_beat,
    )
    told = NumberRows(
        ids=[f"{row:032x}" for row in range(rows)], texts=[f"{text} {row}" for row in range(rows)], truth=truth,
        target=target,
    )  # fmt: skip
    beside = {
        "mean": np.full(rows, truth.mean() + 0.3 * size),
        "linear": truth + size * linear_noise * generator.normal(size=rows),
    }
    predicted = truth + size * noise * generator.normal(size=rows)
    interval = interval_of(size * noise * generator.normal(size=validation))
    return measure_numbers(asked, told, predicted, beside, interval)


def folds() -> CrossValidation:
    """Return the figures of a model and its baselines over two folds."""
    spread = {name: Spread(mean=mean, deviation=0.02, folds=(mean - 0.02, mean + 0.02)) for name, mean in
              {"r2": 0.85, "rmse": 2.5, "mae": 1.9}.items()}  # fmt: skip
    return CrossValidation(folds=2, rows=405, figures={"model": spread, "linear": spread, "mean": spread})


def targets_report(text: str = "where are we going?", rows: int = 12) -> Report:
    """Return a report on written answers, some of them right."""
    references = [f"we go to place number {row}" for row in range(rows)]
    answers = [reference if row % 3 else f"to {row}" for row, reference in enumerate(references)]
    asked = Asked(
        task="sequence-to-sequence",
        model=f"models/{'a' * 64}",
        dataset=f"datasets/{'b' * 64}",
        data=Data(splits={"train": Split(rows=100), "test": Split(rows=rows)}),
    )
    made = TargetRows(
        ids=[f"{row:032x}" for row in range(rows)],
        sources=[f"{text} {row}" for row in range(rows)],
        references=references,
        answers=answers,
        nats_N=np.arange(rows, dtype=np.float64) + 3,
        tokens_N=np.full(rows, 6.0),
    )
    return measure_targets(asked, made, {"copy": made.sources, "frequent": ["what?"] * rows}, {"beams": 4.0})[0]


def beside(value: str = "short") -> dict[str, Any]:
    """Return a comparison with a champion, as JSON; `value` is that of the one slice."""
    return {
        "champion": f"models/{'c' * 64}",
        "version": "3",
        "rows": 200,
        "metric": "accuracy",
        "asked": {},
        "outcome": "better",
        "p": 0.01,
        "differences": [
            {
                "metric": name,
                "champion": 0.7,
                "challenger": 0.8,
                "difference": 0.1,
                "low": 0.02,
                "high": 0.18,
                "better": True,
            }
            for name in ("accuracy", "f1_macro", "log_loss")
        ],
        "slices": [
            {
                "column": "street",
                "value": value,
                "rows": 40,
                "few": False,
                "p": 0.2,
                "champion": 0.7,
                "challenger": 0.75,
                "low": -0.1,
                "high": 0.2,
            }
        ],
    }


def words_report() -> Report:
    """Return a report on word embeddings."""
    figures = {"loss": 0.41, "perplexity": 1.5, "accuracy": 0.62}
    words = ["love", "hate", "want", "need", "like", "home", "door", "street", "money", "mother"]
    return Report(
        task="word-embeddings",
        model=f"models/{'a' * 64}",
        dataset=f"datasets/{'b' * 64}",
        test_rows=1200,
        metrics={"test": figures, "unigram": {name: value / 2 for name, value in figures.items()}},
        intervals={name: (value - 0.01, value + 0.01) for name, value in figures.items()},
        samples=tuple(Sample(prompt=word, answer=", ".join(f"{other} 0.71" for other in words)) for word in words[:3]),
        sampling={"negatives": 5.0, "window": 5.0},
        places=tuple(Place(word=word, x=place / 9, y=(place * 7 % 10) / 10) for place, word in enumerate(words)),
        data=Data(splits={"train": Split(rows=60_000), "validation": Split(rows=1200)}),
    )
