"""Reads JSON Lines, and plain text with a document per line; rows are numbered as lines, from 1."""

import io
import json
from collections.abc import Iterator, Sequence
from typing import Any, cast

from components.ingest.rows import BATCH_CHARS, BATCH_ROWS, Opened, Rows, Sorter, decoded
from components.ingest.streams import utf8
from components.ingest.text.html import main_text
from modelmill.sources import nearest

# A longer line is no document but a file of another kind; it must fit into memory.
_LINE_BYTES = 256 << 20


def read_text(opened: Opened) -> Iterator[Rows]:
    """Yield the documents of a text file: its lines, empty ones as well, its blocks, or the whole of it.

    Raises:
        UserError: the file cannot be read to its end.
        ModelmillError: the file was changed while it was read.
    """
    sorter = Sorter()
    if opened.source.document == "line":
        for first, lines in _numbered(opened):
            sorter.add_all(range(first, first + len(lines)), lines)
            yield sorter.rows()
        return
    for number, text in _documents(opened):
        sorter.add(number, text)
        yield from sorter.batches()
    yield sorter.rows()


def read_html(opened: Opened) -> Iterator[Rows]:
    """Yield the main text of an HTML file as one row.

    Raises:
        UserError: the file cannot be read to its end.
        ModelmillError: the file was changed while it was read.
    """
    sorter = Sorter()
    for number, page in _whole(opened):
        sorter.add(number, page if isinstance(page, bytes) else main_text(page))
    yield sorter.rows()


def _documents(opened: Opened) -> Iterator[tuple[int, str | bytes]]:
    """Yield documents with the number of their first line, as bytes where they are not UTF-8."""
    if opened.source.document == "file":
        return _whole(opened)
    return _lines(opened) if opened.source.document == "line" else _blocks(opened)


def _whole(opened: Opened) -> Iterator[tuple[int, str | bytes]]:
    lines = list(_lines(opened))
    if lines:
        yield lines[0][0], _joined([line for _, line in lines])


def _blocks(opened: Opened) -> Iterator[tuple[int, str | bytes]]:
    block: list[str | bytes] = []
    first = 0
    for number, line in _lines(opened):
        if line and not line.isspace():
            first = first if block else number
            block.append(line)
        elif block:
            yield first, _joined(block)
            block = []
    if block:
        yield first, _joined(block)


def _joined(lines: list[str | bytes]) -> str | bytes:
    """One line that is not UTF-8 spoils the document that it is in."""
    if any(isinstance(line, bytes) for line in lines):
        return b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    return "\n".join(cast(list[str], lines))


def read_json_lines(opened: Opened) -> Iterator[Rows]:
    """Yield the objects of a JSON Lines file; a blank line is a row without text.

    Raises:
        UserError: the file cannot be read to its end.
        ModelmillError: the file was changed while it was read.
    """
    fields = opened.fields
    sorter = Sorter(extra=opened.extra)
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
    for first, lines in _numbered(opened):
        yield from enumerate(lines, first)


def _numbered(opened: Opened) -> Iterator[tuple[int, Sequence[str | bytes]]]:
    """Yield lines some thousands at a time, with the number of the first one."""
    stream: io.BufferedReader = utf8(opened)
    number = size = 0
    held: list[bytes] = []
    while line := stream.readline(_LINE_BYTES):
        number += 1
        if len(line) == _LINE_BYTES and not line.endswith(b"\n"):
            raise opened.broken(f"line {number} is longer than {_LINE_BYTES} bytes; is the format right?", number - 1)
        if number > opened.source.skip_rows:
            held.append(line.rstrip(b"\r\n"))
            size += len(line)
            if len(held) == BATCH_ROWS or size >= BATCH_CHARS:
                yield number - len(held) + 1, _decoded(held)
                held, size = [], 0
    if held:
        yield number - len(held) + 1, _decoded(held)


def _decoded(lines: list[bytes]) -> Sequence[str | bytes]:
    try:
        # All at once; most files have nothing wrong.
        return b"\n".join(lines).decode().split("\n")
    except UnicodeDecodeError:
        return [line or "" for line in decoded(lines)]
