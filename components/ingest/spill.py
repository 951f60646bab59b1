"""Rows on their way from the files to the datasets, kept on disk in buckets by the first bits of their id.

Memory holds one buffer while reading and one bucket while sorting. Neither the size of the buffer nor the number of
buckets shows in a dataset: buckets are gone through in the order of the ids.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.ingest.payload import Payload
from components.ingest.work import ID_BYTES, Worked

_PLACES = pa.schema(
    [
        ("id", pa.binary(ID_BYTES)),
        ("label", pa.string()),
        ("labelled", pa.bool_()),
        ("file", pa.int32()),
        ("row", pa.int64()),
        ("number", pa.int64()),
    ]
)
# Of rows held before they go to disk.
_BUFFER_BYTES = 32 << 20
# Of raw data for one bucket; packed text grows about fourfold.
_BUCKET_BYTES = 32 << 20
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".parquet")
# As many files are open at once while reading; most systems allow 1,024.
_MAX_BITS = 8


def unpacked_size(files: Sequence[tuple[str, int]]) -> int:
    """Return about how many bytes files hold, by name and size in bytes."""
    return sum(count * (4 if name.lower().endswith(_PACKED) else 1) for name, count in files)


def bucket_bits(size: int) -> int:
    """Return how many leading bits of the id make the buckets for so many bytes of raw data."""
    return min(_MAX_BITS, (size // _BUCKET_BYTES).bit_length())


def id_words(ids: Any) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Return a column of ids as two of numbers, their leading and their trailing 8 bytes; both sort as the ids do."""
    column = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    buffer = column.buffers()[1] if len(column) else b""
    words = np.frombuffer(buffer, dtype=">u8")[2 * column.offset : 2 * (column.offset + len(column))]
    high, low = words.reshape(-1, 2).T.astype(np.uint64)
    return high, low


def leading(high: npt.NDArray[np.uint64], bits: int) -> npt.NDArray[np.uint64]:
    """Return the first bits of the leading words of ids, as numbers from 0."""
    return high >> np.uint64(64 - bits) if bits else np.zeros_like(high)


def runs(numbers: npt.NDArray[np.uint64]) -> Iterator[tuple[int, int, int]]:
    """Yield the number, start and stop of each run of equal numbers among sorted ones."""
    present, starts = np.unique(numbers, return_index=True)
    for number, start, stop in zip(present, starts, np.append(starts, len(numbers))[1:], strict=True):
        yield int(number), int(start), int(stop)


@dataclass
class Spill:
    """Takes rows in any order and gives them back bucket by bucket."""

    folder: Path
    bits: int
    payload: Payload
    _held: list[Any] = field(default_factory=list, init=False)
    _bytes: int = field(default=0, init=False)
    _writers: dict[int, Any] = field(default_factory=dict, init=False)

    def add(self, worked: Worked, *, labelled: bool, file: int, numbers: npt.NDArray[np.int64]) -> None:
        """Add rows of one file, given by its number, with the numbers that the rows have in the index."""
        count = len(worked.numbers)
        ids = pa.Array.from_buffers(pa.binary(ID_BYTES), count, [None, pa.py_buffer(worked.ids)])
        columns = [
            ids,
            pa.array(worked.labels, pa.string()),
            pa.array(np.full(count, labelled)),
            pa.array(np.full(count, file, dtype=np.int32)),
            pa.array(worked.numbers),
            pa.array(numbers),
            *worked.payload.columns,
        ]
        table = pa.table(columns, schema=self._schema)
        self._held.append(table)
        self._bytes += table.nbytes
        if self._bytes >= _BUFFER_BYTES:
            self._flush()

    def tables(self) -> Iterator[Any]:
        """Yield the tables of all buckets in the order of the ids, each in the order of reading; no row comes after."""
        self._flush()
        for writer in self._writers.values():
            writer.close()
        for bucket in sorted(self._writers):
            with pa.memory_map(str(self._path(bucket))) as file:
                yield pa.ipc.open_stream(file).read_all()

    def clear(self) -> None:
        """Give back the disk."""
        for bucket in self._writers:
            self._path(bucket).unlink()
        self._writers = {}

    @property
    def _schema(self) -> pa.Schema:
        return pa.schema([*_PLACES, *self.payload.columns])

    def _flush(self) -> None:
        if not self._held:
            return
        table = pa.concat_tables(self._held)
        self._held, self._bytes = [], 0
        buckets = leading(id_words(table["id"])[0], self.bits)
        order = np.argsort(buckets, kind="stable")
        table = table.take(order)
        for bucket, start, stop in runs(buckets[order]):
            self._write(bucket, table.slice(start, stop - start))

    def _write(self, bucket: int, table: Any) -> None:
        if bucket not in self._writers:
            self._writers[bucket] = pa.ipc.new_stream(str(self._path(bucket)), self._schema)
        self._writers[bucket].write_table(table)

    def _path(self, bucket: int) -> Path:
        return self.folder / f"bucket-{bucket:03}.arrow"
