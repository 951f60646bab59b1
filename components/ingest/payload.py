"""What a row holds beside its id and its place: a text, a picture, or the features of a table and its target."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.answers import ANSWERS
from components.ingest.fields import FIELDS
from components.ingest.settings import WITHOUT_CLASSES

_LENGTHS = (0, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 50_000, 100_000, 1_000_000, 10_000_000)
_BINS = 20


@dataclass(frozen=True, kw_only=True)
class Measure:
    """The figure of a row whose distribution a person will want to see."""

    name: str
    unit: str
    edges: tuple[float, ...]
    """Where bins begin and end, ascending."""
    of: Callable[[pa.Table], npt.NDArray[Any]]
    """The figure of each row of a table."""


@dataclass(frozen=True, kw_only=True)
class Payload:
    """The columns of a row while it is on its way, and what of them a dataset stores."""

    kind: Literal["text", "image", "table"]
    columns: pa.Schema
    """On the way."""
    stored: tuple[tuple[str, pa.DataType], ...]
    """In a dataset, by name and type."""
    size: Callable[[pa.Table], int]
    """How many bytes the rows of a table hold, the same in whatever parts they come: shards are cut by it."""
    show: Callable[[pa.Table], list[str]]
    """What a person sees of each dropped row of a table."""
    measure: Measure | None
    """None where no single figure tells of a row."""
    corpus_kind: str
    """What the corpus calls itself in its manifest."""
    labelled_kind: str
    """What the labelled dataset calls itself."""
    in_corpus: tuple[tuple[str, pa.DataType], ...] | None = None
    """What the corpus stores, where that is something else."""
    from_column: tuple[tuple[str, str], ...] = ()
    """Of those stored, names that are others on the way: name and column."""
    texts: tuple[str, ...] = ()
    """The columns that hold texts which a corpus may not have from a held-out row."""
    either_way: tuple[str, ...] = ()
    """Two columns of texts that may stand the other way round in another row, which then belongs to the same group."""
    classes: bool = True
    """Whether labelled rows have a class; without one they have a number to be predicted, in a column of their own."""


def _size_of(name: str) -> Callable[[pa.Table], int]:
    return lambda table: pc.sum(pc.binary_length(table[name])).as_py() or 0


def _column(name: str) -> Callable[[pa.Table], list[str]]:
    def show(table: pa.Table) -> list[str]:
        values: list[str] = table[name].to_pylist()
        return values

    return show


def _characters(table: pa.Table) -> npt.NDArray[Any]:
    return np.asarray(pc.utf8_length(table["text"]))


def _longer_side(table: pa.Table) -> npt.NDArray[Any]:
    return np.asarray(np.maximum(table["width"].to_numpy(), table["height"].to_numpy()))


TEXT = Payload(
    kind="text",
    columns=pa.schema([("text", pa.large_string())]),
    stored=(("text", pa.string()),),
    size=_size_of("text"),
    show=_column("text"),
    measure=Measure(name="length", unit="characters", edges=_LENGTHS, of=_characters),
    corpus_kind="text",
    labelled_kind="labelled-text",
    texts=("text",),
)
IMAGE = Payload(
    kind="image",
    columns=pa.schema(
        [
            ("image", pa.large_binary()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("name", pa.string()),
            ("flags", pa.uint8()),
        ]
    ),
    # Not the name: the same picture in another folder is the same row.
    stored=(("image", pa.binary()), ("width", pa.int32()), ("height", pa.int32())),
    size=_size_of("image"),
    show=_column("name"),
    measure=Measure(name="longer side", unit="pixels", edges=_LENGTHS, of=_longer_side),
    corpus_kind="images",
    labelled_kind="labelled-images",
)


def _with_fields(task: str, labelled_kind: str, first: str = "text") -> Payload:
    """Return what the rows of a task with several texts hold; `first` is what a dataset calls the first one."""
    further = FIELDS[task]
    names = further.texts

    def show(table: pa.Table) -> list[str]:
        rows = zip(table["text"].to_pylist(), *(table[name].to_pylist() for name in names), strict=True)
        return [" ⇥ ".join(text for text in row if text is not None) for row in rows]

    def size(table: pa.Table) -> int:
        return sum(_size_of(name)(table) for name in ("text", *names))

    stored = [(first, pa.string()), *((name, pa.string()) for name in names)]
    if further.answers:
        # As people read them: what is asked, of what, and the answers.
        stored = [*stored[::-1], ("answers", ANSWERS)]
    return replace(
        TEXT,
        columns=pa.schema([*TEXT.columns, *further.columns]),
        stored=tuple(stored),
        size=size,
        show=show,
        labelled_kind=labelled_kind,
        in_corpus=TEXT.stored,
        from_column=((first, "text"),),
        texts=("text", *names),
        either_way=("text", *names) if further.either_way else (),
        classes=task not in WITHOUT_CLASSES,
    )


SEVERAL: Mapping[str, Payload] = {
    "pair-classification": _with_fields("pair-classification", "labelled-pairs"),
    "sequence-to-sequence": _with_fields("sequence-to-sequence", "labelled-targets"),
    "question-answering": _with_fields("question-answering", "labelled-questions", "context"),
}
"""By task: rows that hold several texts, all of which are kept together where their first ones are nearly the same."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The number that a table's rows are to predict."""

    name: str
    low: float
    high: float
    """The smallest and the largest one."""

    def measure(self) -> Measure:
        """Return the number as what a person will want to see."""
        edges = tuple(np.linspace(self.low, self.high, _BINS + 1).tolist())
        return Measure(name=self.name, unit="target", edges=edges, of=lambda table: table["target"].to_numpy())


def table_payload(
    features: Sequence[pa.Field], target: Target | None, *, shown: Collection[str], outlier: bool
) -> Payload:
    """Return what the rows of a table hold: a struct of features, the number to be predicted, and a mark.

    `target` is None where rows have a class; of the features only those shown are for a person to read; `outlier` says
    whether each row carries the mark of one.
    """
    columns = [("features", pa.struct(list(features)))]
    if target is not None:
        columns.append(("target", pa.float64()))
    if outlier:
        columns.append(("outlier", pa.bool_()))

    def show(table: pa.Table) -> list[str]:
        rows: list[dict[str, Any]] = table["features"].to_pylist()
        targets = (
            [{}] * len(rows) if target is None else [{target.name: value} for value in table["target"].to_pylist()]
        )
        return [_said(named | {name: row[name] for name in shown}) for named, row in zip(targets, rows, strict=True)]

    return Payload(
        kind="table",
        columns=pa.schema(columns),
        stored=tuple(columns),
        size=_table_size,
        show=show,
        measure=None if target is None else target.measure(),
        corpus_kind="table",
        labelled_kind="labelled-table",
        classes=target is None,
    )


def _said(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={'' if value is None else value}" for name, value in row.items())


def _table_size(table: pa.Table) -> int:
    columns = [column for chunk in table["features"].chunks for column in chunk.flatten()]
    # Texts by their bytes, all else as the 8 bytes that most of it takes.
    texts = [column for column in columns if pa.types.is_string(column.type)]
    return sum(pc.sum(pc.binary_length(column)).as_py() or 0 for column in texts) + sum(
        8 * len(column) for column in columns
    )
