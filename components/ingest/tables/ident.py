"""The ids of rows of a table, made from what stands in them: of 16 bytes, as those of texts.

Two ids each. By the id of its features a row is split, so that equal rows never part, and of rows with equal features
and different classes all go (label_conflict). By the id of features and target a repeated row is known (duplicate). In
a regression rows with equal features and different targets are measurements that scatter: they are kept, all of them,
in the same split.
"""

from hashlib import sha256
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.tables import parse

Bytes = npt.NDArray[np.uint8]

ID_BYTES = 16
"""Of a SHA-256: two rows of 10^9 share an id with a chance of 10^-21."""

# What a block begins with. Integers and numbers share one, so that a row keeps its id, and its split, when some other
# row of the column is the first one with a fraction.
_MISSING, _NUMBER, _BIG_INTEGER, _BOOLEAN, _DATE, _TEXT = range(6)
# Beyond this not every integer is a float64.
_EXACT = 1 << 53


def feature_ids(table: Any, features: list[str]) -> Any:
    """Return the id of each row of a converted table by its features; neither their order nor the batch matters.

    The ids are an array of fixed-size binary of ID_BYTES: the first bytes of the SHA-256 over the names and values of
    the features in the order of their names.
    """
    names = sorted(features)
    # The names lead every row: a value that moves to another column is another row.
    lead = sha256("\x00".join(names).encode()).digest()
    return _hashed(table.num_rows, lead, [_blocks(table.column(name)) for name in names])


def row_ids(table: Any, features: list[str], target: str) -> Any:
    """Return the id of each row by its features and its target, as `feature_ids` does."""
    lead = sha256(b"target\x00" + target.encode()).digest()
    ids = b"".join(feature_ids(table, features).to_pylist())
    matrix = np.frombuffer(ids, dtype=np.uint8).reshape(-1, ID_BYTES)
    return _hashed(table.num_rows, lead, [matrix, _blocks(table.column(target))])


def _hashed(rows: int, lead: bytes, blocks: list[Bytes]) -> Any:
    first = np.broadcast_to(np.frombuffer(lead, dtype=np.uint8), (rows, len(lead)))
    matrix = np.concatenate([first, *blocks], axis=1)
    width = matrix.shape[1]
    data = memoryview(matrix.tobytes())
    ids = [sha256(data[start : start + width]).digest()[:ID_BYTES] for start in range(0, rows * width, width)]
    return pa.array(ids, pa.binary(ID_BYTES))


def _blocks(column: Any) -> Bytes:
    """Return a column's values as rows of equally many bytes: what it is, and the value itself or a digest of it."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    kind = array.type
    missing = array.is_null().to_numpy(zero_copy_only=False)
    if kind == pa.float64() or kind == pa.int64():
        tags, body = _numbers(array)
    elif kind == pa.bool_():
        tags, body = _tagged(_BOOLEAN, pc.fill_null(array.cast(pa.int64()), 0))
    elif kind == pa.timestamp("us"):
        tags, body = _tagged(_DATE, pc.fill_null(array.cast(pa.int64()), 0))
    else:
        tags, body = np.full(len(array), _TEXT, dtype=np.uint8), _digests(parse.texts(array))
    return np.column_stack((np.where(missing, np.uint8(_MISSING), tags), np.where(missing[:, None], 0, body)))


def _numbers(array: Any) -> tuple[Bytes, Bytes]:
    values = pc.fill_null(array, 0).to_numpy(zero_copy_only=False)
    # -0 is 0.
    body = _as_bytes(values.astype(np.float64) + 0.0)
    tags = np.full(len(values), _NUMBER, dtype=np.uint8)
    if array.type == pa.int64() and (big := (values > _EXACT) | (values < -_EXACT)).any():
        tags[big] = _BIG_INTEGER
        body[big] = _as_bytes(values[big])
    return tags, body


def _tagged(tag: int, integers: Any) -> tuple[Bytes, Bytes]:
    values = integers.to_numpy(zero_copy_only=False)
    return np.full(len(values), tag, dtype=np.uint8), _as_bytes(values)


def _as_bytes(values: npt.NDArray[Any]) -> Bytes:
    # Of one byte order, so that the ids are the same on every machine.
    ordered = np.ascontiguousarray(values.astype(values.dtype.newbyteorder(">")))
    return ordered.view(np.uint8).reshape(len(values), 8).copy()


def _digests(texts: Any) -> Bytes:
    """Return a digest of each text, each different one hashed once."""
    coded = texts.dictionary_encode()
    digests = [sha256(text.encode()).digest()[:ID_BYTES] for text in coded.dictionary.to_pylist()]
    table = np.frombuffer(b"".join(digests) or bytes(ID_BYTES), dtype=np.uint8).reshape(-1, ID_BYTES)
    return cast(Bytes, table[pc.fill_null(coded.indices, 0).to_numpy(zero_copy_only=False)])
