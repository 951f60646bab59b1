"""Reads what comes line by line, text, JSON lines and CSV; a line that is broken costs that line and not the file."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from modelmill.errors import UserError
from modelmill.scoring.rows import AS_JSON, MOST_BYTES, Row, cut
from modelmill.sources import SourceFile, shown

# How bytes that are no UTF-8 come through `surrogateescape`.
_NOT_UTF8 = re.compile("[\udc80-\udcff]")


def _lines(stream: io.BufferedIOBase) -> Iterator[tuple[int, bytes, bool]]:
    """Yield number, bytes and whether it was too long of each line; of one that was, the beginning."""
    number = 0
    while line := stream.readline(MOST_BYTES):
        number += 1
        whole = line.endswith(b"\n") or len(line) < MOST_BYTES
        more = b"" if whole else b"x"
        while more and not more.endswith(b"\n"):
            more = stream.readline(MOST_BYTES)
        yield number, line, not whole


def _read_lines(file: SourceFile, stream: io.BufferedIOBase) -> Iterator[tuple[Row, str]]:
    """Yield lines as rows without values, refused where they are too long, no UTF-8 or empty, and their texts."""
    for number, line, too_long in _lines(stream):
        data = line.rstrip(b"\r\n").removeprefix(b"\xef\xbb\xbf" if number == 1 else b"")
        text, reason, detail = "", "", ""
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            reason, detail = "not_utf8", f"byte {error.start + 1} of {len(data)} is {data[error.start]:#04x}"
        if too_long:
            reason, detail = "too_long", f"at most {MOST_BYTES:,} bytes of a line are read"
        elif not reason and not text.strip():
            reason = "empty"
        raw = cut(data) if reason else ""
        yield Row(file=file.name, number=number, size=len(line), reason=reason, detail=detail, raw=raw), text


def text_rows(file: SourceFile, stream: io.BufferedIOBase) -> Iterator[Row]:
    """Yield the lines of a text file."""
    for row, text in _read_lines(file, stream):
        yield row if row.reason else Row(file=row.file, number=row.number, size=row.size, values={"text": text})


def json_rows(file: SourceFile, stream: io.BufferedIOBase) -> Iterator[Row]:
    """Yield the objects of a JSON lines file; a line that is none is refused."""
    for row, text in _read_lines(file, stream):
        if row.reason:
            yield row
            continue
        made: dict[str, Any] = {"file": row.file, "number": row.number, "size": row.size}
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            yield Row(**made, reason="broken_json", detail=str(error), raw=text)
            continue
        if isinstance(values, dict):
            yield Row(**made, values=values)
        else:
            yield Row(**made, reason="broken_json", detail=f"{type(values).__name__}, wanted an object", raw=text)


def json_schema(rows: Iterator[Mapping[str, Any]]) -> pa.Schema:
    """Return the columns of JSON objects; what is of several types, or nested, is kept as JSON."""
    seen: dict[str, set[type]] = {}
    for values in rows:
        for name, value in values.items():
            seen.setdefault(name, set()).update(() if value is None else (type(value),))
    return pa.schema([_json_field(name, types) for name, types in seen.items()])


def _json_field(name: str, types: set[type]) -> pa.Field:
    for known, kind in (({bool}, pa.bool_()), ({int}, pa.int64()), ({int, float}, pa.float64()), ({str}, pa.string())):
        if types <= known and types:
            return pa.field(name, kind)
    return pa.field(name, pa.string(), metadata=AS_JSON)


def records(stream: io.BufferedIOBase, form: str) -> Iterator[list[str] | csv.Error]:
    """Yield the records of a CSV or TSV file, the header too; what is broken as the error that tells why."""
    lines = (
        line.decode("utf-8-sig" if number == 1 else "utf-8", "surrogateescape") for number, line, _ in _lines(stream)
    )
    reader = csv.reader(lines, delimiter="\t" if form == "tsv" else ",", strict=True)
    while True:
        # Longer fields are refused: a quote that nobody closes would take the whole file. The limit is the process's.
        before = csv.field_size_limit(MOST_BYTES)
        try:
            record: list[str] | csv.Error = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            record = error
        finally:
            csv.field_size_limit(before)
        yield record


def header(file: SourceFile, record: list[str] | csv.Error | None) -> list[str]:
    """Return the columns' names.

    Raises:
        UserError: there is no header, or two columns have the same name.
    """
    if record is None or isinstance(record, csv.Error) or not record:
        raise UserError(f"{shown(file.uri)}: no header in its first line ({record or 'empty'}); name the columns there")
    double = sorted({name for name in record if record.count(name) > 1})
    if double:
        raise UserError(f"{shown(file.uri)}: {record.count(double[0])} columns are called {double[0]!r}; rename them")
    return record


def csv_rows(file: SourceFile, stream: io.BufferedIOBase, form: str) -> Iterator[Row]:
    """Yield the records of a CSV or TSV file; a ragged or broken one, or one that is no UTF-8, is refused."""
    found = records(stream, form)
    names = header(file, next(found, None))
    for number, record in enumerate(found, 2):
        made: dict[str, Any] = {"file": file.name, "number": number}
        if isinstance(record, csv.Error):
            yield Row(**made, size=0, reason="broken_csv", detail=str(record))
            continue
        size = sum(map(len, record)) + len(record)
        made |= {"size": size}
        joined = "\n".join(record)
        if not record:
            yield Row(**made, reason="empty")
        elif len(record) != len(names):
            detail = f"{len(record)} fields, the header has {len(names)}"
            yield Row(**made, reason="ragged", detail=detail, raw=cut(joined.encode(errors="surrogateescape")))
        elif not joined.isascii() and _NOT_UTF8.search(joined):
            yield Row(**made, reason="not_utf8", raw=cut(joined.encode(errors="surrogateescape")))
        else:
            yield Row(**made, values=dict(zip(names, record, strict=True)))
