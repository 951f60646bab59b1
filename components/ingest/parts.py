"""Parts of a journal: what the batches of a run came to, packed into bytes and back without a loss.

A part is the SHA-256 of what follows, and an Arrow IPC stream (lz4): a record batch for each batch of rows, in their
order. Its columns are the rows; its metadata hold all that is not a row, as JSON, and the digest of the batch as it was
handed out: a result is for that batch alone.
"""

# N rows, M of them with keys, B bands

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel

from components.ingest.work import ID_BYTES, Worked

_COLUMNS = pa.schema(
    [
        ("number", pa.int64()),
        ("label", pa.string()),
        ("group", pa.uint64()),
        ("time", pa.float64()),
        ("id", pa.binary(ID_BYTES)),
        ("hash", pa.uint64()),
        ("keys", pa.list_(pa.uint64())),
    ]
)
# The fields of Worked that are columns, or go into them; all others are notes.
_ROWS = frozenset({"numbers", "labels", "group_N", "time_N", "ids", "hash_N", "keys_MB", "having_M", "payload"})
_DIGEST, _NOTES, _BANDS = b"digest", b"notes", b"bands"
_CHECKSUM_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Look:
    """A batch as it is handed out, in two figures."""

    bytes: int
    """Of its contents, about."""
    digest: str
    """Of all that it holds."""


class Packer:
    """Takes what batches came to; packed at once, so that a part that waits for its end takes little memory."""

    def __init__(self) -> None:
        self._sink = pa.BufferOutputStream()
        self._writer: Any = None

    def add(self, digest: str, worked: Worked) -> None:
        """Add what the batch of that digest came to."""
        batch = _record_batch(worked)
        if self._writer is None:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writer = pa.ipc.new_stream(self._sink, batch.schema, options=options)
        notes = {each.name: _plain(getattr(worked, each.name)) for each in fields(Worked) if each.name not in _ROWS}
        bands = str(worked.keys_MB.shape[1])
        metadata = {_DIGEST: digest, _NOTES: _text_bytes(json.dumps(notes, ensure_ascii=False)), _BANDS: bands}
        self._writer.write_batch(batch, custom_metadata=metadata)

    @property
    def empty(self) -> bool:
        """Whether nothing was added."""
        return self._writer is None

    def packed(self) -> bytes:
        """Return the part, which is at its end."""
        self._writer.close()
        stream = self._sink.getvalue()
        return b"".join([sha256(stream).digest(), stream])


def unpacked(part: bytes) -> Iterator[tuple[str, Worked]]:
    """Return digests of batches and what these came to, one batch in memory at a time.

    Raises:
        ValueError: the part is damaged.
    """
    checksum, stream = part[:_CHECKSUM_BYTES], memoryview(part)[_CHECKSUM_BYTES:]
    if sha256(stream).digest() != checksum:
        raise ValueError(f"{len(part)} bytes that do not have the sha256 that stands at their beginning")
    return _batches(stream)


def _batches(stream: memoryview) -> Iterator[tuple[str, Worked]]:
    with pa.ipc.open_stream(pa.py_buffer(stream)) as reader:
        for batch, metadata in reader.iter_batches_with_custom_metadata():
            yield metadata[_DIGEST].decode(), _worked(batch, metadata)


def look(batch: Any) -> Look:
    """Return size and digest of a batch, which is a dataclass of sequences, arrays and record batches."""
    digest, size = sha256(), 0
    for each in fields(batch):
        head, data = _contents(getattr(batch, each.name))
        digest.update(_text_bytes(repr((each.name, head, len(data)))))
        digest.update(data)
        size += len(data)
    return Look(bytes=size, digest=digest.hexdigest())


def _contents(value: Any) -> tuple[Any, Any]:
    """Return what a value is and its bytes; what is equal in both is equal."""
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape), value.tobytes()
    if isinstance(value, pa.RecordBatch):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema) as writer:
            writer.write_batch(value)
        return "record batch", sink.getvalue()
    if isinstance(value, Mapping):
        inner = [(name, *_contents(values)) for name, values in value.items()]
        return [(name, head, len(data)) for name, head, data in inner], b"".join(data for _, _, data in inner)
    values, kinds = list(value), set(map(type, value))
    if kinds == {str}:
        return list(map(len, values)), _text_bytes("".join(values))
    if kinds == {bytes}:
        return list(map(len, values)), b"".join(values)
    return "values", _text_bytes(repr(values))


def _text_bytes(text: str) -> bytes:
    # JSON may name halves of characters, which UTF-8 cannot say.
    return text.encode("utf-8", "surrogatepass")


def _record_batch(worked: Worked) -> Any:
    count, payload = len(worked.numbers), worked.payload.combine_chunks()
    columns = [
        pa.array(worked.numbers),
        pa.array(worked.labels, pa.string()),
        pa.array(worked.group_N),
        # Not null where there is none: NaN is a number here.
        pa.array(worked.time_N, from_pandas=False),
        pa.Array.from_buffers(pa.binary(ID_BYTES), count, [None, pa.py_buffer(worked.ids)]),
        pa.array(worked.hash_N),
        _keys(worked, count),
        *(column.combine_chunks() for column in payload.columns),
    ]
    # By position: a column of the payload may have any name.
    schema = pa.schema([*_COLUMNS, *payload.schema], metadata=payload.schema.metadata)
    return pa.record_batch(columns, schema=schema)


def _keys(worked: Worked, count: int) -> Any:
    """Return each row's keys as a list, null where it has none."""
    having = np.zeros(count, dtype=np.bool_)
    having[worked.having_M] = True
    bands = worked.keys_MB.shape[1]
    ends = np.concatenate([[0], np.cumsum(having) * bands]).astype(np.int32)
    assert np.array_equal(np.flatnonzero(having), worked.having_M), "places of texts with keys ascend"
    keys = pa.array(worked.keys_MB.reshape(-1))
    return pa.ListArray.from_arrays(pa.array(ends), keys, mask=pa.array(~having))


def _worked(batch: Any, metadata: Mapping[bytes, bytes]) -> Worked:
    number, label, group, time, ids, hashes, keys = batch.columns[: len(_COLUMNS)]
    payload = pa.schema(list(batch.schema)[len(_COLUMNS) :], metadata=batch.schema.metadata)
    notes, hints = json.loads(metadata[_NOTES].decode("utf-8", "surrogatepass")), _hints(Worked)
    having_M = np.flatnonzero(_numbers(keys.is_valid()))
    return Worked(
        numbers=_numbers(number),
        payload=pa.table(batch.columns[len(_COLUMNS) :], schema=payload),
        labels=label.to_pylist(),
        group_N=_numbers(group),
        time_N=_numbers(time),
        ids=b"".join(ids.to_pylist()),
        hash_N=_numbers(hashes),
        keys_MB=_numbers(keys.flatten()).reshape(len(having_M), int(metadata[_BANDS])),
        having_M=having_M,
        **{name: _restored(hints[name], value) for name, value in notes.items()},
    )


def _numbers(column: Any) -> npt.NDArray[Any]:
    """Return a column as an array of its own, for the part's bytes are given back."""
    return np.array(column.to_numpy(zero_copy_only=False))


def _plain(value: Any) -> Any:
    """Return notes as what JSON can say."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _restored(kind: Any, value: Any) -> Any:
    """Return notes as what they were, given their type."""
    if get_origin(kind) is Counter:
        return Counter(value)
    if get_origin(kind) is list:
        (inner,) = get_args(kind)
        return [_restored(inner, each) for each in value]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind.model_validate(value)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{name: _restored(hints[name], each) for name, each in value.items()})
    assert kind in (str, int, float, bool), f"{kind}: the journal cannot keep it"
    return value


@lru_cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
