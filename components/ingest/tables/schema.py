"""What a table is, told by its data and by what was declared: kind, range, categories and figures of every column."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import pyarrow as pa

from components.ingest.tables import parse
from components.ingest.tables.profile import MAX_CATEGORIES, ColumnProfile, Profile
from components.ingest.tables.settings import NUMERIC, Column, Kind, Table
from components.ingest.tables.sketch import Sketch
from modelmill.errors import UserError
from modelmill.sources import nearest

# What a schema keeps of a distribution: enough for deciles, and a few kilobytes.
_KEPT_BINS = 256
# A column is of a kind when so many of its values are; the rest are rejected, and counted, as wrong_type.
_MOSTLY = 0.99
# A column of names repeats them; with fewer occurrences of each it is text.
_REPEATED = 2

ARROW: Mapping[Kind, Any] = {
    "number": pa.float64(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "date": pa.timestamp("us"),
    "category": pa.string(),
    "text": pa.string(),
}
"""What the values of each kind are in a dataset."""


@dataclass(frozen=True, kw_only=True)
class ColumnSchema:
    """What one column is, and the figures of it."""

    kind: Kind
    rows: int
    """Rows of the table."""
    missing: int
    """Rows without a value here."""
    distinct: int | None
    """Distinct values; None where there are more than MAX_CATEGORIES, or longer ones than a category's."""
    low: float | None = None
    """The smallest finite number; None where the kind has no range."""
    high: float | None = None
    quartiles: tuple[float, float, float] | None = None
    """Of the finite numbers."""
    counts: Mapping[str, int] | None = None
    """How often each category occurs, sorted by name, those declared that do not occur too; false and true as well."""
    sketch: Sketch | None = None
    """The distribution of the finite numbers."""

    @property
    def nullable(self) -> bool:
        """Whether values are missing."""
        return self.missing > 0

    @property
    def missing_share(self) -> float:
        """Share of the rows without a value here."""
        return self.missing / self.rows if self.rows else 0.0

    @property
    def categories(self) -> tuple[str, ...] | None:
        """The names that a category has, sorted."""
        return tuple(self.counts) if self.kind == "category" and self.counts is not None else None

    @property
    def single(self) -> bool:
        """Whether all values that are there are the same."""
        return self.distinct == 1 or (self.low is not None and self.low == self.high)

    @property
    def constant(self) -> bool:
        """Whether every row says the same, or none says anything."""
        return self.missing == self.rows or (self.single and not self.missing)

    def to_dict(self) -> dict[str, Any]:
        """Return the column as plain values."""
        sketch = None if self.sketch is None else self.sketch.to_dict()
        quartiles = None if self.quartiles is None else list(self.quartiles)
        counts = None if self.counts is None else dict(self.counts)
        return {**vars(self), "quartiles": quartiles, "counts": counts, "sketch": sketch}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Return the column that `to_dict` wrote."""
        sketch = None if value["sketch"] is None else Sketch.from_dict(value["sketch"])
        quartiles = None if value["quartiles"] is None else tuple(value["quartiles"])
        return cls(**{**value, "quartiles": quartiles, "sketch": sketch})


@dataclass(frozen=True, kw_only=True)
class Schema:
    """What a table is: its columns by name, sorted."""

    target: str
    group: str | None
    time: str | None
    rows: int
    columns: Mapping[str, ColumnSchema]

    @property
    def features(self) -> list[str]:
        """The columns to predict from."""
        return [name for name in self.columns if name not in {self.target, self.group, self.time}]

    def without(self, names: list[str]) -> "Schema":
        """Return the schema without some columns, such as constant ones."""
        return replace(self, columns={name: column for name, column in self.columns.items() if name not in names})

    def without_figures(self) -> "Schema":
        """Return the schema as far as rows are converted by it: what travels to the workers with every batch."""
        bare = {name: replace(column, counts=None, sketch=None) for name, column in self.columns.items()}
        return replace(self, columns=bare)

    def arrow(self) -> Any:
        """Return the Arrow schema of the converted table; all but the columns without missing values are nullable."""
        return pa.schema([(name, ARROW[column.kind]) for name, column in self.columns.items()])

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as plain values, to be written as JSON."""
        return {**vars(self), "columns": {name: column.to_dict() for name, column in self.columns.items()}}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Return the schema that `to_dict` wrote."""
        columns = {name: ColumnSchema.from_dict(column) for name, column in sorted(value["columns"].items())}
        return cls(**{**value, "columns": columns})


def infer(profile: Profile, settings: Table) -> Schema:
    """Return what a table is: as declared, and where nothing is declared as its rows tell.

    A column whose values are integers, numbers, truth values or dates, 99 % of them at least, is of that kind. All
    others are categories where there are no more than MAX_CATEGORIES names and each occurs more than twice on average,
    and text where not. Integers stay integers unless declared otherwise, however few there are.

    Raises:
        UserError: a column that the settings name is not there, or cannot be what it is declared to be.
    """
    for key, name in _named(settings):
        if name not in profile.columns:
            raise UserError(
                f"{key}: no column {name!r} among {len(profile.columns)}"
                f"{nearest(name, list(profile.columns))}; correct it, or `header` if the file has none"
            )
    columns = {
        name: _column(name, profile.rows, profile.columns[name], settings.column(name), is_group=name == settings.group)
        for name in sorted(profile.columns)
    }
    return Schema(target=settings.target, group=settings.group, time=settings.time, rows=profile.rows, columns=columns)


def _named(settings: Table) -> list[tuple[str, str]]:
    roles = [("target", settings.target), ("group", settings.group), ("time", settings.time)]
    named = [(role, name) for role, name in roles if name is not None]
    return [*named, *((f"columns.{name}", name) for name in settings.columns)]


def _column(name: str, rows: int, profile: ColumnProfile, declared: Column, *, is_group: bool) -> ColumnSchema:
    kind = _kind(profile, declared, is_group=is_group)
    if kind == "category" and declared.categories is None and profile.values is None:
        raise UserError(
            f"column {name!r} is declared a category and has more than {MAX_CATEGORIES} different values, "
            "or overlong ones; declare it text, or name it in ignore"
        )
    column = ColumnSchema(
        kind=kind,
        rows=rows,
        missing=rows - profile.filled,
        distinct=None if profile.values is None else len(profile.values),
        counts=_counts(profile, declared, kind),
    )
    if kind not in NUMERIC or not profile.sketch.total:
        return column
    first, middle, third = profile.sketch.quantiles((0.25, 0.5, 0.75)).tolist()
    assert profile.low is not None
    assert profile.high is not None
    as_kind = int if kind == "integer" else float
    return replace(
        column,
        low=as_kind(profile.low),
        high=as_kind(profile.high),
        quartiles=(first, middle, third),
        sketch=profile.sketch.within(_KEPT_BINS),
    )


def _kind(profile: ColumnProfile, declared: Column, *, is_group: bool) -> Kind:
    if declared.known_kind is not None:
        return declared.known_kind
    if is_group or not profile.filled:
        return "text"
    enough = _MOSTLY * profile.filled
    if declared.min is not None or declared.max is not None:
        return "integer" if profile.integers >= enough else "number"
    found: list[tuple[Kind, int]] = [
        ("integer", profile.integers if profile.integers == profile.numbers else 0),
        ("number", profile.numbers),
        ("boolean", profile.booleans),
        ("date", profile.dates),
    ]
    for kind, count in found:
        if count >= enough:
            return kind
    few = profile.values is not None and profile.filled > _REPEATED * len(profile.values)
    return "category" if few else "text"


def _counts(profile: ColumnProfile, declared: Column, kind: Kind) -> dict[str, int] | None:
    values: Mapping[str, int] = profile.values or {}
    if kind == "boolean":
        truths = parse.booleans(pa.array(values, pa.large_string())).to_pylist()
        pairs = list(zip(truths, values.values(), strict=True))
        return {str(word).lower(): sum(count for truth, count in pairs if truth is word) for word in (False, True)}
    if kind != "category":
        return None
    names = declared.categories if declared.categories is not None else values
    return {name: values.get(name, 0) for name in sorted(names)}
