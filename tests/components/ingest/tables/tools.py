"""Small ways to read a table, and to tell what it is, in a test."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.ingest.formats import format_of
from components.ingest.rows import Opened
from components.ingest.source_settings import Source
from components.ingest.tables.convert import Converted, convert
from components.ingest.tables.profile import Profile
from components.ingest.tables.read import read_table
from components.ingest.tables.rows import TableRows
from components.ingest.tables.schema import Schema, infer
from components.ingest.tables.settings import Table
from modelmill.ledger import Rejected
from modelmill.sources import list_files, open_raw


def batches(path: Path, ignore: Sequence[str] = (), **settings: Any) -> list[TableRows]:
    """Return the batches of a file."""
    source = Source.model_validate({"uri": str(path), **settings})
    (file,) = list_files(source.uri)
    kind = source.format or format_of(file.name)
    assert kind is not None
    with open_raw(file) as raw:
        opened = Opened(file=file, source=source, raw=raw, labelled=True, scratch=path.parent)
        found = list(read_table(opened, kind, ignore))
        raw.finish()
    return found


def read(path: Path, ignore: Sequence[str] = (), **settings: Any) -> tuple[list[dict[str, Any]], list[Rejected]]:
    """Return the rows of a file, each with its number as 'row', and the bad ones."""
    found = batches(path, ignore, **settings)
    rows = [
        {"row": number, **row}
        for batch in found
        for number, row in zip(batch.numbers.tolist(), batch.table.to_pylist(), strict=True)
    ]
    return rows, [row for batch in found for row in batch.bad]


def texts(columns: Mapping[str, Sequence[str | None]]) -> Any:
    """Return columns as they come from a CSV file."""
    return pa.record_batch({name: pa.array(values, pa.large_string()) for name, values in columns.items()})


def profiled(batch: Any, settings: Table) -> Profile:
    """Return the profile of one batch."""
    profile = Profile()
    profile.add(batch, settings)
    return profile


def schema_of(batch: Any, settings: Table) -> Schema:
    """Return what a table of one batch is."""
    return infer(profiled(batch, settings), settings)


def table_of(**settings: Any) -> Table:
    """Return settings, of target 'y' unless said otherwise."""
    return Table.model_validate({"target": "y", **settings})


def converted(batch: Any, settings: Table, first: int = 2) -> Converted:
    """Return a batch by its own schema; its rows are numbered as in a file with a header."""
    numbers = np.arange(first, first + batch.num_rows, dtype=np.int64)
    return convert(batch, numbers, schema_of(batch, settings), settings)


def sklearn_data(name: str) -> Path:
    """Return the path of one of scikit-learn's own tables."""
    spec = find_spec("sklearn")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "datasets" / "data" / name
