"""What every reader gives: batches of numbered rows, and beside them those that cannot be read, with the reason."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.ingest.settings import Source
from modelmill.errors import UserError
from modelmill.ledger import Rejected
from modelmill.sources import RawStream, SourceFile, nearest

BATCH_ROWS = 8192
"""Rows that a reader hands on at a time, about."""

BAD = frozenset(
    {"ragged_row", "bad_json", "invalid_encoding", "wrong_type", "missing_text", "missing_label", "unknown_label"}
)
"""Reasons that say that the file is wrong; all others say that the row is not needed."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A batch of rows of one file, as it stands there."""

    numbers: Sequence[int]
    texts: Sequence[str]
    labels: Sequence[Any]
    """A string, number, truth value or None of each row; None all through where no label is read."""
    bad: Sequence[Rejected] = ()
    """The rows that could not be read."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """One file with all that its reader needs."""

    file: SourceFile
    source: Source
    raw: RawStream
    labelled: bool
    """Whether the label is read too."""
    scratch: Path

    def column(self, name: str, there: Sequence[str]) -> int:
        """Return the position of a column among those that are there.

        Raises:
            UserError: there is none of that name, or more than one.
        """
        if there.count(name) == 1:
            return there.index(name)
        shown = ", ".join(repr(column[:40]) for column in there[:20]) + (" …" if len(there) > 20 else "")
        if name in there:
            raise UserError(
                f"{self.file.uri}: {there.count(name)} columns are called {name!r} ({shown}); rename all but one"
            )
        # A single column is what another delimiter looks like.
        near = nearest(name, there) if len(there) > 1 else ""
        hint = near or "; correct `columns`, or `header` or `delimiter` if the file has other ones"
        raise UserError(f"{self.file.uri}: no column {name!r}; its {len(there)} columns are {shown}{hint}")

    def broken(self, why: str, rows: int) -> UserError:
        """Return the error for a file that cannot be read to its end."""
        return UserError(
            f"{self.file.uri}: {why} (after {rows} rows, {self.raw.taken} of {self.file.bytes} bytes); replace the file"
        )


@dataclass
class Sorter:
    """Puts rows as they were found into those that can be used and those that cannot."""

    numbers: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    bad: list[Rejected] = field(default_factory=list)

    def add(self, number: int, text: Any, label: Any, no_text: str = "") -> None:
        """Add a row; bytes are what could not be decoded, `no_text` says why a text may be missing."""
        if isinstance(text, bytes) or isinstance(label, bytes):
            wrong = text if isinstance(text, bytes) else label
            self.reject(number, "invalid_encoding", printable(text), _undecodable(wrong))
        elif text is None:
            self.reject(number, "missing_text", "", no_text or "null")
        elif not isinstance(text, str):
            self.reject(number, "wrong_type", str(text), f"text is of type {type(text).__name__}")
        else:
            self.numbers.append(number)
            self.texts.append(text)
            self.labels.append(label)

    def add_all(self, numbers: Sequence[int], texts: Sequence[Any], labels: Sequence[Any]) -> None:
        """Add rows; at once where all of them can be used."""
        if set(map(type, texts)) == {str} and bytes not in set(map(type, labels)):
            self.numbers.extend(numbers)
            self.texts.extend(texts)
            self.labels.extend(labels)
            return
        for number, text, label in zip(numbers, texts, labels, strict=True):
            self.add(number, text, label)

    def reject(self, number: int, reason: str, text: str, detail: str) -> None:
        """Add a row that cannot be used."""
        self.bad.append(Rejected(row=number, reason=reason, text=text, detail=detail))

    def rows(self) -> Rows:
        """Return the rows so far and begin anew."""
        rows = Rows(numbers=self.numbers, texts=self.texts, labels=self.labels, bad=self.bad)
        self.numbers, self.texts, self.labels, self.bad = [], [], [], []
        return rows

    def batches(self) -> Iterator[Rows]:
        """Yield the rows so far if they make a batch."""
        if len(self.numbers) + len(self.bad) >= BATCH_ROWS:
            yield self.rows()


def decoded(values: Sequence[bytes | None]) -> list[str | bytes | None]:
    """Return UTF-8 as text; what is not UTF-8 stays bytes."""
    return [value if value is None else _decoded(value) for value in values]


def _decoded(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def printable(value: Any) -> str:
    """Return a value for a person to read, bytes that are no text as \\xNN."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def _undecodable(value: bytes) -> str:
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return f"byte 0x{value[error.start]:02x} at {error.start} is not UTF-8"
    return "undecodable"
