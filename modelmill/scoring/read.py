"""Reads Parquet, CSV, JSON lines, text and pictures row by row, whatever their size; a broken row costs that row.

Every reader yields rows from front to back, after some that were answered before.
"""

import gzip
import io
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from modelmill.errors import UserError
from modelmill.scoring.lines import csv_rows, header, json_rows, json_schema, records, text_rows
from modelmill.scoring.rows import MOST_BYTES, Row
from modelmill.sources import RawStream, SourceFile, nearest, open_raw, shown

Format = Literal["parquet", "csv", "tsv", "jsonl", "text", "images"]
FORMATS: tuple[Format, ...] = get_args(Format)
_SUFFIXES: Mapping[str, Format] = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".txt": "text",
    ".text": "text",
}
# Rows of JSON lines that are looked at to know the columns.
_PEEKED = 1000
_BATCH = 1024


def format_of(files: Sequence[SourceFile], told: str | None, *, images: bool) -> Format:
    """Return the format of an input's files: the one that is told, or what their names say.

    Raises:
        UserError: it cannot be known, there are several, or it is none.
    """
    if told is not None:
        if told not in FORMATS:
            raise UserError(f"--format {told}: no such format{nearest(told, FORMATS)}; there are {', '.join(FORMATS)}")
        return next(each for each in FORMATS if each == told)
    found = {_SUFFIXES.get(Path(file.name.removesuffix(".gz")).suffix.lower(), "") for file in files}
    if len(found) == 1 and "" not in found:
        return next(each for each in FORMATS if each in found)
    if images and found == {""}:
        return "images"
    names = ", ".join(sorted(Path(file.name).suffix or file.name for file in files)[:3])
    said = f"{len(found)} kinds of files" if len(found) > 1 else f"files whose names ({names}) tell no format"
    raise UserError(f"the input holds {said}; give --format, one of {', '.join(FORMATS)}, or a pattern such as *.csv")


class Reading:
    """The rows of an input's files, in their order, and how far they are read."""

    def __init__(self, files: Sequence[SourceFile], form: Format, scratch: Path) -> None:
        self.files, self.form, self.scratch = files, form, scratch
        self.total = sum(file.bytes for file in files)
        self._passed, self._here = 0, 0.0

    @property
    def done(self) -> float:
        """Bytes of the input that were read."""
        return self._passed + self._here

    def schema(self) -> pa.Schema:
        """Return the columns of the first file; of pictures there are none beside themselves.

        Raises:
            UserError: it cannot be read.
        """
        first = self.files[0]
        if self.form == "text":
            return pa.schema([("text", pa.string())])
        if self.form == "images":
            return pa.schema([])
        if self.form == "parquet":
            with _copied(first, self.scratch) as file:
                return file.schema_arrow
        with _stream(first) as stream:
            if self.form == "jsonl":
                return json_schema(row.values for row, _ in zip(json_rows(first, stream), range(_PEEKED), strict=False))
            found = header(first, next(records(stream, self.form), None))
            return pa.schema([(name, pa.string()) for name in found])

    def rows(self, file: int = 0, after: int = 0) -> Iterator[tuple[int, Row]]:
        """Yield rows with the number of their file, beginning after a row of a file.

        Raises:
            UserError: a file cannot be read any further.
            ModelmillError: a file was changed while it was read.
        """
        self._passed = sum(each.bytes for each in self.files[:file])
        for place, each in enumerate(self.files[file:], file):
            for row in self._of_file(each):
                if place > file or row.number > after:
                    yield place, row
            self._passed, self._here = self._passed + each.bytes, 0.0

    def _of_file(self, file: SourceFile) -> Iterator[Row]:
        if self.form == "parquet":
            yield from self._parquet(file)
            return
        if self.form == "images":
            yield _picture(file)
            return
        reader: Callable[[SourceFile, io.BufferedIOBase], Iterator[Row]] = {
            "text": text_rows,
            "jsonl": json_rows,
        }.get(self.form, partial(csv_rows, form=self.form))
        raw = open_raw(file)
        number = 0
        try:
            with _stream(file, raw) as stream:
                for row in reader(file, stream):
                    self._here, number = float(raw.taken), row.number
                    yield row
        except (EOFError, OSError) as error:
            raise UserError(f"{shown(file.uri)}: broken after row {number}: {error}; give the whole file") from error

    def _parquet(self, file: SourceFile) -> Iterator[Row]:
        number = 0
        try:
            with _copied(file, self.scratch) as opened:
                share = file.bytes / max(opened.metadata.num_rows, 1)
                for batch in opened.iter_batches(_batch_rows(opened)):
                    for values in batch.to_pylist():
                        number += 1
                        self._here = share * number
                        yield Row(file=file.name, number=number, size=_size(values), values=values)
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f"{shown(file.uri)}: broken Parquet after row {number}: {error}; give the whole file"
            ) from error


def _stream(file: SourceFile, raw: RawStream | None = None) -> io.BufferedIOBase:
    raw = raw or open_raw(file)
    buffered = io.BufferedReader(raw, 1 << 20)
    return gzip.GzipFile(fileobj=buffered) if file.name.endswith(".gz") else buffered


class _copied:  # noqa: N801 - it is used like a function
    """A Parquet file of this machine: it is read from its end, and checked before the first row is trusted."""

    def __init__(self, file: SourceFile, scratch: Path) -> None:
        self.file, self.path = file, scratch / "source.parquet"

    def __enter__(self) -> pq.ParquetFile:
        with open_raw(self.file) as raw, self.path.open("wb") as copy:
            shutil.copyfileobj(raw, copy, 1 << 20)
        try:
            self.opened = pq.ParquetFile(self.path)
        except (pa.ArrowException, OSError) as error:
            self.path.unlink(missing_ok=True)
            raise UserError(f"{shown(self.file.uri)}: no Parquet ({error}); give another --format") from error
        return self.opened

    def __exit__(self, *_: object) -> None:
        self.opened.close()
        self.path.unlink(missing_ok=True)


def _batch_rows(file: pq.ParquetFile) -> int:
    """Return how many rows make a batch: fewer where they are long."""
    groups = range(file.metadata.num_row_groups)
    size = sum(file.metadata.row_group(group).total_byte_size for group in groups)
    fitting: int = MOST_BYTES * file.metadata.num_rows // max(size, 1)
    return max(1, min(_BATCH, fitting))


def _size(values: Mapping[str, Any]) -> int:
    sizes = 0
    for value in values.values():
        held = value.get("bytes") if isinstance(value, dict) else value
        sizes += len(held) if isinstance(held, str | bytes) else 8
    return sizes


def _picture(file: SourceFile) -> Row:
    if file.bytes > 4 * MOST_BYTES:
        detail = f"{file.bytes:,} bytes, at most {4 * MOST_BYTES:,} are read"
        return Row(file=file.name, number=1, size=0, reason="too_long", detail=detail)
    with open_raw(file) as raw:
        data = raw.read()
        raw.finish()
    return Row(file=file.name, number=1, size=len(data), values={"image": data})
