"""The third pass: what is kept goes into the store as datasets, shard by shard."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.payload import Payload
from components.ingest.sort import Sorted
from components.ingest.spill import id_words, leading, runs
from components.ingest.splits import SPLITS
from components.ingest.work import ID_BYTES
from modelmill.dataset import DatasetWriter
from modelmill.step import Step

SHARD_ROWS = 1 << 16
"""Rows that a shard holds at most, about."""
SHARD_BYTES = 64 << 20
"""Bytes of text that a shard holds at most, about: what a reader has in memory at once."""

# About 1 % of the corpus, by a draw from 0 to 2^32 - 1.
_CORPUS_VALIDATION = (1 << 32) // 100

Tables = Callable[[], Iterator[Any]]


def write_corpus(step: Step, rows: Sorted) -> DatasetWriter:
    """Write the corpus, all but its manifest.

    Splits train and validation (1 %, one row at least), columns id and the payload's.
    """
    bound = max(_CORPUS_VALIDATION, rows.smallest_draw + 1)

    def train() -> Iterator[Any]:
        return (table.filter(pc.greater_equal(table["draw"], bound)) for table in rows.corpus())

    def validation() -> Iterator[Any]:
        return (table.filter(pc.less(table["draw"], bound)) for table in rows.corpus())

    schema = pa.schema([("id", pa.string()), *(rows.payload.in_corpus or rows.payload.stored)])
    writer = DatasetWriter(step.store, schema, {"kind": rows.payload.corpus_kind})
    _write_split(step, writer, "train", train, rows.payload)
    _write_split(step, writer, "validation", validation, rows.payload)
    return writer


def write_labelled(step: Step, rows: Sorted, labels: list[str], meta: Mapping[str, Any]) -> DatasetWriter:
    """Write the labelled rows, all but their manifest.

    Splits train, validation, test, columns id, the payload's, label (place in `labels`). Rows without a class have no
    label. Those of a table have a group, a number that rows share which may not be torn apart: cross-validation divides
    by it. `meta` is what else the columns mean.
    """
    classes = rows.payload.classes
    label = [("label", pa.int32())] if classes else []
    group = [("group", pa.uint64())] if rows.payload.kind == "table" else []
    schema = pa.schema([("id", pa.string()), *rows.payload.stored, *label, *group])
    named = {"labels": labels} if classes else {}
    writer = DatasetWriter(step.store, schema, {"kind": rows.payload.labelled_kind, **named, **meta})
    names = pa.array(labels, pa.string())
    for position, split in enumerate(SPLITS):

        def tables(position: int = position) -> Iterator[Any]:
            for table in rows.labelled():
                chosen = table.filter(pc.equal(table["split"], position))
                numbers = pc.index_in(chosen["label"], names)
                yield chosen.set_column(chosen.schema.get_field_index("label"), "label", numbers)

        _write_split(step, writer, split, tables, rows.payload)
    return writer


def shard_bits(rows: int, size: int) -> int:
    """Return how many leading bits of the id make the shards of a split of so many rows and bytes of text.

    A new row changes one shard, where a cut every so many rows would change all that follow.
    """
    shards = max(1, -(-rows // SHARD_ROWS), -(-size // SHARD_BYTES))
    return (shards - 1).bit_length()


def _write_split(step: Step, writer: DatasetWriter, split: str, tables: Tables, payload: Payload) -> None:
    renamed = dict(payload.from_column)
    sizes = [(table.num_rows, payload.size(table)) for table in tables()]
    rows, size = sum(count for count, _ in sizes), sum(count for _, count in sizes)
    done = 0
    for shard in _cut(tables(), shard_bits(rows, size)):
        step.check_stop()
        ids = _hexadecimal(shard["id"])
        columns = [ids if name == "id" else shard[renamed.get(name, name)] for name in writer.schema.names]
        writer.add(split, pa.table(columns, names=writer.schema.names).cast(writer.schema))
        done += shard.num_rows
        step.progress(f"writing {split}", done, rows, "rows")


def _hexadecimal(ids: Any) -> Any:
    """Return a column of ids as text."""
    column = ids.combine_chunks()
    digits = column.buffers()[1][ID_BYTES * column.offset :][: ID_BYTES * len(column)].to_pybytes().hex().encode()
    offsets = np.arange(0, len(digits) + 1, 2 * ID_BYTES, dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(ids), [None, pa.py_buffer(offsets), pa.py_buffer(digits)])


def _cut(tables: Iterator[Any], bits: int) -> Iterator[Any]:
    """Cut tables in the order of their ids into one table per shard that has rows."""
    current = -1
    parts: list[Any] = []
    for table in tables:
        for number, start, stop in runs(leading(id_words(table["id"])[0], bits)):
            if number != current and parts:
                yield pa.concat_tables(parts)
                parts = []
            current = number
            parts.append(table.slice(start, stop - start))
    if parts:
        yield pa.concat_tables(parts)
