"""What a table must be good for, checked after it was read: a target to learn, and features that do not tell it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.tables import parse
from components.ingest.tables.schema import Schema
from components.ingest.tables.settings import NUMERIC, Table
from modelmill.errors import UserError

MIN_ROWS = 20
"""With fewer rows a feature may go with the target by chance."""
# Above every honest relation seen; what rounding or a change of unit does to a copy of the target stays above it.
_CORRELATION = 0.999
# A feature of names tells the target one to one only where names repeat; unique ones always do.
_REPEATED = 2

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Leak:
    """A feature that tells the target."""

    column: str
    measure: str
    """`equal`, `one_to_one`, `pearson` or `spearman`."""
    figure: float
    """Share of equal rows, number of pairs, or the coefficient."""
    rows: int
    """Rows compared: those in which both are there."""
    text: str
    """What a person is told."""


def check_columns(files: Mapping[str, Sequence[str]]) -> None:
    """Refuse files whose columns are not the same; their order may differ. For formats that name columns once.

    Raises:
        UserError: a column of the first file is missing in another one, or the other way round.
    """
    (first, names), *others = files.items() if files else [("", ())]
    for file, there in others:
        for lacking, having, name in [
            *((file, first, name) for name in names if name not in there),
            *((first, file, name) for name in there if name not in names),
        ]:
            raise UserError(
                f"{lacking}: no column {name!r}, which {having} has ({len(names)} columns in {first}, {len(there)} in "
                f"{file}); give the files the same columns, or name it in ignore"
            )


def check_target(schema: Schema) -> None:
    """Refuse a target that cannot be learned, and a table without a feature.

    Raises:
        UserError: no row has a target, all have the same, or there is no feature that varies.
    """
    target = schema.columns[schema.target]
    if target.missing == target.rows:
        raise UserError(
            f"target: column {schema.target!r} is missing in all {target.rows} rows; correct target or missing_values"
        )
    if target.single:
        raise UserError(
            f"target: column {schema.target!r} has 1 value in all {target.rows - target.missing} rows that have one, "
            "and there is nothing to learn; correct target or bring more rows"
        )
    if all(schema.columns[name].constant for name in schema.features):
        raise UserError(
            f"0 of {len(schema.features)} features vary over {schema.rows} rows; correct ignore, or bring more columns"
        )


def constant_columns(schema: Schema) -> list[str]:
    """Return the features that say the same in every row, or nothing in any."""
    return [name for name in schema.features if schema.columns[name].constant]


def unique_columns(table: Any, schema: Schema) -> list[str]:
    """Return the features that look like ids: texts, names or integers of which no two rows of a table have the same.

    With fewer than MIN_ROWS rows none does.
    """
    if table.num_rows < MIN_ROWS:
        return []
    kinds = {name: schema.columns[name].kind for name in schema.features}
    likely = [name for name, kind in kinds.items() if kind in {"text", "category", "integer"}]
    return [
        name
        for name in likely
        if not table.column(name).null_count and pc.count_distinct(table.column(name)).as_py() == table.num_rows
    ]


def leaks(table: Any, schema: Schema) -> list[Leak]:
    """Return the features of a converted table that tell the target, each with the plainest measure that shows it.

    A column equals the target; its values and the target's go together one to one, with two classes or more that
    repeat; or, among numbers, Pearson's or Spearman's coefficient is beyond 0.999 either way. Each over MIN_ROWS rows
    at least. The table is held and ranked in memory: give the training rows, or some 100,000 of them chosen by their
    ids.
    """
    target = table.column(schema.target)
    found = (_leak(name, table.column(name), target, schema) for name in schema.features)
    return [leak for leak in found if leak is not None]


def settle_leaks(found: Sequence[Leak], settings: Table) -> list[str]:
    """Return what to warn of.

    Raises:
        UserError: there are leaks and the settings say `fail`; all of them are listed.
    """
    if not found or settings.leaks == "keep":
        return []
    if settings.leaks == "warn":
        return [leak.text for leak in found]
    way_out = "name what is not known at prediction time in ignore, or set leaks to warn"
    raise UserError(f"{'; '.join(leak.text for leak in found)}; {way_out}")


def _leak(name: str, feature: Any, target: Any, schema: Schema) -> Leak | None:
    both = pc.and_(feature.is_valid(), target.is_valid())
    feature, target = (_one(column.filter(both)) for column in (feature, target))
    rows = len(feature)
    if rows < MIN_ROWS:
        return None

    def leak(measure: str, figure: float, said: str) -> Leak:
        text = f"column {name!r} {said} the target {schema.target!r} in {rows} rows"
        return Leak(column=name, measure=measure, figure=figure, rows=rows, text=text)

    if pc.all(pc.equal(parse.texts(feature), parse.texts(target))).as_py() and _varies(target):
        return leak("equal", 1.0, "equals")
    pairs = _one_to_one(feature, target)
    if pairs:
        return leak("one_to_one", pairs, f"has {pairs} values that go one to one with the {pairs} of")
    if not all(schema.columns[each].kind in NUMERIC for each in (name, schema.target)):
        return None
    for measure, figure in _correlations(feature, target):
        if abs(figure) > _CORRELATION:
            named = measure.capitalize()
            return leak(measure, figure, f"goes with ({named}'s r {figure:.5f}, more than {_CORRELATION} either way)")
    return None


def _varies(column: Any) -> bool:
    return bool(pc.count_distinct(column).as_py() > 1)


def _one_to_one(feature: Any, target: Any) -> int:
    """Return how many pairs of values there are; 0 unless each value of one always comes with the same of the other."""
    left, right = feature.dictionary_encode(), target.dictionary_encode()
    count = len(left.dictionary)
    if count != len(right.dictionary) or count < 2 or len(feature) < _REPEATED * count:
        return 0
    pairs = left.indices.to_numpy().astype(np.int64) * count + right.indices.to_numpy()
    return count if len(np.unique(pairs)) == count else 0


def _correlations(feature: Any, target: Any) -> list[tuple[str, float]]:
    x, y = (_finite(column) for column in (feature, target))
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) < MIN_ROWS:
        return []
    return [("pearson", _pearson(x, y)), ("spearman", _pearson(_ranks(x), _ranks(y)))]


def _pearson(x: Floats, y: Floats) -> float:
    """Return Pearson's coefficient, 0 where a column does not vary."""
    # Scaled first: squares of large numbers would overflow.
    x, y = (_scaled(values) for values in (x, y))
    spread = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / spread if spread else 0.0


def _scaled(values: Floats) -> Floats:
    largest = np.abs(values).max()
    values = values / largest if largest else values
    return np.asarray(values - values.mean())


def _ranks(values: Floats) -> Floats:
    """Return the rank of each value, equal ones the middle of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[places], dtype=np.float64)


def _finite(column: Any) -> Floats:
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))


def _one(column: Any) -> Any:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
