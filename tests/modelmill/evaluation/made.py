"""Reports for the tests, measured on made-up rows."""

from collections.abc import Sequence

import numpy as np

from modelmill.evaluation.checks import Threshold
from modelmill.evaluation.document import Data, Report, Split
from modelmill.evaluation.measure import Asked, TestRows, measure
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
