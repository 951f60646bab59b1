"""What every reader of tables gives: batches of numbered rows as Arrow columns, and beside them the bad ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.rows import Opened, printable
from modelmill.errors import UserError
from modelmill.ledger import Rejected
from modelmill.sources import nearest

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TableRows:
    """A batch of rows of one file, as they stand there."""

    numbers: Integers
    """As a person counts in the file, from 1."""
    table: Any
    """A record batch of as many rows: large_string, or the types of a Parquet file."""
    bad: Sequence[Rejected] = ()
    """The rows that could not be read."""


def wanted(opened: Opened, there: Sequence[str], ignore: Sequence[str]) -> list[str]:
    """Return the columns to read.

    Raises:
        UserError: a column to ignore is not there, two have the same name, or none is left.
    """
    for name in there:
        opened.column(name, there)
    for name in ignore:
        if name not in there:
            raise UserError(f"{opened.file.uri}: ignore names {name!r}, which is no column{nearest(name, there)}")
    names = [name for name in there if name not in ignore]
    if not names:
        raise UserError(f"{opened.file.uri}: ignore names all {len(there)} columns; leave the target and a feature")
    return names


def all_empty(numbers: Integers, batch: Any) -> tuple[Integers, Any, list[Rejected]]:
    """Return the rows in which something stands, and those of only empty fields as rejected."""
    if not batch.num_rows:
        return numbers, batch, []
    filled = np.zeros(batch.num_rows, dtype=np.bool_)
    for column in batch.columns:
        filled |= pc.greater(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
        if filled.all():
            return numbers, batch, []
    rows = numbers[~filled].tolist()
    rejected = [Rejected(row=row, reason="empty", text="", detail="no field is filled") for row in rows]
    return numbers[filled], batch.filter(pa.array(filled)), rejected


def decoded(numbers: Integers, batch: Any) -> tuple[Integers, Any, list[Rejected]]:
    """Return the rows with bytes decoded to large_string, and those that are not UTF-8 as rejected."""
    wrong: dict[int, Rejected] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if not is_text(column.type):
            continue
        values = _binary(column)
        try:
            values.cast(pa.large_string())
        except pa.ArrowInvalid:
            for place, value in enumerate(values.to_pylist()):
                if place not in wrong and (detail := _undecodable(value)):
                    wrong[place] = Rejected(
                        row=int(numbers[place]),
                        reason="invalid_encoding",
                        text=printable(value),
                        detail=f"column {name!r}: {detail}",
                    )
    if wrong:
        keep = np.ones(len(numbers), dtype=np.bool_)
        keep[list(wrong)] = False
        numbers, batch = numbers[keep], batch.filter(pa.array(keep))
    return numbers, _as_text(batch), [wrong[place] for place in sorted(wrong)]


def is_text(kind: Any) -> bool:
    """Return whether an Arrow type holds texts or bytes, also through a dictionary."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    types = pa.types
    strings = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return bool(strings or types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def _binary(column: Any) -> Any:
    column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    return column.cast(pa.large_binary())


def _as_text(batch: Any) -> Any:
    columns = [_binary(column).cast(pa.large_string()) if is_text(column.type) else column for column in batch.columns]
    return pa.record_batch(columns, names=batch.schema.names)


def _undecodable(value: bytes | None) -> str:
    try:
        (value or b"").decode()
    except UnicodeDecodeError as error:
        return f"byte 0x{error.object[error.start]:02x} at {error.start} is not UTF-8"
    return ""
