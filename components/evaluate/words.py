"""Measure word embeddings on held-out documents: beside the frequency of words alone, and shown by their neighbours."""

# D documents

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from components.evaluate.probe import cost_figures, probed
from components.evaluate.settings import EvaluateSettings
from components.evaluate.slices import with_slices
from components.evaluate.subject import NoAnswers, Subject, check_finite
from modelmill.dataset import Dataset, encode
from modelmill.evaluation.checks import checks
from modelmill.evaluation.document import Data, Place, Report, Sample, Split
from modelmill.evaluation.intervals import of_ratio
from modelmill.evaluation.metrics import DECIMALS
from modelmill.evaluation.report import render
from modelmill.models.folder import save_files
from modelmill.step import Step

if TYPE_CHECKING:
    from modelmill.models.language_predictor import Losses
    from modelmill.models.word_predictor import WordPredictor

# Documents between two signs of progress.
_CHUNK = 512
# Words whose neighbours are shown where a recipe asks for none, and those on the map; and letters that such words have,
# since the most frequent ones are too short to say anything.
_ASKED, _PLACES, _LETTERS = 12, 40, 4
# Words that are asked for in turn while answers are timed.
_TIMED = 256


@dataclass(frozen=True)
class Held:
    """What is measured on what."""

    model: str
    corpus: str
    facts: Mapping[str, Any]
    dataset: Dataset
    table: pa.Table
    """Held-out documents."""
    folder: Path
    """Where the model's files are."""


def measure(
    step: Step, settings: EvaluateSettings, predictor: "WordPredictor", held: Held
) -> tuple[str, dict[str, Any]]:
    """Return the address of a report on word embeddings, and its summary.

    Raises:
        UserError: a prompt has no known word.
        NoAnswers: the model's figures are not finite, or no held-out word stands beside another.
    """
    ours, alone = _losses(step, predictor, held.table["text"].to_pylist())
    check_finite(np.isfinite(ours.nats_D), held.table["id"].to_pylist(), "loss", "held-out documents", "pretrain.lr")
    if not ours.tokens_D.sum():
        raise NoAnswers(
            f"{held.corpus}: no known word stands beside another in {len(ours.nats_D):,} held-out documents; give "
            "longer ones"
        )
    figures, spans = _figures(ours)
    metrics = {"test": figures, "unigram": _figures(alone)[0]}
    rows = len(ours.nats_D)
    asked = list(settings.prompts) or predictor.frequent(_ASKED, _LETTERS)
    shown = predictor.frequent(_PLACES, _LETTERS)
    config = predictor.model.config
    report = Report(
        task=settings.task,
        model=held.model,
        dataset=held.corpus,
        test_rows=rows,
        metrics=metrics,
        intervals=spans,
        checks=tuple(checks(metrics, spans, settings.thresholds, (), rows)),
        data=Data(splits={name: Split(rows=held.dataset.rows(name)) for name in held.dataset.splits}),
        ask=asked[0] if asked else "",
        samples=tuple(
            Sample(prompt=word, answer=str(near)) for word, near in zip(asked, predictor.predict(asked), strict=True)
        ),
        places=_places(predictor, shown),
        sampling={"negatives": config.negatives, "window": config.window, "subsample": config.subsample},
        lineage=held.facts.get("lineage", {}),
    )
    timed = predictor.frequent(_TIMED, _LETTERS) or asked
    report = probed(step, settings, report, Subject(predictor=predictor, folder=held.folder, inputs=timed))
    step.figures({**figures, **cost_figures(report)})
    passed = f"{sum(check.passed for check in report.checks)} of {len(report.checks)}"
    summary = {**figures, **cost_figures(report), "test_rows": rows, "checks_passed": passed, "metrics": report.metrics}
    return _save(step, settings, report, held.table["id"], ours, alone), summary


def _losses(step: Step, predictor: "WordPredictor", texts: list[str]) -> tuple["Losses", "Losses"]:
    from modelmill.models.language_predictor import Losses

    parts = []
    for start in range(0, len(texts), _CHUNK):
        step.check_stop()
        step.progress("scoring held-out documents", start, len(texts), "documents")
        parts.append(predictor.losses(texts[start : start + _CHUNK], start))
    step.progress("scoring held-out documents", len(texts), len(texts), "documents")
    both = [
        Losses(
            nats_D=np.concatenate([part[number].nats_D for part in parts]),
            tokens_D=np.concatenate([part[number].tokens_D for part in parts]),
            right_D=np.concatenate([part[number].right_D for part in parts]),
        )
        for number in (0, 1)
    ]
    return both[0], both[1]


def _figures(losses: "Losses") -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Return loss and accuracy, the share of true words that score above all their noise; and their 95 % intervals."""
    found = {"loss": of_ratio(losses.nats_D, losses.tokens_D), "accuracy": of_ratio(losses.right_D, losses.tokens_D)}
    figures = {name: round(value, DECIMALS) for name, (value, _, _) in found.items()}
    return figures, {name: (round(low, DECIMALS), round(high, DECIMALS)) for name, (_, low, high) in found.items()}


def _places(predictor: "WordPredictor", words: list[str]) -> tuple[Place, ...]:
    from modelmill.models.word_predictor import plane

    # A plane takes three points.
    if len(words) < 3:
        return ()
    places_N2 = plane(predictor.vectors(words))
    return tuple(
        Place(word=word, x=round(float(x), 4), y=round(float(y), 4))
        for word, (x, y) in zip(words, places_N2, strict=True)
    )


def _save(step: Step, settings: EvaluateSettings, report: Report, ids: Any, ours: "Losses", alone: "Losses") -> str:
    table = pa.table(
        {
            "id": ids,
            "nats": pa.array(ours.nats_D.astype(np.float32)),
            "predicted": pa.array(ours.tokens_D.astype(np.int32)),
            "right": pa.array(ours.right_D.astype(np.int32)),
            "unigram_nats": pa.array(alone.nats_D.astype(np.float32)),
            "unigram_right": pa.array(alone.right_D.astype(np.int32)),
        }
    )
    report, table = with_slices(step, settings, "validation", report, table)
    files = {
        "report.json": report.to_json().encode(),
        "report.html": render(report).encode(),
        "predictions.parquet": encode(table),
    }
    meta = {"task": report.task, "model": report.model, "dataset": report.dataset, "labels": []}
    return save_files(step.store, "reports", files, meta)
