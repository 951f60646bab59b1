"""Reads Parquet with a column of image files: bytes, or the `struct<bytes, path>` of Hugging Face datasets."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.ingest.images.pictures import BATCH_BYTES, BATCH_PICTURES, Gatherer, Pictures, too_long
from components.ingest.rows import Opened
from modelmill.errors import UserError
from modelmill.pictures.faults import Fault

_BINARY = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)


def read_image_parquet(
    opened: Opened, image: str = "image", label: str | None = "label", slices: Sequence[str] = ()
) -> Iterator[Pictures]:
    """Yield the pictures in a column of a Parquet file, numbered from 1; `label` is the label's column, if it is read,
    `slices` are columns to keep beside each picture.

    Raises:
        UserError: a column is missing or holds no image files, or the file cannot be read to its end.
        ModelmillError: the file was changed while it was read.
    """
    with opened.copy(".parquet") as copy:
        yield from _pictures(opened, copy, image, label, slices)


def _pictures(opened: Opened, copy: Path, image: str, label: str | None, slices: Sequence[str]) -> Iterator[Pictures]:
    names = list(dict.fromkeys([image, *([] if label is None else [label]), *slices]))
    first = 1
    gatherer = Gatherer()
    try:
        with pq.ParquetFile(copy) as file:
            for name in names:
                opened.column(name, file.schema_arrow.names)
            _check_image(opened, file.schema_arrow, image)
            classes = _class_names(file.schema_arrow, label)
            for batch in file.iter_batches(_rows_at_once(file.metadata), columns=names):
                paths, files = _files(batch.column(image))
                labels = batch.column(label).to_pylist() if label is not None else [None] * len(files)
                beside = batch.select(list(slices)).to_pylist() if slices else [{}] * len(files)
                rows = zip(paths, files, labels, beside, strict=True)
                for number, (path, data, given, kept) in enumerate(rows, first):
                    gatherer.add(number, path or "", _checked(data, path), classes.get(given, given), kept)
                    yield from gatherer.batches()
                first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise opened.broken(f"broken Parquet: {error}", first - 1) from error
    yield from gatherer.rest()


def _rows_at_once(metadata: Any) -> int:
    """Return how many rows of average size make a batch."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    heaviest = max((group.total_byte_size / max(group.num_rows, 1) for group in groups), default=0.0)
    return int(max(1, min(BATCH_PICTURES, BATCH_BYTES // max(heaviest, 1.0))))


def _check_image(opened: Opened, schema: pa.Schema, image: str) -> None:
    kind = schema.field(image).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if not any(test(kind) for test in _BINARY):
        raise UserError(
            f"{opened.file.uri}: column {image!r} holds {schema.field(image).type}, and not the bytes of image files; "
            "correct columns.image"
        )


def _files(column: Any) -> tuple[list[str | None], list[bytes | None]]:
    """Return a column's paths, None where it has none, and its image files."""
    if not pa.types.is_struct(column.type):
        return [None] * len(column), column.to_pylist()
    # `flatten` and not `field`: only it lets a null struct have null fields.
    fields = dict(zip((field.name for field in column.type), column.flatten(), strict=True))
    paths = fields["path"].to_pylist() if "path" in fields else [None] * len(column)
    return paths, fields["bytes"].to_pylist()


def _checked(data: bytes | None, path: str | None) -> bytes | Fault:
    if data is None:
        return Fault("missing_image", f"null, and only the path {path[:100]!r}" if path else "null")
    return too_long(len(data)) or data


def _class_names(schema: pa.Schema, label: str | None) -> dict[Any, str]:
    """Return the names that Hugging Face datasets keeps beside the numbers of classes; empty where there are none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[label]["names"]
        return {number: str(name) for number, name in enumerate(names)}
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
