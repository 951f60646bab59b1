"""Reads CSV and TSV row by row: a ragged row, or one that is not UTF-8, costs that row and not the file.

Rows are numbered as a spreadsheet shows them: skipped lines and the header count, a quoted line break does not.
"""

import csv
import io
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import pyarrow as pa
import pyarrow.csv

from components.ingest.rows import BATCH_ROWS, Opened, Rows, Sorter, decoded
from components.ingest.streams import utf8
from modelmill.errors import UserError
from modelmill.ledger import Rejected

_DELIMITERS = {"csv": ",", "tsv": "\t"}
# A row must fit into a block.
_BLOCK_BYTES = 8 << 20
_HEADER_BYTES = 1 << 20


def read_delimited(opened: Opened, kind: str) -> Iterator[Rows]:
    """Yield the rows of a CSV or TSV file.

    Raises:
        UserError: a column is missing, or the file cannot be read to its end.
        ModelmillError: the file was changed while it was read.
    """
    delimiter = opened.source.delimiter or _DELIMITERS[kind]
    stream = utf8(opened)
    header = _header(opened, stream, delimiter)
    # A last row of our own, which no file can hold. Where it does not come out again, an open quote has swallowed it
    # with all before it.
    end = uuid.uuid4().hex
    table = _Table(
        opened=opened,
        stream=_Ended(stream, (delimiter.join([end] * len(header)) + "\n").encode()),
        end=end,
        delimiter=delimiter,
        columns=len(header),
        wanted={field: str(opened.column(name, header)) for field, name in opened.fields.items()},
        # The header is one row, however many lines it takes.
        first=opened.source.skip_rows + (2 if opened.source.header is None else 1),
    )
    yield from table.rows()


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


@dataclass(kw_only=True)
class _Table:
    """The rows below the header; its columns are called by their positions."""

    opened: Opened
    stream: "_Ended"
    end: str
    """What each column of the row that was added holds."""
    delimiter: str
    columns: int
    wanted: dict[str, str]
    """By field, such as text and label: the column that is read for it."""
    first: int
    """Number of the first row."""
    _next: int = field(init=False)
    # Filled by pyarrow's thread, which may be some blocks ahead.
    _ragged: deque[Rejected] = field(default_factory=deque, init=False)

    def rows(self) -> Iterator[Rows]:
        """Yield the rows; the last of all must be the one that was added."""
        self._next = self.first
        ended = False
        for batch in self._batches():
            values = {field: _values(batch.column(name)) for field, name in self.wanted.items()}
            ended = bool(values["text"]) and values["text"][-1] == self.end
            if ended:
                values = {field: column[:-1] for field, column in values.items()}
            texts = values.pop("text")
            numbers, ragged = self._number(len(texts))
            sorter = Sorter(bad=ragged)
            sorter.add_all(numbers, texts, **values)
            yield sorter.rows()
        if self._ragged:
            self._next = self._ragged[-1].row + 1
            yield Rows(numbers=(), texts=(), labels=(), bad=list(self._ragged))
        if not ended:
            why = f"row {self._next - 1}: a quote opens there and never closes; close it or set quoting: false"
            raise self._broken(why)

    def _batches(self) -> Iterator[Any]:
        # Bytes, and none of them null: what is UTF-8, and what is missing, is decided row by row.
        convert = pa.csv.ConvertOptions(
            check_utf8=False,
            column_types=dict.fromkeys(self.wanted.values(), pa.binary()),
            include_columns=list(dict.fromkeys(self.wanted.values())),
            null_values=[],
        )
        names = [str(position) for position in range(self.columns)]
        read = pa.csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES, column_names=names)
        parse = pa.csv.ParseOptions(
            delimiter=self.delimiter,
            quote_char='"' if self.opened.source.quoting else False,
            newlines_in_values=self.opened.source.quoting,
            invalid_row_handler=self._note,
            # Blank lines come as rows without text, so that rows keep their numbers.
            ignore_empty_lines=False,
        )
        try:
            for block in pa.csv.open_csv(self.stream, read, parse, convert):
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

    def _number(self, count: int) -> tuple[list[int], list[Rejected]]:
        """Return the numbers of the next rows, and the ragged rows that lie before or among them."""
        numbers: list[int] = []
        ragged: list[Rejected] = []
        while len(numbers) < count:
            stop = self._next + count - len(numbers)
            if self._ragged:
                stop = min(stop, self._ragged[0].row)
            numbers.extend(range(self._next, stop))
            self._next = stop
            if self._ragged and self._ragged[0].row == stop:
                ragged.append(self._ragged.popleft())
                self._next += 1
        return numbers, ragged


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
        return cast(list[str | bytes], column.cast(pa.string()).to_pylist())
    except pa.ArrowInvalid:
        return cast(list[str | bytes], decoded(column.to_pylist()))
