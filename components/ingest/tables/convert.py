"""From rows as they stand in a file to typed columns; a row with a value that cannot be right is rejected.

Of several faults a row is rejected for the first: the target's, then the columns' in the order of their names.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.tables import parse
from components.ingest.tables.schema import ColumnSchema, Schema
from components.ingest.tables.settings import NUMERIC, Column, Kind, Missing, OutOfRange, Table
from modelmill.errors import UserError
from modelmill.ledger import Rejected

BAD = frozenset({"wrong_type", "out_of_range", "unknown_category", "missing_target", "non_finite_target", "non_finite"})
"""Reasons that say that the file is wrong; missing_value and outlier say that the row is not wanted."""

Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]

_PARSERS = {
    "number": parse.numbers,
    "integer": parse.integers,
    "boolean": parse.booleans,
    "date": parse.dates,
    "category": parse.texts,
    "text": parse.texts,
}
_NAMES: dict[Kind, str] = {
    "number": "a number",
    "integer": "an integer of 18 digits at most",
    "boolean": "true or false",
    "date": "a date",
}
_SHOWN_CHARS = 40


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What became of a batch: every row of it is kept or rejected."""

    table: Any
    """The kept rows as a record batch of `Schema.arrow`."""
    kept: Integers
    """Their positions in the batch, ascending."""
    rejected: list[Rejected]
    """The other rows, in the order of the batch; a sample's text is the value at fault, never that of a text column."""
    positions: Integers
    """The positions of the rejected rows in the batch."""
    outlier: Booleans
    """Which kept rows have a feature beyond its fences; all False where the settings keep outliers without a word."""
    clipped: int
    """Values that were set to their column's min or max, in kept rows and rejected ones."""


@dataclass(frozen=True, kw_only=True)
class _Fault:
    """Rows of a batch in which one column is wrong in one way."""

    column: str
    reason: str
    rows: Booleans
    detail: str
    shown: bool
    """Whether the value at fault may be shown."""


def convert(batch: Any, numbers: Integers, schema: Schema, settings: Table) -> Converted:
    """Return the rows of a batch as typed columns, and those that are rejected; `numbers` are the rows' in the file.

    Raises:
        UserError: a value is missing or out of range where the settings say `fail`; the message names the first row.
    """
    # The target's faults come first: a row without one is of no use whatever else is wrong with it.
    order = sorted(schema.columns, key=lambda name: name != schema.target)
    columns = {name: _Conversion(name, batch, schema, settings) for name in order}
    faults = [fault for column in columns.values() for fault in column.faults(numbers) if fault.rows.any()]
    first = np.full(batch.num_rows, len(faults))
    for place in range(len(faults) - 1, -1, -1):
        first[faults[place].rows] = place
    kept = np.flatnonzero(first == len(faults))
    positions = np.flatnonzero(first < len(faults))
    typed = pa.record_batch([columns[name].values for name in schema.columns], schema=schema.arrow())
    outlier = np.zeros(batch.num_rows, dtype=np.bool_)
    if settings.outliers == "flag":
        for column in columns.values():
            outlier |= column.outliers()
    return Converted(
        table=typed.take(pa.array(kept)),
        kept=kept,
        rejected=_rejected(columns, faults, first[positions], positions, numbers),
        positions=positions,
        outlier=outlier[kept],
        clipped=sum(column.clipped for column in columns.values()),
    )


class _Conversion:
    """One column of a batch."""

    def __init__(self, name: str, batch: Any, schema: Schema, settings: Table) -> None:
        self.name = name
        self.schema: ColumnSchema = schema.columns[name]
        self.is_target = name == schema.target
        self.is_feature = name in schema.features
        self.settings = settings
        self.declared: Column = settings.column(name)
        there = name in batch.schema.names
        self.raw = batch.column(name) if there else pa.nulls(batch.num_rows, pa.large_string())
        self.cells = parse.cells(name, self.raw, settings.missing_cells(name))
        self.values = _PARSERS[self.schema.kind](self.cells)
        if self.schema.kind in {"category", "text"}:
            self.values = self.values.cast(pa.string())
        self.clipped = 0

    def faults(self, numbers: Integers) -> Iterator[_Fault]:
        """Yield the rows that this column makes unusable, and clip what is to be clipped."""
        missing = _mask(self.cells.is_null())
        yield from self._missing(missing, numbers)
        if self.schema.kind in _NAMES:
            wrong = _mask(self.values.is_null()) & ~missing
            yield self._fault("wrong_type", wrong, f"not {_NAMES[self.schema.kind]}")
        if self.schema.kind == "number":
            infinite = _mask(pc.is_inf(self.values))
            yield self._fault("non_finite_target" if self.is_target else "non_finite", infinite, "not finite")
        if self.schema.kind in NUMERIC:
            yield from self._out_of_range(numbers)
        if self.declared.categories is not None:
            unknown = ~_mask(pc.is_in(self.values, pa.array(self.declared.categories, pa.string()))) & ~missing
            yield self._fault("unknown_category", unknown, f"not among the {len(self.declared.categories)} categories")
        if self.settings.outliers == "drop":
            yield self._fault("outlier", self.outliers(), self._fences_said())

    def outliers(self) -> Booleans:
        """Return which rows lie beyond the fences; none in the target, and none where half of the values are equal."""
        fences = self._fences()
        if fences is None:
            return np.zeros(len(self.values), dtype=np.bool_)
        return _mask(pc.or_(pc.less(self.values, fences[0]), pc.greater(self.values, fences[1])))

    def _fences(self) -> tuple[float, float] | None:
        quartiles = self.schema.quartiles
        if not self.is_feature or quartiles is None or quartiles[0] == quartiles[2]:
            return None
        reach = self.settings.fences * (quartiles[2] - quartiles[0])
        return quartiles[0] - reach, quartiles[2] + reach

    def _fences_said(self) -> str:
        fences = self._fences()
        return "" if fences is None else f"outside the fences {fences[0]:g} and {fences[1]:g}"

    def _missing(self, missing: Booleans, numbers: Integers) -> Iterator[_Fault]:
        if self.is_target:
            yield self._fault("missing_target", missing, "empty or null")
            return
        policy: Missing = self.declared.missing or self.settings.missing
        if self.declared.missing is None and self.declared.nullable is not None:
            policy = "keep" if self.declared.nullable else "drop_row"
        if policy == "fail" and missing.any():
            raise UserError(
                f"column {self.name!r}: {missing.sum()} of {len(missing)} values of a batch are missing, the first in "
                f"row {numbers[missing][0]}; mend the file, or set missing to keep or drop_row"
            )
        if policy == "drop_row":
            yield self._fault("missing_value", missing, "empty or null")

    def _out_of_range(self, numbers: Integers) -> Iterator[_Fault]:
        low, high = self.declared.min, self.declared.max
        policy: OutOfRange = self.declared.out_of_range or self.settings.out_of_range
        if (low is None and high is None) or policy == "keep":
            return
        outside = np.zeros(len(self.values), dtype=np.bool_)
        for bound, compare in ((low, pc.less), (high, pc.greater)):
            if bound is not None:
                outside |= _mask(compare(self.values, bound))
        outside &= ~_mask(pc.is_inf(self.values.cast(pa.float64(), safe=False)))
        said = f"min is {'none' if low is None else f'{low:g}'}, max is {'none' if high is None else f'{high:g}'}"
        if policy == "fail" and outside.any():
            row = np.flatnonzero(outside)[0]
            raise UserError(
                f"column {self.name!r}, row {numbers[row]}: {self.values[row].as_py():g} is out of range, {said}; "
                "mend the file, correct min and max, or set out_of_range to drop, clip or keep"
            )
        if policy == "clip" and not self.is_target:
            self._clip(low, high, outside)
        else:
            yield self._fault("out_of_range", outside, said)

    def _clip(self, low: float | None, high: float | None, outside: Booleans) -> None:
        if not outside.any():
            return
        clipped = self.values.cast(pa.float64(), safe=False)
        if low is not None:
            # An integer's bound is the next integer inside.
            low = float(np.ceil(low)) if self.schema.kind == "integer" else low
            clipped = pc.max_element_wise(clipped, low, skip_nulls=False)
        if high is not None:
            high = float(np.floor(high)) if self.schema.kind == "integer" else high
            clipped = pc.min_element_wise(clipped, high, skip_nulls=False)
        self.values = pc.if_else(pa.array(outside), clipped.cast(self.values.type, safe=False), self.values)
        self.clipped = int(outside.sum())

    def _fault(self, reason: str, rows: Booleans, detail: str) -> _Fault:
        # A text has no fault but to be missing, so that none is ever shown. A group may be a person.
        shown = self.is_target or self.is_feature
        return _Fault(column=self.name, reason=reason, rows=rows, detail=detail, shown=shown)


def _rejected(
    columns: dict[str, _Conversion], faults: list[_Fault], which: Integers, positions: Integers, numbers: Integers
) -> list[Rejected]:
    found: dict[int, Rejected] = {}
    for place in np.unique(which).tolist():
        fault = faults[place]
        rows = positions[which == place]
        cells = columns[fault.column].cells.take(pa.array(rows))
        values = parse.texts(cells).to_pylist() if fault.shown else [None] * len(rows)
        for row, number, value in zip(rows.tolist(), numbers[rows].tolist(), values, strict=True):
            text = (value or "")[:_SHOWN_CHARS]
            detail = f"column {fault.column!r}: {f'{text!r}: ' if text else ''}{fault.detail}"
            found[row] = Rejected(row=number, reason=fault.reason, text=text, detail=detail)
    return [found[row] for row in positions.tolist()]


def _mask(values: Any) -> Booleans:
    """Return an Arrow array of truth values as numpy's; null is False."""
    array: Booleans = pc.fill_null(values, False).to_numpy(zero_copy_only=False)
    return array
