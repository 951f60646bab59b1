"""The test rows of a dataset: what the model is asked, what a person reads of it, and the truth."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from modelmill.dataset import Dataset
from modelmill.errors import UserError
from modelmill.evaluation.measure import TestRows
from modelmill.pictures.thumbnail import thumbnail
from modelmill.tables.transforms import check_columns

# Columns that an example of a question names: enough to see how it is written.
_SHOWN_COLUMNS = 4


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """How a kind of dataset is asked about."""

    columns: tuple[str, ...]
    inputs: Callable[[pa.Table], list[Any]]
    texts: Callable[[pa.Table], list[str]]
    picture: Callable[[Any], str] | None = None
    """From what the model is asked to a small picture of it, as a `data:` URI."""


def _column(name: str) -> Callable[[pa.Table], list[Any]]:
    return lambda table: list(table[name].to_pylist())


def _sizes(table: pa.Table) -> list[str]:
    sizes = zip(table["width"].to_pylist(), table["height"].to_pylist(), strict=True)
    return [f"{width} x {height} pixels" for width, height in sizes]


def _pairs(table: pa.Table) -> list[dict[str, str]]:
    rows = zip(table["text"].to_pylist(), table["pair"].to_pylist(), strict=True)
    return [{"text": text, "pair": pair} for text, pair in rows]


def _both(table: pa.Table) -> list[str]:
    return [f"{row['text']} | {row['pair']}" for row in _pairs(table)]


_KINDS: Mapping[str, _Asked] = {
    "labelled-text": _Asked(columns=("text",), inputs=_column("text"), texts=_column("text")),
    "labelled-pairs": _Asked(columns=("text", "pair"), inputs=_pairs, texts=_both),
    "labelled-images": _Asked(
        columns=("image", "width", "height"), inputs=_column("image"), texts=_sizes, picture=thumbnail
    ),
}
"""By what the dataset holds."""


def _asked(meta: Mapping[str, Any]) -> _Asked:
    if meta["kind"] != "labelled-table":
        return _KINDS[meta["kind"]]
    # A free text may say anything about anyone.
    shown = [name for name, kind in meta["features"].items() if kind != "text"]
    return _Asked(columns=("features",), inputs=_column("features"), texts=partial(_said, shown))


def _said(names: Sequence[str], table: pa.Table) -> list[str]:
    """Return the rows of a table as `name=value, …`."""
    return [", ".join(f"{name}={shown(row[name])}" for name in names) for row in table["features"].to_pylist()]


def shown(value: Any) -> str:
    """Return a table's value as a person reads it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).removesuffix(".0").removesuffix(" 00:00:00")


def read_test_rows(dataset: Dataset) -> TestRows:
    """Return the test split of a dataset with classes.

    Raises:
        UserError: it has fewer than two rows.
    """
    table, inputs, texts = asked_rows(dataset, "label")
    return TestRows(
        ids=table["id"].to_pylist(),
        inputs=inputs,
        texts=texts,
        picture=_asked(dataset.meta).picture,
        truth=table["label"].to_numpy().astype(np.int64),
        labels=tuple(dataset.meta["labels"]),
    )


def asked_rows(dataset: Dataset, answer: str) -> tuple[pa.Table, list[Any], list[str]]:
    """Return the test split with its column of answers, what the model is asked, and what a person reads of it.

    Raises:
        UserError: it has fewer than two rows.
    """
    count = dataset.rows("test")
    if count < 2:
        raise UserError(
            f"{dataset.address}: {count} rows in the test split, at least 2 are needed; raise ingest.split.test or "
            "give more labelled rows"
        )
    asked = _asked(dataset.meta)
    table = dataset.table("test", ["id", *asked.columns, answer])
    return table, asked.inputs(table), asked.texts(table)


def ask_of(dataset: Dataset, row: Mapping[str, Any]) -> str:
    """Return the first values of a table's row as JSON: how the model may be asked."""
    kinds = dataset.meta["features"]
    there = [name for name, kind in kinds.items() if kind != "text" and row[name] is not None]
    values = {name: row[name] for name in there[:_SHOWN_COLUMNS]}
    plain = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
    return json.dumps(plain, ensure_ascii=False)


def check_features(facts: Mapping[str, Any], dataset: Dataset) -> None:
    """Check that a dataset has every column that a table's model was trained on, of the same kind.

    Raises:
        UserError: a column is not there, or holds something else; or the model is not a table's.
    """
    trained, there = facts.get("features"), dataset.meta["features"]
    if not isinstance(trained, Mapping):
        raise UserError(
            f"a model for {facts.get('task')} reads no table, and {dataset.address} holds one of {len(there)} columns; "
            "evaluate the model that was fine-tuned on it"
        )
    check_columns({name: kind for name, kind in trained.items() if kind != "text"}, there)
    for name, kind in trained.items():
        # Whole numbers are a number's.
        if kind != "text" and {kind, there[name]} not in ({kind}, {"number", "integer"}):
            raise UserError(
                f"column {name!r} was of kind {kind} when the model was trained, and is of kind {there[name]} in "
                f"{dataset.address}; declare its kind in ingest.table.columns, or train the model on these data"
            )
