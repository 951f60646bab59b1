"""Small tables for the tests of the stages, as ingest stores them: made here, the same in every process."""

import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from components.ingest.tables.schema import ARROW
from modelmill.dataset import DatasetWriter
from modelmill.digest import sha256_hex
from modelmill.store import Store
from modelmill.tables.values import Kind

Row = dict[str, Any]
HOUSES: dict[str, Kind] = {
    "area": "number",
    "built": "date",
    "garden": "boolean",
    "note": "text",
    "rooms": "integer",
    "street": "category",
}
LABELS = ("cheap", "dear")


def houses(count: int, seed: int = 0) -> list[Row]:
    """Return houses whose price follows from what is known of them; a tenth of the areas and streets is missing."""
    drawn = random.Random(seed)
    made = []
    for _ in range(count):
        street = drawn.choice(["north", "south", "west"])
        row: Row = {
            "area": round(drawn.uniform(20, 200), 2),
            "built": datetime.fromisoformat("1950-01-01") + timedelta(days=drawn.randrange(25_000)),
            "garden": drawn.random() < 0.4,
            "note": f"house {drawn.randrange(10**6)}",
            "rooms": drawn.randrange(1, 9),
            "street": street,
        }
        price = (
            2.0 * row["area"] + 30 * row["rooms"] + 50 * row["garden"] + {"north": 0, "south": 60, "west": 20}[street]
        )
        row["price"] = round(price + drawn.gauss(0, 5), 2)
        for name in ("area", "street"):
            row[name] = None if drawn.random() < 0.1 else row[name]
        made.append(row)
    return made


def struct(kinds: Mapping[str, Kind]) -> pa.DataType:
    """Return the type of a column of features."""
    return pa.struct([(name, ARROW[kind]) for name, kind in kinds.items()])


def features(rows: Sequence[Row], kinds: Mapping[str, Kind] = HOUSES) -> pa.ChunkedArray:
    """Return the column of features of rows."""
    return pa.chunked_array([pa.array([{name: row[name] for name in kinds} for row in rows], struct(kinds))])


def write_table(
    store: Store,
    splits: Mapping[str, Sequence[Row]],
    kinds: Mapping[str, Kind] = HOUSES,
    *,
    target: str = "price",
    labels: Sequence[str] = (),
) -> str:
    """Put rows into the store as ingest does, each a group of its own unless it names one; return the address."""
    answer = ("label", pa.int32()) if labels else ("target", pa.float64())
    schema = pa.schema([("id", pa.string()), ("features", struct(kinds)), answer, ("group", pa.uint64())])
    meta = {"kind": "labelled-table", "target": target, "features": dict(kinds)}
    writer = DatasetWriter(store, schema, {**meta, **({"labels": list(labels)} if labels else {})})
    for split, rows in splits.items():
        ids = [sha256_hex(repr(sorted(row.items())))[:32] for row in rows]
        columns = {
            "id": pa.array(ids),
            "features": features(rows, kinds).combine_chunks(),
            answer[0]: pa.array([row[target] for row in rows], answer[1]),
            "group": pa.array(
                [row.get("group", int(one[:15], 16)) for row, one in zip(rows, ids, strict=True)], pa.uint64()
            ),
        }
        writer.add(split, pa.table(columns, schema=schema))
    return writer.commit().address


def house_splits(count: int = 240, seed: int = 0) -> dict[str, list[Row]]:
    """Return houses in three splits."""
    rows = houses(count, seed)
    first, second = int(count * 0.6), int(count * 0.8)
    return {"train": rows[:first], "validation": rows[first:second], "test": rows[second:]}


def classed(splits: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """Return rows whose price is a class: 0 where it is cheap, 1 where it is dear."""
    return {split: [{**row, "price": int(row["price"] > 400)} for row in rows] for split, rows in splits.items()}
