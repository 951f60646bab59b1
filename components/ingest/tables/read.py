"""Reads a file as a table, whatever its format: every column, batch by batch, with the rows' numbers."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.ingest.delimited import Delimited
from components.ingest.formats import Format
from components.ingest.lines import read_text
from components.ingest.rows import BATCH_ROWS, Opened
from components.ingest.tables.rows import TableRows, all_empty, decoded, wanted
from modelmill.errors import UserError
from modelmill.ledger import Rejected
from modelmill.sources import nearest

_KINDS: Mapping[type, str] = {dict: "an object", list: "an array"}


def read_table(opened: Opened, kind: Format, ignore: Sequence[str] = ()) -> Iterator[TableRows]:
    """Yield the rows of a file, all columns but those to ignore.

    CSV, TSV and JSON Lines give large_string columns, Parquet gives its own types. An object of JSON Lines may lack
    keys; a batch has the columns of all its objects.

    Raises:
        UserError: the format holds no table, the columns cannot be used, or the file cannot be read to its end.
        ModelmillError: the file was changed while it was read.
    """
    if kind not in _READERS:
        raise UserError(f"{opened.file.uri}: format {kind} has no columns; a table is {', '.join(_READERS)}")
    return _READERS[kind](opened, ignore)


def _delimited(opened: Opened, ignore: Sequence[str], kind: str) -> Iterator[TableRows]:
    file = Delimited.open(opened, kind)
    # A column without a name is called by its place.
    header = _renamed(opened, [name or f"column_{place}" for place, name in enumerate(file.header, start=1)])
    names = wanted(opened, header, ignore)
    known = False
    for fields in file.read([header.index(name) for name in names]):
        batch = pa.record_batch(list(fields.columns), names=names)
        numbers, batch, empty = all_empty(fields.numbers, batch)
        numbers, batch, undecodable = decoded(numbers, batch)
        bad = [*fields.bad, *empty, *undecodable]
        # A first batch without rows tells the columns; a later one is the reader's own last row.
        if len(numbers) or bad or not known:
            known = True
            yield TableRows(numbers=numbers, table=batch, bad=bad)


def _renamed(opened: Opened, there: Sequence[str]) -> list[str]:
    """Return the columns of a file as the recipe calls them.

    Raises:
        UserError: one that is to be renamed is not there.
    """
    names = opened.source.rename
    for name in names:
        if name not in there:
            said = f"rename names {name!r}, which is no column{nearest(name, there)}"
            raise UserError(f"{opened.file.uri}: {said}")
    return [names.get(name, name) for name in there]


def _json_lines(opened: Opened, ignore: Sequence[str]) -> Iterator[TableRows]:
    for rows in read_text(opened):
        numbers: list[int] = []
        objects: list[dict[str, str | None]] = []
        bad = list(rows.bad)
        for number, line in zip(rows.numbers, rows.texts, strict=True):
            found = _object(line, opened.source.rename, ignore)
            if isinstance(found, dict):
                numbers.append(number)
                objects.append(found)
            else:
                bad.append(Rejected(row=number, reason=found[0], text=line, detail=found[1]))
        yield TableRows(numbers=np.array(numbers, dtype=np.int64), table=_batch(objects), bad=bad)


def _object(line: str, rename: Mapping[str, str], ignore: Sequence[str]) -> dict[str, str | None] | tuple[str, str]:
    """Return the values of a line as they would stand in a CSV file, or the reason and detail of why it has none."""
    if not line or line.isspace():
        return "empty", "a blank line"
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        return "bad_json", f"{error.msg} at character {error.pos + 1}"
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, or brackets nested by the thousand.
        return "bad_json", str(error)
    if not isinstance(value, dict):
        return "bad_json", f"not an object but of type {type(value).__name__}"
    value = {rename.get(name, name): each for name, each in value.items()}
    for name in ignore:
        value.pop(name, None)
    for name, each in value.items():
        if type(each) in _KINDS:
            return "wrong_type", f"column {name!r} holds {_KINDS[type(each)]}; name it in ignore, or flatten it"
        value[name] = _cell(each)
    return value


def _cell(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        # Half a surrogate pair, which JSON can say and UTF-8 cannot.
        return value if value.isascii() else value.encode(errors="replace").decode()
    return json.dumps(value)


def _batch(objects: Sequence[Mapping[str, str | None]]) -> Any:
    names = list(dict.fromkeys(name for each in objects for name in each))
    columns = [pa.array([each.get(name) for each in objects], pa.large_string()) for name in names]
    if not names:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * len(objects), pa.struct([])))
    return pa.record_batch(columns, names=[_utf8(name) for name in names])


def _utf8(name: str) -> str:
    return name.encode(errors="replace").decode()


def _parquet(opened: Opened, ignore: Sequence[str]) -> Iterator[TableRows]:
    with opened.copy(".parquet") as copy:
        yield from _parquet_rows(opened, copy, ignore)


def _parquet_rows(opened: Opened, copy: Path, ignore: Sequence[str]) -> Iterator[TableRows]:
    first = 1
    try:
        with pq.ParquetFile(copy) as parquet:
            there = parquet.schema_arrow.names
            names = wanted(opened, _renamed(opened, there), ignore)
            stored = dict(zip(_renamed(opened, there), there, strict=True))
            for read in parquet.iter_batches(BATCH_ROWS, columns=[stored[name] for name in names]):
                batch = pa.record_batch([read.column(stored[name]) for name in names], names=names)
                numbers = np.arange(first, first + batch.num_rows, dtype=np.int64)
                first += batch.num_rows
                numbers, texts, bad = decoded(numbers, batch)
                yield TableRows(numbers=numbers, table=texts, bad=bad)
    except (pa.ArrowException, OSError) as error:
        raise opened.broken(f"broken Parquet: {error}", first - 1) from error


_READERS: Mapping[Format, Callable[[Opened, Sequence[str]], Iterator[TableRows]]] = {
    "csv": partial(_delimited, kind="csv"),
    "tsv": partial(_delimited, kind="tsv"),
    "jsonl": _json_lines,
    "parquet": _parquet,
}
