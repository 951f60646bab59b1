"""Measure a model on the labelled test rows, from raw text as it will be served."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pyarrow as pa

from components.evaluate.language import measure_language
from components.evaluate.numbers import measure_regression
from components.evaluate.probe import cost_figures, probed
from components.evaluate.questions import asked_questions, measure_questions
from components.evaluate.rows import ask_of, check_features, read_test_rows
from components.evaluate.settings import EvaluateSettings
from components.evaluate.slices import with_slices
from components.evaluate.subject import Subject, check_finite
from components.evaluate.targets import asked_texts, measure_answers
from modelmill.dataset import Dataset, encode, open_dataset
from modelmill.errors import UserError
from modelmill.evaluation import baselines
from modelmill.evaluation.checks import main_metric
from modelmill.evaluation.document import Data, Report, Split
from modelmill.evaluation.measure import Asked, TestRows, measure
from modelmill.evaluation.metrics import Floats
from modelmill.evaluation.report import render
from modelmill.models.folder import fetch_model, save_files
from modelmill.settings import LanguageTask, Task
from modelmill.step import Step

if TYPE_CHECKING:
    from modelmill.models.predict import Predictor

# Rows between two signs of progress, and between two looks at the wish to stop.
_CHUNK = 256
# Rows are in the order of a hash, so the first ones are a fair sample; more of them add minutes and gigabytes to tf-idf
# and little to its accuracy.
_BASELINE_ROWS = 200_000


@dataclass(frozen=True)
class EvaluateOutputs:
    """Where the report lies, and its main figures."""

    report: str
    summary: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Model:
    """A model that is to be measured, and on what."""

    step: Step
    settings: EvaluateSettings
    dataset: Dataset
    folder: Path
    """Where its files are."""
    facts: Mapping[str, Any]
    """What it says of its making, and `model`, its address."""

    def load(self) -> Any:
        """Return the predictor."""
        from modelmill.models.predict import load_predictor

        return load_predictor(self.folder)


Measured = tuple[Report, pa.Table, Subject]
"""The report, the predictions, and what may be probed."""


def run(step: Step, settings: EvaluateSettings, model: str, labelled: str) -> EvaluateOutputs:
    """Measure the model at an address on the test split of the labelled dataset at another.

    For a language model the dataset is its corpus, of which a split is held out.
    The report is a manifest `reports/<id>` over `report.json`, `report.html` and `predictions.parquet`.

    Raises:
        UserError: fewer than two test rows, training rows that no baseline can be fitted on, or a model of other labels
            or columns than the dataset.
        NoAnswers: the model gives no finite numbers.
    """
    if settings.task in get_args(LanguageTask):
        address, summary = measure_language(step, settings, model, labelled)
        return EvaluateOutputs(report=address, summary=summary)
    dataset, folder = open_dataset(step.store, labelled), step.scratch / "model"
    facts = {**fetch_model(step.store, model, folder), "model": model}
    asked = _Model(step=step, settings=settings, dataset=dataset, folder=folder, facts=facts)
    report, predictions, subject = _MEASURED.get(settings.task, _classes)(asked)
    report = probed(step, settings, report, subject)
    told = report.adding(lineage=facts.get("lineage", {}), cross_validation=facts.get("cross_validation"))
    told, predictions = with_slices(step, settings, "test", told, predictions)
    step.figures({**told.metrics["test"], **cost_figures(told)})
    return EvaluateOutputs(report=_save(step, told, predictions), summary=_summary(told))


def _numbers(of: _Model) -> Measured:
    check_features(of.facts, of.dataset)
    return measure_regression(of.step, of.settings, of.dataset, of.load(), {**of.facts, "folder": of.folder})


def _questions(of: _Model) -> Measured:
    predictor = of.load()
    report, table = measure_questions(of.step, of.settings, of.dataset, predictor, of.facts)
    return report, table, asked_questions(of.dataset, predictor, of.folder, table)


def _targets(of: _Model) -> Measured:
    predictor = of.load()
    report, table = measure_answers(of.step, of.settings, of.dataset, predictor, of.facts)
    return report, table, asked_texts(of.dataset, predictor, of.folder, table)


def _classes(of: _Model) -> Measured:
    step, settings, dataset = of.step, of.settings, of.dataset
    rows, of_table = read_test_rows(dataset), dataset.meta["kind"] == "labelled-table"
    if of_table:
        check_features(of.facts, dataset)
    predictor, model = of.load(), str(of.facts["model"])
    if tuple(predictor.labels) != rows.labels:
        raise UserError(
            f"{model} knows the labels {list(predictor.labels)}, {dataset.address} has {list(rows.labels)}: fine-tune "
            "on the dataset that you evaluate on"
        )
    probability_NL = _predict(step, predictor, rows)
    asked = Asked(
        task=settings.task,
        model=model,
        dataset=dataset.address,
        data=_splits(dataset, rows),
        thresholds=settings.thresholds,
        must_beat=settings.must_beat,
    )
    beside = _baselines(step, dataset, rows) if settings.subject == "model" else {}
    report = measure(asked, rows, probability_NL, beside)
    subject = Subject(
        predictor=predictor,
        folder=of.folder,
        inputs=rows.inputs,
        ids=rows.ids,
        truth=rows.truth,
        answers=probability_NL,
        labels=rows.labels,
        kinds=dataset.meta.get("features", {}),
    )
    return report.adding(ask=_ask(dataset, rows)), _predictions(rows, probability_NL), subject


def _ask(dataset: Dataset, rows: TestRows) -> str:
    """Return how the model may be asked where its input is more than one text or picture, else ''."""
    first = rows.inputs[0]
    if dataset.meta["kind"] == "labelled-table":
        return ask_of(dataset, first)
    return json.dumps(first, ensure_ascii=False) if isinstance(first, Mapping) else ""


_MEASURED: Mapping[Task, Callable[[_Model], Measured]] = {
    "table-regression": _numbers,
    "question-answering": _questions,
    "sequence-to-sequence": _targets,
}
"""How a model is measured by its task; all others answer classes."""


def _predict(step: Step, predictor: "Predictor", rows: TestRows) -> Floats:
    # Texts of like length go together, so that little padding is computed.
    order = sorted(range(len(rows.inputs)), key=lambda row: (len(rows.texts[row]), row))
    probability_NL = np.zeros((len(order), len(rows.labels)))
    for start in range(0, len(order), _CHUNK):
        step.check_stop()
        step.progress("scoring the test set", start, len(order), "rows")
        chunk = order[start : start + _CHUNK]
        probability_NL[chunk] = predictor.predict([rows.inputs[row] for row in chunk])
    step.progress("scoring the test set", len(order), len(order), "rows")
    check_finite(np.isfinite(probability_NL).all(axis=1), rows.ids, "probabilities", "test rows", "finetune.lr")
    return probability_NL


def _baselines(step: Step, dataset: Dataset, rows: TestRows) -> dict[str, Floats]:
    step.check_stop()
    total = min(dataset.rows("train"), _BASELINE_ROWS)
    if not total:
        raise UserError(f"{dataset.address}: no rows in the train split; raise ingest.split.train")
    # Of pairs a row has two texts.
    columns = [name for name in ("text", "pair") if name in dataset.schema.names]
    texts: dict[str, list[str]] = {name: [] for name in columns}
    labels: list[int] = []
    for batch in dataset.batches("train", [*columns, "label"]):
        for name in columns:
            texts[name] += batch[name].to_pylist()
        labels += batch["label"].to_pylist()
        if len(labels) >= total:
            break
    count, truth = len(rows.labels), np.array(labels[:total], dtype=np.int64)
    found = {"majority": baselines.majority(truth, count, len(rows.ids))}
    if columns:
        step.progress("fitting the tf-idf baseline", 0, total, "rows")
        train = [texts[name][:total] for name in columns]
        asked = [[one[name] for one in rows.inputs] for name in columns] if len(columns) > 1 else [rows.texts]
        found["tfidf"] = baselines.tfidf(train[0], truth, count, asked[0], *(train[1:] + asked[1:]))
        step.progress("fitting the tf-idf baseline", total, total, "rows")
    return found


def _splits(dataset: Dataset, rows: TestRows) -> Data:
    splits = {}
    for name in dataset.splits:
        counts = np.zeros(len(rows.labels), dtype=np.int64)
        for batch in dataset.batches(name, ["label"]):
            counts += np.bincount(batch["label"].to_numpy(), minlength=len(counts))
        by_label = {label: int(count) for label, count in zip(rows.labels, counts, strict=True)}
        splits[name] = Split(rows=int(counts.sum()), labels=by_label)
    return Data(splits=splits)


def _predictions(rows: TestRows, probability_NL: Floats) -> pa.Table:
    return pa.table(
        {
            "id": rows.ids,
            "label": pa.array(rows.truth, pa.int32()),
            "predicted": pa.array(probability_NL.argmax(axis=1), pa.int32()),
            "probability": pa.FixedSizeListArray.from_arrays(
                pa.array(probability_NL.astype(np.float32).ravel()), len(rows.labels)
            ),
        }
    )


def _save(step: Step, report: Report, table: pa.Table) -> str:
    files = {
        "report.json": report.to_json().encode(),
        "report.html": render(report).encode(),
        "predictions.parquet": encode(table),
    }
    meta = {"task": report.task, "model": report.model, "dataset": report.dataset, "labels": list(report.labels)}
    return save_files(step.store, "reports", files, meta)


def _summary(report: Report) -> dict[str, Any]:
    test: Mapping[str, float] = report.metrics["test"]
    main = main_metric(test)
    others = {name: figures[main] for name, figures in report.metrics.items() if name != "test"}
    return {
        **{
            name: test[name]
            for name in ("accuracy", "f1_macro", "r2", "rmse", "mae", "exact_match", "f1", "chrf", "bleu", "perplexity")
            if name in test
        },
        **{f"{name}_{main}": value for name, value in others.items()},
        **cost_figures(report),
        "test_rows": report.test_rows,
        "checks_passed": f"{sum(check.passed for check in report.checks)} of {len(report.checks)}",
        "metrics": report.metrics,
    }
