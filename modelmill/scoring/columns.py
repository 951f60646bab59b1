"""The columns of scored rows: the input's own, of the types that they have there, and the answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from modelmill.errors import UserError
from modelmill.models.interface import Interface
from modelmill.scoring.rows import AS_JSON, Row, as_json
from modelmill.sources import nearest

FILE, ROW, OTHER = "source_file", "source_row", "source_other"
ANSWER = "predicted_"
"""How the names of the answers' columns begin."""
_ARROW: Mapping[str, pa.DataType] = {"string": pa.string(), "double": pa.float64(), "long": pa.int64()}
_UNABLE = (pa.ArrowException, TypeError, ValueError, OverflowError)

REFUSED = pa.schema(
    [
        (FILE, pa.string()),
        (ROW, pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("input", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What of the input stands beside the answers."""

    kept: pa.Schema
    other: bool
    """Whether what fits no column is kept in one of its own, as JSON: later files, or rows, may have more columns."""
    answers: Mapping[str, pa.DataType]

    @classmethod
    def of(
        cls, there: pa.Schema, answers: Mapping[str, pa.DataType], keep: Sequence[str] | None, *, several: bool
    ) -> "Columns":
        """Return the columns that are kept: those that are asked for, or all that hold no bytes.

        `several` tells that later rows may have other columns than these.

        Raises:
            UserError: one is not there, or has the name of a column that scoring adds.
        """
        for name in keep or ():
            if name not in there.names:
                raise UserError(
                    f"--keep {name}: no such column among the {len(there)} of the input{nearest(name, there.names)}"
                )
        fields = [_plain(field) for field in there if (field.name in keep if keep else not _is_bytes(field.type))]
        added = {FILE, ROW, OTHER, *answers}
        taken = sorted(added & {field.name for field in fields})
        if taken:
            raise UserError(
                f"column {taken[0]!r} of the input has the name of one that scoring adds; say with --keep which of "
                f"its {len(there)} columns stand beside the answers"
            )
        return cls(kept=pa.schema(fields), other=several and not keep, answers=answers)

    def table(self, rows: Sequence[Row], answers: Sequence[Mapping[str, Any]]) -> pa.Table:
        """Return rows with their answers."""
        others: list[dict[str, Any]] = [{} for _ in rows]
        made: dict[str, pa.Array] = {
            FILE: pa.array([row.file for row in rows], pa.string()),
            ROW: pa.array([row.number for row in rows], pa.int64()),
        }
        for field in self.kept:
            made[field.name] = _column(field, [row.values.get(field.name) for row in rows], others)
        if self.other:
            names = set(self.kept.names)
            for row, other in zip(rows, others, strict=True):
                other.update((name, value) for name, value in row.values.items() if name not in names)
            made[OTHER] = pa.array([as_json(other) if other else None for other in others], pa.string())
        for name, kind in self.answers.items():
            made[name] = pa.array([answer[name] for answer in answers], kind)
        return pa.table(made)


def answer_types(served: Interface, labels: Sequence[str]) -> dict[str, pa.DataType]:
    """Return the columns of a model's answers and their types, in order."""
    if served.classes:
        each = pa.struct([(label, pa.float64()) for label in labels])
        types = {"label": pa.string(), "probability": pa.float64(), "probabilities": each}
    elif served.record:
        types = {name: _ARROW[kind] for name, kind in served.record.items()}
    else:
        types = {served.text: pa.string()} if served.text else {"value": pa.float64()}
    return {ANSWER + name: kind for name, kind in types.items()}


def answer_row(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the interface answers under the names of the columns."""
    return {ANSWER + ("value" if name == "prediction" else name): value for name, value in answer.items()}


def refused_table(rows: Sequence[Row]) -> pa.Table:
    """Return refused rows with their reasons and what stood there."""
    columns = [
        [row.file for row in rows],
        [row.number for row in rows],
        [row.reason for row in rows],
        [row.detail for row in rows],
        [_encodable(row.shown) for row in rows],
    ]
    return pa.table([pa.array(values, field.type) for values, field in zip(columns, REFUSED, strict=True)], REFUSED)


def _encodable(text: str) -> str:
    # JSON may hold half of a pair of surrogates, which UTF-8 cannot say.
    return text.encode(errors="backslashreplace").decode()


def _plain(field: pa.Field) -> pa.Field:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    return pa.field(field.name, kind, metadata=AS_JSON if field.metadata == AS_JSON else None)


def _is_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(_is_bytes(field.type) for field in kind)
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(test(kind) for test in tests)


def _column(field: pa.Field, values: list[Any], others: list[dict[str, Any]]) -> pa.Array:
    """Return a column; a value that does not fit goes to the others of its row."""
    if field.metadata == AS_JSON:
        return pa.array([None if value is None else as_json(value) for value in values], pa.string())
    try:
        return pa.array(values, field.type)
    except _UNABLE:
        pass
    fitting = list(values)
    for place, value in enumerate(values):
        try:
            pa.array([value], field.type)
        except _UNABLE:
            fitting[place] = None
            others[place][field.name] = value
    return pa.array(fitting, field.type)
