"""From the table of a report's predictions, `predictions.parquet`, to the sums that its figures follow from.

N rows, L labels.
"""

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import pyarrow as pa

from modelmill.errors import ModelmillError
from modelmill.evaluation import sums
from modelmill.evaluation.metrics import Floats
from modelmill.evaluation.sums import Sums
from modelmill.settings import LanguageTask, Task


def sums_of(task: Task, labels: Sequence[str], table: pa.Table) -> list[Sums]:
    """Return the sums of all figures of a table of predictions, those that share rows' patterns together.

    Raises:
        ModelmillError: the table lacks a column, as those of older versions do.
    """
    if labels:
        truth_N, probability_NL = _numbers(table, "label").astype(np.int64), probabilities(table)
        given_N = _numbers(table, "predicted").astype(np.int64)
        return [sums.of_labels(truth_N, given_N, labels), sums.of_probabilities(truth_N, probability_NL)]
    if task == "table-regression":
        ends = None
        if {"low", "high"} <= set(table.column_names):
            ends = _floats(table, "low"), _floats(table, "high")
        return [sums.of_numbers(_floats(table, "target"), _floats(table, "predicted"), ends)]
    if task == "question-answering":
        return [sums.of_means({name: _floats(table, name) for name in ("exact_match", "f1", "loss")})]
    if task == "sequence-to-sequence":
        tokens = sums.of_tokens(_floats(table, "nats"), _floats(table, "tokens"))
        return [sums.of_overlap(_lists(table, "bleu_sums"), _lists(table, "chrf_sums")), tokens]
    assert task in get_args(LanguageTask), task
    tokens_N = _floats(table, "predicted" if task == "word-embeddings" else "tokens")
    bytes_N = _floats(table, "bytes") if task == "causal-lm" else None
    return [sums.of_tokens(_floats(table, "nats"), tokens_N, _floats(table, "right"), bytes_N)]


def truth_of(table: pa.Table) -> Any | None:
    """Return the true labels or numbers of a table of predictions; None where it holds none."""
    name = next((name for name in ("label", "target") if name in table.column_names), None)
    return None if name is None else _numbers(table, name)


def probabilities(table: pa.Table) -> Floats:
    """Return the probabilities of a table of predictions [N, L]."""
    return _lists(table, "probability")


def faulty(table: pa.Table) -> int:
    """Return how many rows of a table hold a number that is none: NaN, infinite, or missing."""
    bad_N = np.zeros(table.num_rows, dtype=bool)
    for name in table.column_names:
        kind = table.schema.field(name).type
        if pa.types.is_fixed_size_list(kind):
            bad_N |= ~np.isfinite(_lists(table, name)).all(axis=1)
        elif pa.types.is_floating(kind):
            bad_N |= ~np.isfinite(_floats(table, name))
    return int(bad_N.sum())


def _column(table: pa.Table, name: str) -> Any:
    if name not in table.column_names:
        raise ModelmillError(
            f"predictions.parquet: no column {name!r} among {', '.join(table.column_names)}; made by another version? "
            "evaluate the model again"
        )
    return table[name].combine_chunks()


def _numbers(table: pa.Table, name: str) -> Any:
    return _column(table, name).to_numpy(zero_copy_only=False)


def _floats(table: pa.Table, name: str) -> Floats:
    found: Floats = _numbers(table, name).astype(np.float64)
    return found


def _lists(table: pa.Table, name: str) -> Floats:
    column = _column(table, name)
    # flatten leaves out the lists that are missing, which would move all that follow.
    if column.null_count:
        return np.full((len(column), column.type.list_size), np.nan)
    flat = column.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    found: Floats = flat.reshape(len(column), column.type.list_size)
    return found
