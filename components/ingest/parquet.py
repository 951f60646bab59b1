"""Reads Parquet batch by batch; rows are numbered from 1."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.ingest.rows import BATCH_CHARS, BATCH_ROWS, Opened, Rows, Sorter, decoded
from modelmill.errors import UserError


def read_parquet(opened: Opened) -> Iterator[Rows]:
    """Yield the rows of a Parquet file.

    Raises:
        UserError: a column is missing or holds no text, or the file cannot be read to its end.
        ModelmillError: the file was changed while it was read.
    """
    with opened.copy(".parquet") as copy:
        yield from _rows(opened, copy)


def _rows(opened: Opened, copy: Any) -> Iterator[Rows]:
    fields = opened.fields
    first = 1
    try:
        with pq.ParquetFile(copy) as file:
            for name in fields.values():
                _check(opened, file.schema_arrow, name, must_be_text=name == fields["text"])
            for batch in file.iter_batches(_batch_rows(file), columns=list(dict.fromkeys(fields.values()))):
                yield _batch(batch, fields, first, opened.extra)
                first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise opened.broken(f"broken Parquet: {error}", first - 1) from error


def _batch_rows(file: pq.ParquetFile) -> int:
    """Return how many rows make a batch: fewer where they are long."""
    size = sum(file.metadata.row_group(number).total_byte_size for number in range(file.metadata.num_row_groups))
    fitting: int = BATCH_CHARS * file.metadata.num_rows // max(size, 1)
    return max(1, min(BATCH_ROWS, fitting))


def _batch(batch: Any, fields: dict[str, str], first: int, extra: Sequence[str]) -> Rows:
    values = {field: _values(batch.column(name)) for field, name in fields.items()}
    texts = values.pop("text")
    sorter = Sorter(extra=extra)
    sorter.add_all(range(first, first + len(texts)), texts, **values)
    return sorter.rows()


def _check(opened: Opened, schema: Any, name: str, *, must_be_text: bool) -> None:
    kind = schema.field(opened.column(name, schema.names)).type
    if must_be_text and not _is_text(kind):
        raise UserError(f"{opened.file.uri}: column {name!r} holds {kind}, not text; correct columns.text")


def _is_text(kind: Any) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(
        test(kind)
        for test in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_binary_view,
        )
    )


def _values(column: Any) -> list[Any]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    # Parquet does not check its own texts, so they come as bytes and are decoded here.
    return decoded(column.cast(pa.large_binary()).to_pylist()) if _is_text(column.type) else column.to_pylist()
