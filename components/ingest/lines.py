"""Reads JSON Lines, and plain text with a document per line; rows are numbered as lines, from 1."""

import io
import json
from collections.abc import Iterator
from typing import Any

from components.ingest.rows import Opened, Rows, Sorter, decoded
from components.ingest.streams import utf8
from modelmill.sources import nearest

# A longer line is no document but a file of another kind; it must fit into memory.
_LINE_BYTES = 256 << 20


def read_text(opened: Opened) -> Iterator[Rows]:
    """Yield the lines of a text file; empty ones as well.

    Raises:
        UserError: the file cannot be read to its end.
        ModelmillError: the file was changed while it was read.
    """
    sorter = Sorter()
    for number, line in _lines(opened):
        sorter.add(number, line)
        yield from sorter.batches()
    yield sorter.rows()


def read_json_lines(opened: Opened) -> Iterator[Rows]:
    """Yield the objects of a JSON Lines file; a blank line is a row without text.

    Raises:
        UserError: the file cannot be read to its end.
        ModelmillError: the file was changed while it was read.
    """
    fields = opened.fields
    sorter = Sorter()
    for number, line in _lines(opened):
        if isinstance(line, bytes) or not line or line.isspace():
            sorter.add(number, line)
        else:
            _add_object(sorter, number, line, fields)
        yield from sorter.batches()
    yield sorter.rows()


def _add_object(sorter: Sorter, number: int, line: str, fields: dict[str, str]) -> None:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        sorter.reject(number, "bad_json", line, f"{error.msg} at character {error.pos + 1}")
        return
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, or brackets nested by the thousand.
        sorter.reject(number, "bad_json", line, str(error))
        return
    if not isinstance(value, dict):
        sorter.reject(number, "bad_json", line, f"not an object but of type {type(value).__name__}")
        return
    values = {field: value.get(name) for field, name in fields.items()}
    sorter.add(number, values.pop("text"), no_text=_missing(value, fields["text"]), **values)


def _missing(value: dict[str, Any], key: str) -> str:
    if key in value:
        return f"{key!r} is null"
    return f"no key {key!r} among {', '.join(map(repr, list(value)[:10])) or 'none'}{nearest(key, value)}"


def _lines(opened: Opened) -> Iterator[tuple[int, str | bytes]]:
    """Yield numbered lines without their ends, as bytes where they are not UTF-8."""
    stream: io.BufferedReader = utf8(opened)
    number = 0
    while line := stream.readline(_LINE_BYTES):
        number += 1
        if len(line) == _LINE_BYTES and not line.endswith(b"\n"):
            raise opened.broken(f"line {number} is longer than {_LINE_BYTES} bytes; is the format right?", number - 1)
        if number > opened.source.skip_rows:
            yield number, decoded((line.rstrip(b"\r\n"),))[0] or ""
