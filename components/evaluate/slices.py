"""Which part of the test rows each row is in, by the columns that a recipe asks for."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.evaluate.settings import EvaluateSettings
from modelmill.dataset import Dataset, open_dataset
from modelmill.errors import ModelmillError, UserError
from modelmill.evaluation.compare import deciding
from modelmill.evaluation.document import Report
from modelmill.evaluation.predictions import sums_of, truth_of
from modelmill.evaluation.slices import Slicing, marked, slice_checks, slice_figures, slicing
from modelmill.sources import nearest
from modelmill.step import Step

TEXT_LENGTH = "text_length"
"""Names the characters of a row's texts, as if they were a column."""
# What a row's texts are called in a dataset; and what is neither a text nor a value by which rows are alike.
_TEXTS = ("text", "pair", "question", "context")
_NO_SLICES = frozenset({"id", "group", "features", "image", "answers", "slices", *_TEXTS})


def with_slices(step: Step, settings: EvaluateSettings, split: str, report: Report, table: pa.Table) -> Any:
    """Return a report with the figures of its slices, and its table of predictions with each row's slices.

    `split` is the one that was measured, or the beginning of which was.

    Raises:
        UserError: a column is not in the dataset, or its values make no slices.
    """
    if not settings.slices:
        return report, table
    step.progress("measuring slices", 0, len(settings.slices), "columns")
    dataset = open_dataset(step.store, report.dataset)
    slicings = [_slicing(dataset, split, name, report, table) for name in settings.slices]
    sums = sums_of(report.task, report.labels, table)
    figures = slice_figures(slicings, sums, deciding(report), truth_of(table))
    checks = slice_checks(slicings, sums, settings.slice_thresholds)
    step.progress("measuring slices", len(settings.slices), len(settings.slices), "columns")
    plain = [one.model_dump(mode="json") for one in (*report.checks, *checks)]
    told = report.adding(slices=[one.model_dump(mode="json") for one in figures], checks=plain)
    return told, marked(table, slicings)


def _slicing(dataset: Dataset, split: str, name: str, report: Report, predictions: pa.Table) -> Slicing:
    columns, of = _reader(dataset, name)
    table = dataset.table(split, ["id", *columns]).slice(0, predictions.num_rows)
    if not table["id"].equals(predictions["id"]):
        raise ModelmillError(f"{dataset.address}: the predictions are of other rows than its split {split} holds")
    if name == "label":
        names = np.array(report.labels, dtype=object)
        return slicing(name, pa.array(names[table["label"].to_numpy()].tolist(), pa.string()), report.labels)
    return slicing(name, of(table))


def _reader(dataset: Dataset, name: str) -> tuple[list[str], Callable[[pa.Table], Any]]:
    """Return the columns of a dataset that a slice's column is made of, and how."""
    features = dataset.meta.get("features", {})
    if name in features:
        of_text = features[name] == "text"
        return ["features"], lambda table: _lengths(_field(table, name)) if of_text else _field(table, name)
    texts = [column for column in _TEXTS if column in dataset.schema.names]
    if name == TEXT_LENGTH and texts:
        return texts, lambda table: _sum([_lengths(table[column]) for column in texts])
    beside = _beside(dataset)
    if name in beside:
        return ["slices"], lambda table: _typed(table["slices"].combine_chunks().field(name))
    plain = [column for column in dataset.schema.names if column not in _NO_SLICES]
    if "target" in plain and pa.types.is_string(dataset.schema.field("target").type):
        plain.remove("target")
    if name in plain:
        return [name], lambda table: table[name]
    known = [*features, *beside, *plain, *([TEXT_LENGTH] if texts else [])]
    raise UserError(
        f"evaluate.slices: {dataset.address} has no column {name!r} to slice by{nearest(name, known)}; there are: "
        f"{', '.join(known) or 'none'}; a further column of the sources is kept by ingest.slice_columns, and `source` "
        "where they have names"
    )


def _beside(dataset: Dataset) -> list[str]:
    """Return what ingest has kept beside each row for slicing: the source's name, and columns of its file."""
    if "slices" not in dataset.schema.names:
        return []
    return [field.name for field in dataset.schema.field("slices").type]


def _typed(texts: Any) -> Any:
    """Return a column as the numbers or times that all of its values are, else as it is: files know texts alone."""
    for kind in (pa.float64(), pa.timestamp("us")):
        try:
            return texts.cast(kind)
        except pa.ArrowInvalid:
            continue
    return texts


def _field(table: pa.Table, name: str) -> Any:
    return table["features"].combine_chunks().field(name)


def _lengths(texts: Any) -> Any:
    return pc.utf8_length(texts)


def _sum(parts: list[Any]) -> Any:
    total = parts[0]
    for part in parts[1:]:
        total = pc.add(total, part)
    return total
