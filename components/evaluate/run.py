"""Measure a model on the labelled test rows, from raw text as it will be served."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pyarrow as pa

from components.evaluate.language import measure_language
from components.evaluate.numbers import measure_regression
from components.evaluate.probe import cost_figures, probed
from components.evaluate.questions import measure_questions
from components.evaluate.rows import ask_of, check_features, read_test_rows
from components.evaluate.settings import EvaluateSettings
from components.evaluate.slices import with_slices
from components.evaluate.subject import Subject
from components.evaluate.targets import measure_answers
from modelmill.dataset import Dataset, encode, open_dataset
from modelmill.errors import ModelmillError, UserError
from modelmill.evaluation import baselines
from modelmill.evaluation.checks import main_metric
from modelmill.evaluation.document import Data, Report, Split
from modelmill.evaluation.measure import Asked, TestRows, measure
from modelmill.evaluation.metrics import Floats
from modelmill.evaluation.report import render
from modelmill.models.folder import fetch_model, save_files
from modelmill.settings import LanguageTask
from modelmill.step import Step

if TYPE_CHECKING:
    from modelmill.models.predict import Predictor

# Rows between two signs of progress, and between two looks at the wish to stop.
_CHUNK = 256
# Rows are in the order of a hash, so the first ones are a fair sample; more of them add minutes and gigabytes to tf-idf
# and little to its accuracy.
_BASELINE_ROWS = 200_000


class NoAnswers(ModelmillError):  # noqa: N818 - it says what the model gives
    """A model gives no finite probabilities."""


@dataclass(frozen=True)
class EvaluateOutputs:
    """Where the report lies, and its main figures."""

    report: str
    summary: dict[str, Any]


def run(step: Step, settings: EvaluateSettings, model: str, labelled: str) -> EvaluateOutputs:
    """Measure the model at an address on the test split of the labelled dataset at another.

    For a language model the dataset is its corpus, of which a split is held out.
    The report is a manifest `reports/<id>` over `report.json`, `report.html` and `predictions.parquet`.

    Raises:
        UserError: fewer than two test rows, training rows that no baseline can be fitted on, or a model of other labels
            or columns than the dataset.
        NoAnswers: the model gives no usable probabilities.
    """
    from modelmill.models.predict import load_predictor

    if settings.task in get_args(LanguageTask):
        address, summary = measure_language(step, settings, model, labelled)
        return EvaluateOutputs(report=address, summary=summary)
    dataset = open_dataset(step.store, labelled)
    folder = step.scratch / "model"
    facts = fetch_model(step.store, model, folder)
    if settings.task == "table-regression":
        check_features(facts, dataset)
        told = {**facts, "model": model, "folder": folder}
        report, table = measure_regression(step, settings, dataset, load_predictor(folder), told)
        return _told(step, settings, report, facts, table)
    if settings.task == "question-answering":
        predictor = load_predictor(folder)
        report, table = measure_questions(step, settings, dataset, predictor, {**facts, "model": model})
        asked_of = dataset.table("test", ["question", "context"]).to_pylist()
        report = probed(step, settings, report, Subject(predictor=predictor, folder=folder, inputs=asked_of))
        return _told(step, settings, report, facts, table)
    if settings.task == "sequence-to-sequence":
        predictor = load_predictor(folder)
        report, table = measure_answers(step, settings, dataset, predictor, {**facts, "model": model})
        sources = dataset.table("test", ["text"])["text"].to_pylist()
        report = probed(step, settings, report, Subject(predictor=predictor, folder=folder, inputs=sources))
        return _told(step, settings, report, facts, table)
    rows = read_test_rows(dataset)
    if dataset.meta["kind"] == "labelled-table":
        check_features(facts, dataset)
    predictor = load_predictor(folder)
    if tuple(predictor.labels) != rows.labels:
        raise UserError(
            f"{model} knows the labels {list(predictor.labels)}, {labelled} has {list(rows.labels)}: fine-tune on the "
            "dataset that you evaluate on"
        )
    probability_NL = _predict(step, predictor, rows)
    beside = _baselines(step, dataset, rows) if settings.subject == "model" else {}
    asked = Asked(
        task=settings.task,
        model=model,
        dataset=labelled,
        data=_splits(dataset, rows),
        thresholds=settings.thresholds,
        must_beat=settings.must_beat,
    )
    report = measure(asked, rows, probability_NL, beside)
    if dataset.meta["kind"] == "labelled-table":
        report = report.adding(ask=ask_of(dataset, rows.inputs[0]))
    subject = Subject(
        predictor=predictor,
        folder=folder,
        inputs=rows.inputs,
        ids=rows.ids,
        truth=rows.truth,
        answers=probability_NL,
        labels=rows.labels,
        kinds=dataset.meta.get("features", {}),
    )
    return _told(step, settings, probed(step, settings, report, subject), facts, _predictions(rows, probability_NL))


def _told(
    step: Step, settings: EvaluateSettings, report: Report, facts: Mapping[str, Any], predictions: pa.Table
) -> EvaluateOutputs:
    """Keep a report, with what the model says of its making, and the predictions."""
    told = report.adding(lineage=facts.get("lineage", {}), cross_validation=facts.get("cross_validation"))
    told, predictions = with_slices(step, settings, "test", told, predictions)
    step.figures({**told.metrics["test"], **cost_figures(told)})
    return EvaluateOutputs(report=_save(step, told, predictions), summary=_summary(told))


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
    bad = np.flatnonzero(~np.isfinite(probability_NL).all(axis=1))
    if len(bad):
        raise NoAnswers(
            f"the model gives no finite probabilities for {len(bad):,} of {len(order):,} test rows (the first is "
            f"{rows.ids[bad[0]]}): its training diverged; lower finetune.lr"
        )
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
