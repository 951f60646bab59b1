"""One row of an input as every format gives it: its place, its values or why it has none, and its size."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from modelmill.digest import canonical_json

MOST_BYTES = 16 << 20
"""Of a line or a CSV record; a longer one is refused, so that one line without an end cannot take the memory."""
AS_JSON = {b"modelmill": b"json"}
"""Metadata of a column whose values are kept as JSON."""
_SHOWN_CHARS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A row of a file."""

    file: str
    """Name inside the input."""
    number: int
    """As a person counts in the file, from 1: of a CSV the header counts."""
    size: int
    """In bytes, or about so many."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """By column; empty where it cannot be read."""
    reason: str = ""
    """Why it is refused; '' where it can be asked about."""
    detail: str = ""
    raw: str = ""
    """What stood there, of a row that cannot be read."""

    def refused(self, reason: str, detail: str) -> "Row":
        """Return it with the reason for which it gets no answer."""
        return replace(self, reason=reason, detail=detail)

    @property
    def shown(self) -> str:
        """What stood there, whole, but for bytes (a picture), of which the size is told."""
        return self.raw if self.raw or not self.values else as_json(self.values)


def as_json(value: Any) -> str:
    """Return any value as JSON: what JSON does not know as its text, bytes as their size."""
    try:
        return canonical_json(_plain(value))
    except ValueError:
        return canonical_json(str(value))


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(name): _plain(each) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case bytes():
            return f"{len(value)} bytes"
        case float() if not math.isfinite(value):
            return str(value)
        case None | bool() | int() | float() | str():
            return value
    return str(value)


def cut(data: bytes) -> str:
    """Return the beginning of bytes that cannot be read, as a person may look at it."""
    return data[:_SHOWN_CHARS].decode(errors="backslashreplace")
