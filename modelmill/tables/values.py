"""The values of a table's column as arrays: the same from a dataset's column and from rows that come from outside."""

# N rows

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from modelmill.errors import UserError

Kind = Literal["number", "integer", "boolean", "category", "date", "text"]
"""What a column holds, as ingest says it."""
Array = npt.NDArray[Any]
Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Values:
    """A column's values."""

    data: Array
    """float64 of numbers and truth values, datetime64[us] of dates, objects of names; anything where missing."""
    missing: Booleans

    def with_missing(self, more: Booleans) -> "Values":
        """Return the values of which still more are missing."""
        return Values(data=self.data, missing=self.missing | more)


def of_arrow(kind: Kind, column: pa.ChunkedArray | pa.Array) -> Values:
    """Return the values of a dataset's column."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    missing = array.is_null().to_numpy(zero_copy_only=False)
    if kind == "category":
        return Values(data=np.array(array.cast(pa.string()).to_pylist(), dtype=object), missing=missing)
    if kind == "date":
        whole = array.cast(pa.timestamp("us")).cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        return Values(data=whole.astype("datetime64[us]"), missing=missing)
    plain = array.cast(pa.int64()) if kind == "boolean" else array
    return Values(data=plain.fill_null(0).to_numpy(zero_copy_only=False).astype(np.float64), missing=missing)


def of_raw(name: str, kind: Kind, values: Sequence[Any]) -> Values:
    """Return values as they come from outside, None where one is missing.

    Raises:
        UserError: a value is of another type; the message names column and value.
    """
    read, empty, dtype = _READERS[kind]
    missing = np.array([value is None for value in values], dtype=np.bool_)
    data = np.full(len(values), empty, dtype=dtype)
    for place, value in enumerate(values):
        if value is None:
            continue
        try:
            data[place] = read(value)
        except (TypeError, ValueError, OverflowError):
            shown = repr(value)
            shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
            raise UserError(
                f"row {place + 1}, column {name!r}: {shown} is no {_WANTED[kind]}; correct it, or leave it out where "
                "it is not known"
            ) from None
    return Values(data=data, missing=missing)


def _number(value: Any) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(value)
    return float(value)


def _truth(value: Any) -> float:
    if isinstance(value, bool | np.bool_):
        return float(value)
    if _number(value) not in {0.0, 1.0}:
        raise ValueError(value)
    return float(value)


def _name(value: Any) -> str:
    if isinstance(value, str):
        return value
    # A name such as 3 is a number in JSON, and 3.0 where a column of them has a missing one.
    if _number(value) != int(value):
        raise ValueError(value)
    return str(int(value))


def _moment(value: Any) -> np.datetime64:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        # As ingest reads it: in UTC where a zone is given, as it stands where none is.
        return np.datetime64(value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None), "us")
    if isinstance(value, date):
        return np.datetime64(value, "us")
    raise TypeError(value)


_READERS: dict[str, tuple[Callable[[Any], Any], Any, str]] = {
    "number": (_number, 0.0, "float64"),
    "integer": (_number, 0.0, "float64"),
    "boolean": (_truth, 0.0, "float64"),
    "category": (_name, None, "object"),
    "date": (_moment, np.datetime64(0, "us"), "datetime64[us]"),
}
_WANTED = {
    "number": "number",
    "integer": "number",
    "boolean": "true or false",
    "category": "name (text, or a whole number)",
    "date": "date (ISO 8601, such as 2024-05-01)",
}
