"""The test rows of a dataset: what the model is asked, what a person reads of it, and the truth."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from modelmill.dataset import Dataset
from modelmill.errors import UserError
from modelmill.evaluation.measure import TestRows
from modelmill.pictures.thumbnail import thumbnail


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


_KINDS: Mapping[str, _Asked] = {
    "labelled-text": _Asked(columns=("text",), inputs=_column("text"), texts=_column("text")),
    "labelled-images": _Asked(
        columns=("image", "width", "height"), inputs=_column("image"), texts=_sizes, picture=thumbnail
    ),
}
"""By what the dataset holds."""


def read_test_rows(dataset: Dataset) -> TestRows:
    """Return the test split of a dataset with classes.

    Raises:
        UserError: it has fewer than two rows.
    """
    count = dataset.rows("test")
    if count < 2:
        raise UserError(
            f"{dataset.address}: {count} rows in the test split, at least 2 are needed; raise ingest.split.test or "
            "give more labelled rows"
        )
    asked = _KINDS[dataset.meta["kind"]]
    table = dataset.table("test", ["id", *asked.columns, "label"])
    return TestRows(
        ids=table["id"].to_pylist(),
        inputs=asked.inputs(table),
        texts=asked.texts(table),
        picture=asked.picture,
        truth=table["label"].to_numpy().astype(np.int64),
        labels=tuple(dataset.meta["labels"]),
    )
