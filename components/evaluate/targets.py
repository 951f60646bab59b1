"""Measure a model that answers texts with texts, from raw text as it will be served."""

# N rows

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from components.evaluate.settings import EvaluateSettings
from components.evaluate.subject import Subject, check_finite
from modelmill.dataset import Dataset
from modelmill.errors import UserError
from modelmill.evaluation.document import Data, Report, Split
from modelmill.evaluation.measure import Asked
from modelmill.evaluation.measure_targets import TargetRows, measure_targets
from modelmill.evaluation.metrics import DECIMALS
from modelmill.evaluation.overlap import Overlap, overlap
from modelmill.evaluation.probes import Measured
from modelmill.step import Step

if TYPE_CHECKING:
    from modelmill.models.target_predictor import TargetPredictor

# Rows between two signs of progress; and the most that are measured: rows are in the order of a hash, so the first ones
# are a fair sample, and their chrF is known to some tenths.
_CHUNK = 128
_MOST = 5000


def measure_answers(
    step: Step, settings: EvaluateSettings, dataset: Dataset, predictor: Any, facts: Mapping[str, Any]
) -> tuple[Report, pa.Table]:
    """Return the report on a model's answers to the test rows, and the table of them.

    Raises:
        UserError: fewer than two test rows, or no training rows.
        NoAnswers: the model's losses are not finite.
    """
    if dataset.rows("test") < 2:
        raise UserError(
            f"{dataset.address}: {dataset.rows('test')} rows in the test split, at least 2 are needed; raise "
            "ingest.split.test or give more labelled rows"
        )
    table = dataset.table("test", ["id", "text", "target"]).slice(0, _MOST)
    rows = _asked(step, predictor, table)
    asked = Asked(
        task=settings.task,
        model=facts["model"],
        dataset=dataset.address,
        data=Data(splits={name: Split(rows=dataset.rows(name)) for name in dataset.splits}),
        thresholds=settings.thresholds,
        must_beat=settings.must_beat,
    )
    beside = _baselines(dataset, rows) if settings.subject == "model" else {}
    decoding = {name: float(value) for name, value in predictor.decoding.model_dump().items() if value is not None}
    told = {**decoding, "cut_references": round(predictor.cut_share(rows.references), 6)}
    report, found = measure_targets(asked, rows, beside, told)
    predictions = pa.table(
        {
            "id": list(rows.ids),
            "answer": list(rows.answers),
            "chrf": pa.array(found.of_rows("chrf").astype(np.float32)),
            "nats": pa.array(rows.nats_N.astype(np.float32)),
            "tokens": pa.array(rows.tokens_N.astype(np.int32)),
            # What the figures of any rows follow from.
            **{
                f"{name}_sums": pa.FixedSizeListArray.from_arrays(
                    pa.array(sums_NS.astype(np.int32).ravel()), sums_NS.shape[1]
                )
                for name, sums_NS in found.sums.items()
            },
        }
    )
    return report.adding(ask=rows.sources[0]), predictions


def _asked(step: Step, predictor: "TargetPredictor", table: pa.Table) -> TargetRows:
    ids, sources, references = (table[name].to_pylist() for name in ("id", "text", "target"))
    # Texts of like length go together, so that little padding is computed.
    order = sorted(range(len(ids)), key=lambda row: (len(sources[row]), row))
    answers = [""] * len(ids)
    nats_N, tokens_N = np.zeros(len(ids)), np.zeros(len(ids))
    for start in range(0, len(order), _CHUNK):
        step.check_stop()
        step.progress("answering the test set", start, len(order), "rows")
        chunk = order[start : start + _CHUNK]
        asked = [sources[row] for row in chunk]
        for row, answer in zip(chunk, predictor.predict(asked), strict=True):
            answers[row] = str(answer)
        losses = predictor.losses(asked, [references[row] for row in chunk])
        nats_N[chunk], tokens_N[chunk] = losses.nats_D, losses.tokens_D
    step.progress("answering the test set", len(order), len(order), "rows")
    check_finite(np.isfinite(nats_N), ids, "loss", "test rows", "finetune.lr")
    return TargetRows(
        ids=ids, sources=sources, references=references, answers=answers, nats_N=nats_N, tokens_N=tokens_N
    )


class _ByChrf:
    """Answers scored by chrF, from what each shares with its reference."""

    metric = "chrf"

    def __init__(self, references: Sequence[str]) -> None:
        self.references = references

    def figures(self, batch: slice, answers: Any) -> Any:
        return overlap([str(answer) for answer in answers], self.references[batch]).sums["chrf"]

    def measured(self, figures: Any) -> Measured:
        found = Overlap(sums={"chrf": figures}, signatures={})
        low, high = found.intervals()["chrf"]
        value, low, high = (round(one, DECIMALS) for one in (found.figures()["chrf"], low, high))
        return Measured(value=value, low=low, high=high)


def asked_texts(dataset: Dataset, predictor: Any, folder: Path, table: pa.Table) -> Subject:
    """Return what may be probed of a model whose answers to the test rows are in a table."""
    asked = dataset.table("test", ["text", "target"]).slice(0, table.num_rows)
    return Subject(
        predictor=predictor,
        folder=folder,
        inputs=asked["text"].to_pylist(),
        ids=table["id"].to_pylist(),
        answers=np.array(table["chrf_sums"].to_pylist(), dtype=np.float64),
        scoring=_ByChrf(asked["target"].to_pylist()),
    )


def _baselines(dataset: Dataset, rows: TargetRows) -> dict[str, Sequence[str]]:
    """Return what each source itself, and what always the training rows' most frequent target, would answer."""
    counts: Counter[str] = Counter()
    for batch in dataset.batches("train", ["target"]):
        counts.update(batch["target"].to_pylist())
    if not counts:
        raise UserError(f"{dataset.address}: no rows in the train split; raise ingest.split.train")
    # Of equally frequent ones the first in the alphabet, whatever the order of the rows.
    frequent = min(counts, key=lambda text: (-counts[text], text))
    return {"copy": rows.sources, "frequent": [frequent] * len(rows.ids)}
