"""Measure a model that predicts a number from a table's row, from raw rows as they will be served."""

# N test rows, M rows of another split, F numbers of a vector

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from components.evaluate.rows import ask_of, asked_rows
from components.evaluate.settings import EvaluateSettings
from components.evaluate.subject import Subject, check_finite
from modelmill.dataset import Dataset
from modelmill.errors import UserError
from modelmill.evaluation import baselines
from modelmill.evaluation.document import Data, NumberInterval, Report, Split
from modelmill.evaluation.measure import Asked
from modelmill.evaluation.measure_numbers import NumberRows, interval_of, measure_numbers
from modelmill.evaluation.metrics import Floats
from modelmill.step import Step

if TYPE_CHECKING:
    from modelmill.models.predict import Predictor

_CHUNK = 4096
# Rows are in the order of a hash, so the first ones are a fair sample.
_BASELINE_ROWS = 200_000


def measure_regression(
    step: Step, settings: EvaluateSettings, dataset: Dataset, predictor: "Predictor", facts: Mapping[str, Any]
) -> tuple[Report, pa.Table, Subject]:
    """Return the report on a regression, the table of its predictions, and what may be probed.

    Raises:
        UserError: fewer than two test rows, no training rows, data without the columns that the model reads, or with
            another target.
        NoAnswers: the model's numbers are not finite.
    """
    rows, inputs = _test_rows(dataset)
    if facts["target"] != rows.target:
        raise UserError(
            f"the model predicts {facts['target']!r}, {dataset.address} has the target {rows.target!r}: fine-tune on "
            "the dataset that you evaluate on"
        )
    predicted_N = _predict(step, predictor, inputs, rows.ids, "test")
    interval = _interval(step, dataset, predictor)
    asked = Asked(
        task=settings.task,
        model=facts["model"],
        dataset=dataset.address,
        data=Data(splits={name: Split(rows=dataset.rows(name)) for name in dataset.splits}),
        thresholds=settings.thresholds,
        must_beat=settings.must_beat,
    )
    beside = _baselines(step, dataset, predictor, inputs) if settings.subject == "model" else {}
    report = measure_numbers(asked, rows, predicted_N, beside, interval).adding(ask=ask_of(dataset, inputs[0]))
    subject = Subject(
        predictor=predictor,
        folder=facts["folder"],
        inputs=inputs,
        ids=rows.ids,
        truth=rows.truth,
        answers=predicted_N,
        kinds=dataset.meta["features"],
        target=rows.target,
    )
    columns = {"id": list(rows.ids), "target": pa.array(rows.truth), "predicted": pa.array(predicted_N)}
    if interval is not None:
        ends = {"low": predicted_N - interval.half_width, "high": predicted_N + interval.half_width}
        columns |= {name: pa.array(end_N) for name, end_N in ends.items()}
    return report, pa.table(columns), subject


def _interval(step: Step, dataset: Dataset, predictor: "Predictor") -> NumberInterval | None:
    """Return the interval that goes with every prediction, from rows that the weights were not learned from."""
    if not dataset.rows("validation"):
        return None
    table = dataset.table("validation", ["id", "features", "target"]).slice(0, _BASELINE_ROWS)
    inputs, ids = table["features"].to_pylist(), table["id"].to_pylist()
    predicted_M = _predict(step, predictor, inputs, ids, "validation")
    return interval_of(predicted_M - table["target"].to_numpy())


def _test_rows(dataset: Dataset) -> tuple[NumberRows, list[Any]]:
    table, inputs, texts = asked_rows(dataset, "target")
    rows = NumberRows(
        ids=table["id"].to_pylist(), texts=texts, truth=table["target"].to_numpy(), target=str(dataset.meta["target"])
    )
    return rows, inputs


def _predict(step: Step, predictor: "Predictor", inputs: list[Any], ids: Sequence[str], split: str) -> Floats:
    predicted_N = np.zeros(len(inputs))
    for start in range(0, len(inputs), _CHUNK):
        step.check_stop()
        step.progress(f"scoring the {split} set", start, len(inputs), "rows")
        predicted_N[start : start + _CHUNK] = predictor.predict(inputs[start : start + _CHUNK])
    step.progress(f"scoring the {split} set", len(inputs), len(inputs), "rows")
    check_finite(np.isfinite(predicted_N), ids, "number", f"{split} rows", "finetune.lr")
    return predicted_N


def _baselines(step: Step, dataset: Dataset, predictor: "Predictor", inputs: list[Any]) -> dict[str, Floats]:
    from modelmill.models.table_predictor import TablePredictor

    assert isinstance(predictor, TablePredictor)
    total = min(dataset.rows("train"), _BASELINE_ROWS)
    if not total:
        raise UserError(f"{dataset.address}: no rows in the train split; raise ingest.split.train")
    step.check_stop()
    step.progress("fitting least squares", 0, total, "rows")
    train = dataset.table("train", ["id", "features", "target"]).slice(0, total)
    train_MF, _ = predictor.transforms.of_table(train["features"], train["id"].to_pylist())
    targets_M = train["target"].to_numpy()
    linear_N = baselines.least_squares(train_MF, targets_M, predictor.transforms.of_rows(inputs)[0])
    step.progress("fitting least squares", total, total, "rows")
    return {"mean": baselines.mean(targets_M, len(inputs)), "linear": linear_N}
