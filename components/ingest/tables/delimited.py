"""Reads all columns of CSV and TSV as texts: a ragged row, or one that is not UTF-8, costs that row and not the file.

Rows are numbered as a spreadsheet shows them: skipped lines and the header count, a quoted line break does not.
"""

import csv
import io
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from components.ingest.rows import BATCH_ROWS, Opened
from components.ingest.streams import utf8
from components.ingest.tables.rows import TableRows, all_empty, decoded, wanted
from modelmill.errors import UserError
from modelmill.ledger import Rejected

_DELIMITERS = {"csv": ",", "tsv": "\t"}
# A row must fit into a block.
_BLOCK_BYTES = 8 << 20
_HEADER_BYTES = 1 << 20
# A last row of our own. Where it does not come out again, an open quote has swallowed it with all before it.
_END = b"\x1emodelmill-end-of-file\x1e"


def read_delimited(opened: Opened, ignore: Sequence[str], kind: str) -> Iterator[TableRows]:
    """Yield the rows of a CSV or TSV file, every column but those to ignore as large_string.

    Raises:
        UserError: the header cannot be used, or the file cannot be read to its end.
        ModelmillError: the file was changed while it was read.
    """
    delimiter = opened.source.delimiter or _DELIMITERS[kind]
    stream = utf8(opened)
    header = _header(opened, stream, delimiter)
    table = _Delimited(
        opened=opened,
        stream=_Ended(stream, delimiter.encode().join([_END] * len(header)) + b"\n"),
        delimiter=delimiter,
        header=header,
        wanted=wanted(opened, header, ignore),
        # The header is one row, however many lines it takes.
        first=opened.source.skip_rows + (2 if opened.source.header is None else 1),
    )
    yield from table.rows()


def _header(opened: Opened, stream: io.BufferedReader, delimiter: str) -> list[str]:
    """Leave the stream at the first row of data and return the columns' names; one without is called by its place."""
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
    return [name.strip() or f"column_{place}" for place, name in enumerate(header, start=1)]


@dataclass(kw_only=True)
class _Delimited:
    """The rows below the header."""

    opened: Opened
    stream: "_Ended"
    delimiter: str
    header: list[str]
    wanted: list[str]
    first: int
    """Number of the first row."""
    _next: int = field(init=False)
    # Filled by pyarrow's thread, which may be some blocks ahead.
    _ragged: deque[Rejected] = field(default_factory=deque, init=False)

    def rows(self) -> Iterator[TableRows]:
        """Yield the rows; the last of all must be the one that was added."""
        self._next = self.first
        ended, known = False, False
        for block in self._batches():
            ended = bool(block.num_rows) and block.column(0)[-1].as_py() == _END
            batch = block.slice(0, block.num_rows - 1) if ended else block
            numbers, ragged = self._number(batch.num_rows)
            numbers, batch, empty = all_empty(numbers, batch)
            numbers, batch, undecodable = decoded(numbers, batch)
            bad = [*ragged, *empty, *undecodable]
            # A first batch without rows tells the columns; a later one is our own last row.
            if len(numbers) or bad or not known:
                known = True
                yield TableRows(numbers=numbers, table=batch, bad=bad)
        if self._ragged:
            self._next = self._ragged[-1].row + 1
            yield TableRows(numbers=np.zeros(0, np.int64), table=self._nothing(), bad=list(self._ragged))
        if not ended:
            why = f"row {self._next - 1}: a quote opens there and never closes; close it or set quoting: false"
            raise self._broken(why)

    def _batches(self) -> Iterator[Any]:
        # Bytes, and none of them null: what is UTF-8, and what is missing, is decided row by row.
        convert = pa.csv.ConvertOptions(
            check_utf8=False,
            column_types=dict.fromkeys(self.wanted, pa.large_binary()),
            include_columns=self.wanted,
            null_values=[],
        )
        read = pa.csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES, column_names=self.header)
        parse = pa.csv.ParseOptions(
            delimiter=self.delimiter,
            quote_char='"' if self.opened.source.quoting else False,
            newlines_in_values=self.opened.source.quoting,
            invalid_row_handler=self._note,
            # Blank lines come as rows of nothing, so that rows keep their numbers.
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

    def _nothing(self) -> Any:
        return pa.record_batch([pa.array([], pa.large_string())] * len(self.wanted), names=self.wanted)

    def _broken(self, why: str) -> UserError:
        return self.opened.broken(why, self._next - self.first)

    def _number(self, count: int) -> tuple[npt.NDArray[np.int64], list[Rejected]]:
        """Return the numbers of the next rows, and the ragged rows that lie before or among them."""
        stop = self._next + count
        ragged: list[Rejected] = []
        while self._ragged and self._ragged[0].row < stop:
            ragged.append(self._ragged.popleft())
            stop += 1
        numbers = np.arange(self._next, stop, dtype=np.int64)
        gaps = [row.row - self._next for row in ragged]
        self._next = stop
        return np.delete(numbers, gaps), ragged


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
