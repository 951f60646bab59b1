"""Reads MNIST-like CSV: a picture a row, its pixels as numbers from 0 to 255, and its label first or last.

Whole blocks of lines become numbers at once; a row that is not one costs that row and not the file.
"""

# R rows of a block, F fields of a row, P pixels of a picture

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.ingest.images.pictures import BATCH_PICTURES, Pictures
from components.ingest.images.png import encode_all
from components.ingest.images.settings import PixelTable
from components.ingest.rows import Opened, printable
from components.ingest.streams import utf8
from modelmill.errors import UserError
from modelmill.ledger import Rejected

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]

# About 10 numbers of 8 bytes are held for each field, of 2 to 4 bytes.
_BLOCK_BYTES = 2 << 20
# A longer line is no picture but a file of another kind.
_LINE_BYTES = 64 << 20
_MOST_DIGITS = 3
_SHOWN_CHARS = 40


def read_pixel_csv(opened: Opened, table: PixelTable) -> Iterator[Pictures]:
    """Yield the pictures of a CSV file, numbered as lines from 1; each becomes a PNG. A line of words is a header.

    Raises:
        UserError: the columns are not a picture's, or the file cannot be read to its end.
        ModelmillError: the file was changed while it was read.
    """
    stream = utf8(opened)
    for _ in range(opened.source.skip_rows):
        stream.readline()
    first = stream.readline(_LINE_BYTES)
    if not first:
        return
    layout = _Layout.of(opened, table, first)
    number = opened.source.skip_rows + 1
    if layout.is_header(first):
        first, number = b"", number + 1
    for block in _blocks(opened, stream, first):
        rows = _Rows.of(block)
        yield from layout.pictures(rows, number)
        number += len(rows.count_R)


def _blocks(opened: Opened, stream: io.BufferedReader, begin: bytes) -> Iterator[bytes]:
    """Yield whole lines, the first ones with `begin` before them."""
    rest = begin
    while data := stream.read(_BLOCK_BYTES):
        head, end, tail = data.rpartition(b"\n")
        if not end and len(rest) + len(data) > _LINE_BYTES:
            raise opened.broken(f"a line is longer than {_LINE_BYTES} bytes; is the format right?", 0)
        if end:
            yield rest + head + end
            rest = tail
        else:
            rest += data
    if rest:
        yield rest if rest.endswith(b"\n") else rest + b"\n"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rows:
    """The lines of a block, cut into fields."""

    block: bytes
    chars: Bytes
    end: Integers
    """Where each field ends."""
    begin: Integers
    """Where each field begins."""
    first_R: Integers
    """The number of each row's first field."""
    count_R: Integers
    """Fields of each row."""

    @classmethod
    def of(cls, block: bytes) -> "_Rows":
        # No field of numbers needs its quotes, or blanks around it.
        block = block.replace(b"\r\n", b"\n").replace(b", ", b",").translate(None, b'"')
        chars = np.frombuffer(block, dtype=np.uint8)
        ends_line = chars == ord("\n")
        end = np.flatnonzero((chars == ord(",")) | ends_line)
        last_R = np.flatnonzero(ends_line[end])
        count_R = np.diff(last_R, prepend=-1)
        begin = np.concatenate(([0], end[:-1] + 1))
        return cls(block=block, chars=chars, end=end, begin=begin, first_R=last_R - count_R + 1, count_R=count_R)

    def field(self, number: int) -> str:
        return printable(self.block[self.begin[number] : self.end[number]])

    def text(self, row: int) -> str:
        """Return a row as it stands there."""
        first = self.first_R[row]
        return printable(self.block[self.begin[first] : self.end[first + self.count_R[row] - 1]])

    def numbers(self, fields: Integers) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
        """Return the values of fields, and which of them are whole numbers of 1 to 3 digits."""
        end = self.end[fields]
        digits = end - self.begin[fields]
        right = (digits > 0) & (digits <= _MOST_DIGITS)
        value = np.zeros(fields.shape, dtype=np.uint16)
        for place in range(_MOST_DIGITS):
            # Below zero is another row's end; it is not counted there.
            digit = self.chars[np.maximum(end - 1 - place, 0)] - np.uint8(ord("0"))
            there = digits > place
            right &= ~there | (digit <= 9)
            value += np.where(there, digit, 0).astype(np.uint16) * np.uint16(10**place)
        return value, right


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Where label and pixels stand in a row."""

    fields: int
    label: int | None
    first_pixel: int
    height: int
    width: int

    @classmethod
    def of(cls, opened: Opened, table: PixelTable, line: bytes) -> "_Layout":
        fields = line.count(b",") + 1
        pixels = fields - (table.label != "none")
        side = math.isqrt(max(pixels, 0))
        height, width = table.height or side, table.width or side
        if height * width != pixels or not pixels:
            wanted = f"{height} x {width} = {height * width}" if table.height else "a square number"
            raise UserError(
                f"{opened.file.uri}: {fields} columns, {pixels} of them pixels (label: {table.label}), which is not "
                f"{wanted}; correct label, or give the right height and width"
            )
        label = {"first": 0, "last": fields - 1, "none": None}[table.label]
        return cls(fields=fields, label=label, first_pixel=int(label == 0), height=height, width=width)

    def is_header(self, line: bytes) -> bool:
        """Say whether none of a line's fields is a number."""
        rows = _Rows.of(line.rstrip(b"\r\n") + b"\n")
        return not rows.numbers(np.arange(len(rows.end)))[1].any()

    def pictures(self, rows: _Rows, number: int) -> Iterator[Pictures]:
        """Yield the pictures of rows, the first of which has that number."""
        whole_R = np.flatnonzero(rows.count_R == self.fields)
        bad = [self._ragged(rows, int(row), number) for row in np.flatnonzero(rows.count_R != self.fields)]
        for start in range(0, len(whole_R), BATCH_PICTURES):
            yield self._batch(rows, whole_R[start : start + BATCH_PICTURES], number, bad)
            bad = []
        if bad:
            yield Pictures(numbers=(), names=(), data=(), labels=(), bad=bad)

    def _batch(self, rows: _Rows, row_R: Integers, number: int, bad: list[Rejected]) -> Pictures:
        pixels = self.height * self.width
        field_RP = rows.first_R[row_R][:, None] + self.first_pixel + np.arange(pixels)
        value_RP, right_RP = rows.numbers(field_RP)
        in_range_RP = value_RP <= 255
        good_R = (right_RP & in_range_RP).all(axis=1)
        for place in np.flatnonzero(~good_R):
            wrong = int(np.flatnonzero(~(right_RP[place] & in_range_RP[place]))[0])
            row, field = int(row_R[place]), int(field_RP[place, wrong])
            reason = "out_of_range" if right_RP[place, wrong] else "wrong_type"
            allowed = "0 to 255 is allowed" if right_RP[place, wrong] else "a whole number from 0 to 255 is expected"
            detail = f"pixel {wrong + 1} of {pixels} is {rows.field(field)[:_SHOWN_CHARS]!r}, {allowed}"
            bad.append(Rejected(row=number + row, reason=reason, text=rows.text(row), detail=detail))
        row_R = row_R[good_R]
        first = rows.first_R[row_R]
        return Pictures(
            numbers=(number + row_R).tolist(),
            names=[""] * len(row_R),
            data=encode_all(value_RP[good_R].astype(np.uint8).reshape(-1, self.height, self.width)),
            labels=[None if self.label is None else rows.field(one + self.label).strip() for one in first],
            bad=bad,
        )

    def _ragged(self, rows: _Rows, row: int, number: int) -> Rejected:
        detail = f"{rows.count_R[row]} columns, {self.fields} expected"
        return Rejected(row=number + row, reason="ragged_row", text=rows.text(row), detail=detail)
