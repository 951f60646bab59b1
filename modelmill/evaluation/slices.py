"""Parts of the test rows by a column's values, and how each part fares.

N rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from modelmill.evaluation.checks import Check, Metric, Threshold, threshold
from modelmill.evaluation.intervals import Interval, wilson
from modelmill.evaluation.metrics import DECIMALS
from modelmill.evaluation.resample import estimates, joint
from modelmill.evaluation.sections import SliceFigures
from modelmill.evaluation.sums import Sums

FEWEST = 30
"""Rows of a slice that can be judged; below it an interval of 95 % is no such thing."""
PREFIX = "slice."
"""Begins the names of a table's columns that say which slice each row is in."""
MISSING, OTHERS = "(missing)", "(all others)"
# Values of a column that are slices of their own, the most frequent ones; and numbers that are values and not ranges.
_MOST_VALUES, _MOST_NUMBERS = 20, 8
_QUARTERS = (0.25, 0.5, 0.75)


@dataclass(frozen=True, kw_only=True)
class Slicing:
    """The test rows in parts."""

    column: str
    names: tuple[str, ...]
    code_N: NDArray[np.int64]
    """Each row's place in `names`."""

    def of(self, name: str) -> NDArray[np.int64]:
        """Return the places of a part's rows."""
        return np.flatnonzero(self.code_N == self.names.index(name))


def slicing(column: str, values: pa.Array | pa.ChunkedArray, names: Sequence[str] = ()) -> Slicing:
    """Return rows in parts by what a column holds.

    Each text or truth value is one; numbers and dates are cut into quarters of the rows. Of up to 8 different numbers
    each is a part, and of more than 20 texts the rarer ones are one. `names` are parts that there are whether or not a
    row is in them.
    """
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    kind = array.type
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_temporal(kind)
    if numeric and pc.count_distinct(array).as_py() > _MOST_NUMBERS:
        return _ranges(column, array)
    texts = [MISSING if value is None else _shown(value) for value in array.to_pylist()]
    return _values(column, texts, names)


def _values(column: str, texts: Sequence[str], names: Sequence[str]) -> Slicing:
    found, code_N, count = np.unique(np.array(texts, dtype=object), return_inverse=True, return_counts=True)
    # The most frequent first, and of equals the first in the alphabet.
    order = [str(found[place]) for place in np.lexsort((found, -count))]
    more = [name for name in order if name not in names]
    kept = more if len(more) <= _MOST_VALUES else more[: _MOST_VALUES - 1]
    parts = [*names, *kept, *([OTHERS] if len(kept) < len(more) else [])]
    place_of = {name: parts.index(name) for name in (*names, *kept)}
    to = np.array([place_of.get(str(name), len(parts) - 1) for name in found], dtype=np.int64)
    return Slicing(column=column, names=tuple(parts), code_N=to[code_N.reshape(-1)])


def _ranges(column: str, array: Any) -> Slicing:
    known_N = pc.is_valid(array).to_numpy(zero_copy_only=False)
    is_time = pa.types.is_temporal(array.type)
    plain = array.cast(pa.timestamp("us")).cast(pa.int64()) if is_time else array
    number_N = pc.fill_null(plain, 0).to_numpy(zero_copy_only=False)
    if number_N.dtype.kind == "f":
        known_N &= np.isfinite(number_N)
    there = number_N[known_N]
    # Numbers that occur, so that the words are short; none at the least one, below which is nothing.
    edges = np.unique(np.quantile(there, _QUARTERS, method="inverted_cdf"))
    edges = edges[edges > there.min()]
    words = [
        _shown(pa.scalar(edge, pa.int64()).cast(pa.timestamp("us")).as_py() if is_time else edge) for edge in edges
    ]
    names = ["all"]
    if words:
        between = [f"{low} to below {high}" for low, high in pairwise(words)]
        names = [f"below {words[0]}", *between, f"{words[-1]} and up"]
    code_N = np.where(known_N, np.searchsorted(edges, number_N, side="right"), len(names))
    return Slicing(
        column=column, names=(*names, *(() if known_N.all() else (MISSING,))), code_N=code_N.astype(np.int64)
    )


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    if hasattr(value, "isoformat"):
        return str(value.isoformat(sep=" ")).removesuffix(" 00:00:00") if hasattr(value, "hour") else str(value)
    return f"{value:.6g}"


def marked(table: pa.Table, slicings: Sequence[Slicing]) -> pa.Table:
    """Return a table of predictions that says of each row in which parts it is."""
    for each in slicings:
        names = np.array(each.names, dtype=object)
        table = table.append_column(f"{PREFIX}{each.column}", pa.array(names[each.code_N].tolist(), pa.string()))
    return table


def slicings_of(table: pa.Table) -> list[Slicing]:
    """Return the parts that a table of predictions says its rows are in."""
    found = []
    for name in table.column_names:
        if name.startswith(PREFIX):
            names, code_N = np.unique(np.array(table[name].to_pylist(), dtype=object), return_inverse=True)
            column = name.removeprefix(PREFIX)
            found.append(Slicing(column=column, names=tuple(map(str, names)), code_N=code_N.reshape(-1)))
    return found


def slice_figures(
    slicings: Sequence[Slicing], sums: Sequence[Sums], main: str, truth_N: Any | None = None
) -> tuple[SliceFigures, ...]:
    """Return the figures of each part, the smallest one first."""
    found = [
        _figures(each.column, name, each.of(name), sums, main, truth_N) for each in slicings for name in each.names
    ]
    return tuple(sorted(found, key=lambda part: (part.rows, part.column, part.value)))


def _figures(
    column: str, value: str, rows: NDArray[np.int64], sums: Sequence[Sums], main: str, truth_N: Any | None
) -> SliceFigures:
    metrics: dict[str, float] = {}
    # F1 of each label is in the whole report; a part has the figures of all.
    for each in sums if len(rows) else ():
        metrics |= {
            name: value
            for name, value in each.of(rows).score().items()
            if not name.startswith("f1_") or name == "f1_macro"
        }
    if "r2" in metrics and (truth_N is None or (truth_N[rows] == truth_N[rows[0]]).all()):
        # Of targets that are all the same, nothing can be explained.
        del metrics["r2"]
    spans = slice_intervals(rows, sums, [main]) if main in metrics else {}
    return SliceFigures(
        column=column,
        value=value,
        rows=len(rows),
        few=len(rows) < FEWEST,
        main=main,
        metrics={name: round(value, DECIMALS) for name, value in metrics.items()},
        interval=spans.get(main),
    )


def slice_intervals(rows: NDArray[np.int64], sums: Sequence[Sums], names: Sequence[str]) -> dict[str, Interval]:
    """Return the 95 % interval of figures of a part of two rows or more: Wilson's for accuracy, else `resample`'s."""
    found = {}
    for each in sums:
        chosen = joint(each.of(rows))
        figures = chosen.figures(chosen.times_J[None])[0]
        wanted = [name for name in names if name in figures]
        if "accuracy" in wanted and len(rows) and "f1_macro" in figures:
            found["accuracy"] = wilson(round(float(figures["accuracy"][0]) * len(rows)), len(rows))
            wanted.remove("accuracy")
        if wanted and len(rows) > 1:
            found |= {name: one.interval() for name, one in estimates(chosen, wanted).items()}
    return {name: (round(low, DECIMALS), round(high, DECIMALS)) for name, (low, high) in found.items()}


def slice_checks(
    slicings: Sequence[Slicing], sums: Sequence[Sums], wanted: Mapping[str, Mapping[Metric, Threshold]]
) -> list[Check]:
    """Return a check for each part with rows enough, and each figure that something is wanted of, by column.

    All are to pass, so none is corrected for their number.
    """
    found = []
    for each in slicings:
        for name in each.names if each.column in wanted else ():
            rows = each.of(name)
            if len(rows) < FEWEST:
                continue
            thresholds = wanted[each.column]
            spans = slice_intervals(rows, sums, list(thresholds))
            metrics = {metric: value for one in sums for metric, value in one.of(rows).score().items()}
            found += [
                threshold(
                    metric, round(metrics[metric], DECIMALS), spans[metric], limit, len(rows), f"{each.column}: {name}"
                )
                for metric, limit in thresholds.items()
                if metric in spans
            ]
    return found
