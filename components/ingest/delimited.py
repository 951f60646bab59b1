"""Reads CSV and TSV row by row: a ragged row, or one that is not UTF-8, costs that row and not the file.

Rows are numbered as a spreadsheet shows them: skipped lines and the header count, a quoted line break does not.
"""

import csv
import io
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from components.ingest.rows import BATCH_ROWS, Opened, Rows, Sorter, decoded
from components.ingest.streams import utf8
from modelmill.errors import UserError
from modelmill.ledger import Rejected

Integers = npt.NDArray[np.int64]

_DELIMITERS = {"csv": ",", "tsv": "\t"}
# A row must fit into a block.
_BLOCK_BYTES = 8 << 20
_HEADER_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Fields:
    """A batch of rows as they stand in the file."""

    numbers: Integers
    columns: Sequence[Any]
    """Of those asked for, in that order: arrays of large_binary, none of them null."""
    bad: Sequence[Rejected]
    """The ragged rows before or among them."""


def read_delimited(opened: Opened, kind: str) -> Iterator[Rows]:
    """Yield the rows of a CSV or TSV file.

    Raises:
        UserError: a column is missing, or the file cannot be read to its end.
        ModelmillError: the file was changed while it was read.
    """
    file = Delimited.open(opened, kind)
    wanted = {field: opened.column(name, file.header) for field, name in opened.fields.items()}
    for fields in file.read(list(wanted.values())):
        values = dict(zip(wanted, map(_values, fields.columns), strict=True))
        sorter = Sorter(extra=opened.extra, bad=list(fields.bad))
        sorter.add_all(fields.numbers.tolist(), values.pop("text"), **values)
        yield sorter.rows()


def _unheard_of() -> bytes:
    return uuid.uuid4().hex.encode()


@dataclass(kw_only=True)
class Delimited:
    """A CSV or TSV file below its header; its columns are called by their positions."""

    opened: Opened
    stream: io.BufferedReader
    delimiter: str
    header: list[str]
    """What the columns are called, without white space around it; '' where nothing stands there."""
    first: int
    """Number of the first row."""
    # A last row of our own, which no file can hold. Where it does not come out again, an open quote has swallowed it
    # with all before it.
    _end: bytes = field(default_factory=_unheard_of, init=False)
    _next: int = field(init=False)
    # Filled by pyarrow's thread, which may be some blocks ahead.
    _ragged: deque[Rejected] = field(default_factory=deque, init=False)

    @classmethod
    def open(cls, opened: Opened, kind: str) -> "Delimited":
        """Read the header of a file of kind csv or tsv.

        Raises:
            UserError: there is none.
        """
        delimiter = opened.source.delimiter or _DELIMITERS[kind]
        stream = utf8(opened)
        header = _header(opened, stream, delimiter)
        # The header is one row, however many lines it takes.
        first = opened.source.skip_rows + (2 if opened.source.header is None else 1)
        return cls(opened=opened, stream=stream, delimiter=delimiter, header=header, first=first)

    def read(self, places: Sequence[int]) -> Iterator[Fields]:
        """Yield the columns at some positions, batch by batch; to be called once.

        Raises:
            UserError: the file cannot be read to its end.
            ModelmillError: the file was changed while it was read.
        """
        self._next = self.first
        ended = False
        for block in self._batches([str(place) for place in places]):
            ended = bool(block.num_rows) and block.column(0)[-1].as_py() == self._end
            batch = block.slice(0, block.num_rows - 1) if ended else block
            numbers, ragged = self._number(batch.num_rows)
            yield Fields(numbers=numbers, columns=[batch.column(str(place)) for place in places], bad=ragged)
        if self._ragged:
            self._next = self._ragged[-1].row + 1
            nothing = [pa.array([], pa.large_binary())] * len(places)
            yield Fields(numbers=np.zeros(0, np.int64), columns=nothing, bad=list(self._ragged))
        # The last row of all must be the one that was added.
        if not ended:
            why = f"row {self._next - 1}: a quote opens there and never closes; close it or set quoting: false"
            raise self._broken(why)

    def _batches(self, names: list[str]) -> Iterator[Any]:
        # Bytes, and none of them null: what is UTF-8, and what is missing, is decided row by row.
        wanted = list(dict.fromkeys(names))
        convert = pa.csv.ConvertOptions(
            check_utf8=False,
            column_types=dict.fromkeys(wanted, pa.large_binary()),
            include_columns=wanted,
            null_values=[],
        )
        there = [str(position) for position in range(len(self.header))]
        read = pa.csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES, column_names=there)
        parse = pa.csv.ParseOptions(
            delimiter=self.delimiter,
            quote_char='"' if self.opened.source.quoting else False,
            newlines_in_values=self.opened.source.quoting,
            invalid_row_handler=self._note,
            # Blank lines come as rows of nothing, so that rows keep their numbers.
            ignore_empty_lines=False,
        )
        stream = _Ended(self.stream, self.delimiter.encode().join([self._end] * len(self.header)) + b"\n")
        try:
            for block in pa.csv.open_csv(stream, read, parse, convert):
                for start in range(0, block.num_rows, BATCH_ROWS):
                    yield block.slice(start, BATCH_ROWS)
        except pa.ArrowInvalid as error:
            why = str(error)
            if "straddling" in why:
                why = f"a row is over {_BLOCK_BYTES} bytes long; if a quote stays open, close it or set quoting: false"
            raise self._broken(f"after row {self._next - 1}: {why}") from error

    def _note(self, row: Any) -> str:
        detail = f"{row.actual_columns} columns, {row.expected_columns} expected"
        number = row.number + self.first - 1
        self._ragged.append(Rejected(row=number, reason="ragged_row", text=row.text, detail=detail))
        return "skip"

    def _broken(self, why: str) -> UserError:
        return self.opened.broken(why, self._next - self.first)

    def _number(self, count: int) -> tuple[Integers, list[Rejected]]:
        """Return the numbers of the next rows, and the ragged rows that lie before or among them."""
        stop = self._next + count
        ragged: list[Rejected] = []
        while self._ragged and self._ragged[0].row <= stop:
            ragged.append(self._ragged.popleft())
            stop += 1
        numbers = np.arange(self._next, stop, dtype=np.int64)
        gaps = [row.row - self._next for row in ragged]
        self._next = stop
        return np.delete(numbers, gaps), ragged


def _header(opened: Opened, stream: io.BufferedReader, delimiter: str) -> list[str]:
    """Leave the stream at the first row of data and return the columns' names."""
    for _ in range(opened.source.skip_rows):
        stream.readline()
    if opened.source.header is not None:
        return opened.source.header
    lines = (line.decode(errors="replace") for line in iter(lambda: stream.readline(_HEADER_BYTES), b""))
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if opened.source.quoting else csv.QUOTE_NONE
    try:
        header = next(csv.reader(lines, delimiter=delimiter, quoting=quoting), [])
    except csv.Error as error:
        raise opened.broken(f"the header cannot be read: {error}", 0) from error
    if not header:
        raise UserError(
            f"{opened.file.uri}: row {opened.source.skip_rows + 1}, where the header should be, is empty; "
            f"correct skip_rows ({opened.source.skip_rows}), or name the columns in `header`"
        )
    return [name.strip() for name in header]


class _Ended(io.RawIOBase):
    """A stream with one more line at its end."""

    def __init__(self, inner: io.BufferedReader, line: bytes) -> None:
        self._inner = inner
        self._line = line
        self._at_line_start = True
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        if not self._ended:
            count = self._inner.readinto(view)
            if count:
                self._at_line_start = view[count - 1] in b"\r\n"
                return count
            self._ended = True
            if not self._at_line_start:
                self._line = b"\n" + self._line
        count = min(len(view), len(self._line))
        view[:count] = self._line[:count]
        self._line = self._line[count:]
        return count


def _values(column: Any) -> list[str | bytes]:
    try:
        # One check for the whole column; most have nothing wrong.
        return cast(list[str | bytes], column.cast(pa.large_string()).to_pylist())
    except pa.ArrowInvalid:
        return cast(list[str | bytes], decoded(column.to_pylist()))
