"""The rows of a table as they stand in a file, kept on disk between finding out what they are and converting them.

So a file is read and parsed once, and both passes see the same rows. A file of the scratch folder holds, for each
batch, two Arrow streams one after the other: the rows, their numbers in the first column, and those that could not be
read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.ingest.tables.rows import TableRows
from modelmill.ledger import SAMPLE_CHARS, Rejected

_PACKED = pa.ipc.IpcWriteOptions(compression="lz4")
_BAD = pa.schema([("row", pa.int64()), ("reason", pa.string()), ("text", pa.string()), ("detail", pa.string())])


@dataclass(frozen=True, kw_only=True)
class SpilledFile:
    """One source file whose rows lie on disk."""

    uri: str
    bytes: int
    """Of the source file."""
    path: Path

    def batches(self) -> Iterator[TableRows]:
        """Yield the rows as they were read."""
        with pa.OSFile(str(self.path)) as file:
            while file.tell() < file.size():
                # Read to its end, where the other stream begins.
                (rows,) = pa.ipc.open_stream(file)
                bad = pa.ipc.open_stream(file).read_all()
                yield TableRows(
                    numbers=rows.column(0).to_numpy(),
                    table=_record_batch(rows.columns[1:], rows.schema.names[1:], rows.num_rows),
                    bad=[Rejected(**row) for row in bad.to_pylist()],
                )


def spill(path: Path, batches: Iterator[TableRows]) -> Iterator[TableRows]:
    """Write batches to a file while they go by."""
    with pa.OSFile(str(path), "wb") as file:
        for rows in batches:
            # By position, not by name: a column may be called anything.
            columns, names = [pa.array(rows.numbers), *rows.table.columns], ["", *rows.table.schema.names]
            batch = pa.record_batch(columns, names=names)
            with pa.ipc.new_stream(file, batch.schema, options=_PACKED) as writer:
                writer.write_batch(batch)
            with pa.ipc.new_stream(file, _BAD, options=_PACKED) as writer:
                writer.write_table(_bad_table(rows.bad))
            yield rows


def _bad_table(bad: Sequence[Rejected]) -> Any:
    texts = [row.text[:SAMPLE_CHARS].encode(errors="replace").decode() for row in bad]
    rows = [{**vars(row), "text": text} for row, text in zip(bad, texts, strict=True)]
    return pa.Table.from_pylist(rows, schema=_BAD)


def _record_batch(columns: Sequence[Any], names: Sequence[str], rows: int) -> Any:
    if not columns:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
    assert all(len(column) == rows for column in columns), np.unique(list(map(len, columns)))
    return pa.record_batch(list(columns), names=list(names))
