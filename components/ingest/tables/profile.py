"""What the columns of a table hold, counted batch by batch; the same in whatever order and parts the rows come."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.tables import parse
from components.ingest.tables.settings import Table
from components.ingest.tables.sketch import Sketch

MAX_CATEGORIES = 1000
"""More distinct values than this are no categories; they are not counted one by one."""
MAX_CATEGORY_CHARS = 200
"""A longer value is no category but a text."""


@dataclass
class ColumnProfile:
    """What one column holds."""

    filled: int = 0
    """Values that are not missing."""
    integers: int = 0
    """Values that are written as integers; those with a needless zero in front (007) are names, not numbers."""
    numbers: int = 0
    """Values that are numbers, integers among them."""
    booleans: int = 0
    """Values that are true, false, yes or no."""
    dates: int = 0
    """Values that are dates of ISO 8601, with a time or without."""
    infinite: int = 0
    """Numbers that are not finite."""
    low: float | None = None
    """The smallest finite number, exact where it is an integer of 64 bits."""
    high: float | None = None
    values: Counter[str] | None = field(default_factory=Counter)
    """How often each value occurs; None once there are too many of them, or one is too long, to be categories."""
    sketch: Sketch = field(default_factory=Sketch)
    """The finite numbers."""

    def add(self, cells: Any) -> None:
        """Count a batch of what `parse.cells` returned."""
        filled = cells.drop_null()
        self.filled += len(filled)
        if self.values is not None and len(filled):
            self._count_values(parse.texts(filled))
        if filled.type == pa.large_string():
            self._add_texts(filled)
        elif filled.type == pa.bool_():
            self.booleans += len(filled)
        elif filled.type in {pa.int64(), pa.float64()}:
            self.integers += len(filled) if filled.type == pa.int64() else 0
            self._add_numbers(filled)
        else:
            self.dates += len(filled)

    def merge(self, other: "ColumnProfile") -> None:
        """Add what another part of the column holds."""
        for name in ("filled", "integers", "numbers", "booleans", "dates", "infinite"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self._widen([value for value in (other.low, other.high) if value is not None])
        self.values = None if self.values is None or other.values is None else self.values + other.values
        self._bound_values()
        self.sketch.merge(other.sketch)

    def _add_texts(self, filled: Any) -> None:
        codes = parse.codes(filled)
        plain = filled.filter(pc.invert(codes)) if pc.any(codes).as_py() else filled
        whole = parse.whole_numbers(plain).drop_null()
        self.integers += len(whole)
        found = whole if len(whole) == len(plain) else parse.numbers(plain)
        self._add_numbers(found.drop_null())
        if len(plain) == len(filled) and not found.null_count:
            return
        rest = filled if len(plain) < len(filled) else filled.filter(found.is_null())
        self.booleans += len(parse.words(rest).drop_null())
        self.dates += len(parse.dates(rest).drop_null())

    def _add_numbers(self, found: Any) -> None:
        self.numbers += len(found)
        values = found.to_numpy(zero_copy_only=False)
        finite = values if found.type == pa.int64() else values[np.isfinite(values)]
        self.infinite += len(values) - len(finite)
        if len(finite):
            self._widen([finite.min().item(), finite.max().item()])
            self.sketch.add(finite.astype(np.float64))

    def _widen(self, values: Sequence[float]) -> None:
        for value in values:
            self.low = value if self.low is None else min(self.low, value)
            self.high = value if self.high is None else max(self.high, value)

    def _count_values(self, texts: Any) -> None:
        assert self.values is not None
        counted = texts.value_counts()
        if len(counted) > MAX_CATEGORIES or pc.max(pc.utf8_length(counted.field(0))).as_py() > MAX_CATEGORY_CHARS:
            self.values = None
            return
        self.values.update(dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True)))
        self._bound_values()

    def _bound_values(self) -> None:
        if self.values is not None and len(self.values) > MAX_CATEGORIES:
            self.values = None


@dataclass
class Profile:
    """What a table holds; a column that a batch does not have is missing in all its rows."""

    rows: int = 0
    columns: dict[str, ColumnProfile] = field(default_factory=dict)

    def add(self, batch: Any, settings: Table) -> None:
        """Count a batch of rows, a record batch or a table of texts or of typed columns.

        Raises:
            UserError: a column holds what is no value of a table, such as lists.
        """
        self.rows += batch.num_rows
        for name in batch.schema.names:
            column = self.columns.setdefault(name, ColumnProfile())
            column.add(parse.cells(name, batch.column(name), settings.missing_cells(name)))

    def merge(self, other: "Profile") -> None:
        """Add what another part of the table holds."""
        self.rows += other.rows
        for name, column in other.columns.items():
            self.columns.setdefault(name, ColumnProfile()).merge(column)
