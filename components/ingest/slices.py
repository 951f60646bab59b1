"""What is kept beside a row for evaluation to measure it in parts by: the source's name, and columns of its file.

No model reads it: it is no text, no feature, and no part of a row's id.
"""

# N rows

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.labels import label_text
from components.ingest.payload import Payload
from components.ingest.rows import Listed
from components.ingest.settings import SOURCE, Ingest
from components.ingest.tables import parse
from components.ingest.tables.rows import TableRows
from components.ingest.tables.settings import Table
from components.ingest.work import Worked

SLICES = "slices"
"""The column of a dataset, a struct of texts."""
PREFIX = "slices."
"""Begins the fields of a reader that are kept so; no column of a task's own is called so."""

_BETWEEN = "\x1e"
Job = Callable[[Any], Worked]


@dataclass(frozen=True, kw_only=True)
class Sliced:
    """What is kept beside the rows of one source."""

    names: tuple[str, ...]
    """Of the struct's fields, in order."""
    source: str | None
    """What the source is called."""
    columns: tuple[str, ...]
    """Those that are read from its files; the others are null in its rows."""
    table: Table | None
    """What stands for a missing value, where the rows are a table's."""


def sliced(payload: Payload, settings: Ingest) -> Payload:
    """Return what rows hold, with what the settings keep beside them; a corpus keeps it where it has a named source."""
    if not settings.slice_names:
        return payload
    kept = pa.field(SLICES, _type(settings.slice_names))
    stored = (SLICES, kept.type)
    in_corpus = payload.stored if payload.in_corpus is None else payload.in_corpus
    feeds_corpus = [*settings.corpus_sources, *(settings.labelled if settings.takes_labelled else ())]
    if any(source.name is not None for source in feeds_corpus):
        in_corpus = (*in_corpus, stored)
    return replace(
        payload,
        columns=pa.schema([*payload.columns, kept]),
        stored=(*payload.stored, stored),
        in_corpus=in_corpus,
    )


def slicing_job(settings: Ingest, listed: Listed, job: Job) -> Job:
    """Return the work on a batch, with what is kept beside each of its rows."""
    if not settings.slice_names:
        return job
    source = listed.source
    columns = tuple(settings.slice_columns) if listed.labelled else ()
    how = Sliced(names=settings.slice_names, source=source.name, columns=columns, table=settings.table)
    return partial(_with_slices, how, job)


def slice_fields(settings: Ingest, *, labelled: bool) -> dict[str, str]:
    """Return the columns that a reader is to read for it, by its own field."""
    return {PREFIX + name: name for name in settings.slice_columns} if labelled else {}


def tie_breaks(payload: pa.Table) -> npt.NDArray[np.uint64] | None:
    """Return a hash of what is kept beside each row, None where nothing is.

    Of equal rows the one with the smallest is kept, so that the order of sources and files does not show.
    """
    if SLICES not in payload.column_names:
        return None
    parts = [pc.fill_null(part, "") for part in payload[SLICES].combine_chunks().flatten()]
    # Each part with a mark of its own at its end, also where there is but one.
    coded = pc.dictionary_encode(pc.binary_join_element_wise(*parts, "", _BETWEEN))
    hashes = [int.from_bytes(sha256(text.encode()).digest()[:8], "big") for text in coded.dictionary.to_pylist()]
    ties: npt.NDArray[np.uint64] = np.array(hashes, dtype=np.uint64)[coded.indices.to_numpy(zero_copy_only=False)]
    return ties


def _type(names: Sequence[str]) -> pa.DataType:
    return pa.struct([(name, pa.string()) for name in names])


def _with_slices(how: Sliced, job: Job, batch: Any) -> Worked:
    worked = job(batch)
    place_of = {int(number): place for place, number in enumerate(batch.numbers)}
    places = [place_of[number] for number in worked.numbers.tolist()]
    read = _of_table(how, batch, places) if isinstance(batch, TableRows) else _of_batch(how, batch.slices, places)
    if how.source is not None:
        read[SOURCE] = pa.array([how.source] * len(places), pa.string())
    nothing = pa.nulls(len(places), pa.string())
    fields = list(_type(how.names))
    column = pa.StructArray.from_arrays([read.get(name, nothing) for name in how.names], fields=fields)
    return replace(worked, payload=worked.payload.append_column(pa.field(SLICES, column.type), column))


def _of_batch(how: Sliced, values: Mapping[str, Sequence[Any]], places: Sequence[int]) -> dict[str, Any]:
    return {
        name: pa.array([label_text(values[name][place]) or None for place in places], pa.string())
        for name in how.columns
    }


def _of_table(how: Sliced, batch: TableRows, places: Sequence[int]) -> dict[str, Any]:
    assert how.table is not None
    found, there = {}, batch.table.schema.names
    for name in how.columns:
        # An object of JSON Lines may lack keys.
        if name in there:
            cells = parse.cells(name, batch.table.column(name), how.table.missing_cells(name))
            found[name] = parse.texts(cells).cast(pa.string()).take(pa.array(places, pa.int64()))
    return found
