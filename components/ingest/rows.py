"""What every reader gives: batches of numbered rows, and beside them those that cannot be read, with the reason."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.ingest.source_settings import Source
from components.ingest.work_parts import Batch
from modelmill.errors import UserError
from modelmill.ledger import Rejected
from modelmill.sources import RawStream, SourceFile, nearest

BATCH_ROWS = 8192
"""Rows that a reader hands on at a time, about."""

BATCH_CHARS = 8 << 20
"""Characters of text that end a batch earlier."""

BAD = frozenset(
    {
        "ragged_row",
        "bad_json",
        "invalid_encoding",
        "wrong_type",
        "missing_text",
        "missing_label",
        "unknown_label",
        "bad_time",
        "missing_pair",
        "missing_target",
        "missing_question",
        "bad_answers",
        "missing_answers",
        "answer_not_in_context",
    }
)
"""Reasons that say that the file is wrong; all others say that the row is not needed."""


@dataclass(frozen=True, kw_only=True)
class Rows(Batch):
    """A batch as it was read."""

    bad: Sequence[Rejected] = ()
    """The rows that could not be read."""


@dataclass(frozen=True, kw_only=True)
class Handed:
    """A batch for the workers, or a count of rows, of one file."""

    uri: str
    read: int
    """Rows read with it; those of a batch may have been counted before."""
    bad: Sequence[Rejected]
    """Of the rows counted, those that could not be read."""
    batch: Any
    """What a worker is given; None where there is only something to count."""
    done: int
    """Bytes of the source read until now."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A source with the files that it holds now, which are those that were pinned."""

    source: Source
    labelled: bool
    files: Sequence[SourceFile]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """One file with all that its reader needs."""

    file: SourceFile
    source: Source
    raw: RawStream
    labelled: bool
    """Whether the label is read too."""
    scratch: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    """Further columns to read by field, where the task's rows have some."""
    classes: bool = True
    """Whether labelled rows have a label."""

    @property
    def extra(self) -> tuple[str, ...]:
        """The further fields."""
        return tuple(name for name in self.columns if name != "text")

    @property
    def fields(self) -> dict[str, str]:
        """What is read of each row: the columns for text and, as far as they are read, label, group and time."""
        columns = self.source.columns
        has_label = self.labelled and self.classes and self.source.label is None
        wanted = {"text": columns.text, "label": columns.label if has_label else None}
        wanted |= {"group": columns.group, "time": columns.time if self.labelled else None, **self.columns}
        return {field: name for field, name in wanted.items() if name is not None}

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

    @contextmanager
    def copy(self, ending: str) -> Iterator[Path]:
        """Lend a copy of the file: where one is read from its end, all of it is checked before a row is trusted."""
        copy = self.scratch / f"source{ending}"
        try:
            with copy.open("wb") as file:
                shutil.copyfileobj(self.raw, file, 1 << 20)
            yield copy
        finally:
            copy.unlink(missing_ok=True)

    def broken(self, why: str, rows: int) -> UserError:
        """Return the error for a file that cannot be read to its end."""
        return UserError(
            f"{self.file.uri}: {why} (after {rows} rows, {self.raw.taken} of {self.file.bytes} bytes); replace the file"
        )


def without_columns(file: SourceFile, kind: str, known: Sequence[str]) -> UserError:
    """Return the error for a file of a format that has no columns to keep beside its rows."""
    return UserError(
        f"{file.uri}: format {kind} has no columns, and ingest.slice_columns names some; they are read from "
        f"{', '.join(known)}: leave slice_columns out, and give each source a name to slice by source"
    )


@dataclass
class Sorter:
    """Puts rows as they were found into those that can be used and those that cannot."""

    numbers: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    extra: Sequence[str] = ()
    """Names of further fields that the task's rows have."""
    others: dict[str, list[Any]] = field(init=False)
    """The other fields of each row, by name."""
    bad: list[Rejected] = field(default_factory=list)
    _chars: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.others = {name: [] for name in ("label", "group", "time", *self.extra)}

    def add(self, number: int, text: Any, no_text: str = "", **others: Any) -> None:
        """Add a row; bytes are what could not be decoded, `no_text` says why a text may be missing."""
        wrong = next((value for value in (text, *others.values()) if isinstance(value, bytes)), None)
        if wrong is not None:
            self.reject(number, "invalid_encoding", printable(text), _undecodable(wrong))
        elif text is None:
            self.reject(number, "missing_text", "", no_text or "null")
        elif not isinstance(text, str):
            self.reject(number, "wrong_type", str(text), f"text is of type {type(text).__name__}")
        else:
            self.numbers.append(number)
            self.texts.append(text)
            self._chars += len(text)
            for name, values in self.others.items():
                values.append(others.get(name))

    def add_all(self, numbers: Sequence[int], texts: Sequence[Any], **others: Sequence[Any]) -> None:
        """Add rows; at once where all of them can be used."""
        if set(map(type, texts)) == {str} and not any(bytes in set(map(type, values)) for values in others.values()):
            self.numbers.extend(numbers)
            self.texts.extend(texts)
            for name, values in self.others.items():
                values.extend(others.get(name) or [None] * len(texts))
            return
        for place, (number, text) in enumerate(zip(numbers, texts, strict=True)):
            self.add(number, text, **{name: values[place] for name, values in others.items()})

    def reject(self, number: int, reason: str, text: str, detail: str) -> None:
        """Add a row that cannot be used."""
        self.bad.append(Rejected(row=number, reason=reason, text=text, detail=detail))

    def rows(self) -> Rows:
        """Return the rows so far and begin anew."""
        labels, groups, times = (self.others[name] for name in ("label", "group", "time"))
        rows = Rows(
            numbers=self.numbers,
            texts=self.texts,
            labels=labels,
            groups=groups,
            times=times,
            others={name: self.others[name] for name in self.extra},
            bad=self.bad,
        )
        self.numbers, self.texts, self.bad, self._chars = [], [], [], 0
        self.others = {name: [] for name in self.others}
        return rows

    def batches(self) -> Iterator[Rows]:
        """Yield the rows so far if they make a batch."""
        if len(self.numbers) + len(self.bad) >= BATCH_ROWS or self._chars >= BATCH_CHARS:
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
