"""Looks at the training rows of a table before any is stored: no feature may tell the target."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.tables.checks import leaks, settle_leaks, unique_columns
from components.ingest.tables.prepare import PreparedTable
from components.ingest.tables.settings import Table

_TRAIN = 0
# They are held and ranked in memory; those with the smallest ids are as good as drawn.
_MOST_ROWS = 100_000


def check_training_rows(kept: Iterator[Any], prepared: PreparedTable, settings: Table) -> list[str]:
    """Return what to warn of; `kept` are the kept labelled rows in the order of their ids.

    Raises:
        UserError: a feature tells the target, and the settings say `fail`.
    """
    rows = _flat(_some(kept), prepared)
    schema = prepared.schema
    if prepared.payload.classes:
        # The names of the classes, whatever the column held.
        target = replace(schema.columns[schema.target], kind="category")
        schema = replace(schema, columns={**schema.columns, schema.target: target})
    found = leaks(rows, schema)
    told = {leak.column for leak in found}
    unique = [name for name in unique_columns(rows, schema) if name not in told]
    return [
        *settle_leaks(found, settings),
        *(
            f"column {name!r} has another value in each of {rows.num_rows} rows: if it is an id, name it in ignore"
            for name in unique
        ),
    ]


def _some(kept: Iterator[Any]) -> Any:
    parts: list[Any] = []
    for table in kept:
        parts.append(table.filter(pc.equal(table["split"], _TRAIN)))
        if sum(part.num_rows for part in parts) >= _MOST_ROWS:
            break
    return pa.concat_tables(parts).slice(0, _MOST_ROWS)


def _flat(rows: Any, prepared: PreparedTable) -> Any:
    features = rows["features"].combine_chunks()
    columns = {name: pc.struct_field(features, [name]) for name in prepared.schema.features}
    columns[prepared.schema.target] = rows["label" if prepared.payload.classes else "target"]
    return pa.table(columns)
