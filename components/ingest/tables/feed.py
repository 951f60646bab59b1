"""The rows of a source's tables in batches, from where the first pass put them, and what is done with a batch."""

# N rows kept

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.ingest.labels import labeller
from components.ingest.rows import Handed, Listed
from components.ingest.settings import IngestSettings, LabelRule
from components.ingest.tables.convert import Converted, convert
from components.ingest.tables.ident import feature_ids, row_ids
from components.ingest.tables.prepare import PreparedTable
from components.ingest.tables.rows import TableRows
from components.ingest.tables.schema import Schema
from components.ingest.tables.settings import Table
from components.ingest.text.personal import Personal
from components.ingest.work import ID_BYTES, Worked, draw, group_hash
from components.ingest.work_parts import Dropped

# Values of a text column are never among what convert shows of a row.
_SHOWN = Personal(action="keep")
_MICROSECONDS = 1e6

Integers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True)
class TableOrder:
    """What is to be done with the rows of one source."""

    schema: Schema
    settings: Table
    label: LabelRule | None
    """How the target becomes classes; nothing in a regression."""
    classes: bool
    """Whether the target is a class, or a number."""
    sample: float
    by_time: bool
    """Whether a row without a time is a bad one."""
    columns: pa.Schema
    """What the rows hold on the way."""


def feed_table(
    settings: IngestSettings, listed: Listed, table: PreparedTable
) -> tuple[Callable[[Any], Worked], Iterator[Handed]]:
    """Return what is to be done with each batch of a source, and the batches."""
    assert settings.table is not None
    order = TableOrder(
        schema=table.schema.without_figures(),
        settings=settings.table,
        label=settings.label,
        classes=table.payload.classes,
        sample=listed.source.sample,
        by_time=settings.split.by == "time",
        columns=table.payload.columns,
    )
    return partial(work_table, order), _handed(listed, table)


def work_table(order: TableOrder, rows: TableRows) -> Worked:
    """Convert the rows of a batch, and make them comparable.

    Raises:
        UserError: a value is missing or out of range where the settings say `fail`.
    """
    dropped, unlabelled = Dropped(personal=_SHOWN), Dropped(personal=_SHOWN)
    made = convert(rows.table, rows.numbers, order.schema, order.settings)
    for row in made.rejected:
        dropped.add(row.row, row.reason, row.text, row.detail)
    numbers, features = rows.numbers[made.kept], order.schema.features
    by_features = feature_ids(made.table, features)
    ids = by_features if order.classes else row_ids(made.table, features, order.schema.target)
    good = _sampled(order, ids.to_pylist(), numbers, dropped)
    table, numbers = made.table.take(pa.array(good)), numbers[good]
    time_N = _times(order, table)
    return Worked(
        numbers=numbers,
        payload=_payload(order, table, made, good),
        labels=_labels(order, table, numbers, time_N, unlabelled),
        group_N=_groups(order, table),
        time_N=time_N,
        ids=b"".join(ids.take(pa.array(good)).to_pylist()),
        # Rows with the same features meet, so that they never part between splits.
        keys_MB=_words(by_features.take(pa.array(good))),
        having_M=np.arange(len(good)),
        hash_N=np.zeros(len(good), dtype=np.uint64),
        masked=Counter(),
        noted=Counter({"clipped values": made.clipped, "rows with an outlier": int(made.outlier[good].sum())}),
        dropped=dropped,
        unlabelled=unlabelled,
    )


def _sampled(order: TableOrder, ids: list[bytes], numbers: Integers, dropped: Dropped) -> Integers:
    if order.sample == 1:
        return np.arange(len(ids))
    good = []
    for place, each in enumerate(ids):
        if draw(each) < order.sample:
            good.append(place)
        else:
            dropped.add(int(numbers[place]), "not_sampled", "", f"sample is {order.sample:g}")
    return np.array(good, dtype=np.int64)


def _payload(order: TableOrder, table: Any, made: Converted, good: Integers) -> Any:
    fields = order.columns.field("features").type
    columns = [pa.StructArray.from_arrays([table.column(each.name) for each in fields], fields=list(fields))]
    if not order.classes:
        columns.append(table.column(order.schema.target).cast(pa.float64()))
    if "outlier" in order.columns.names:
        columns.append(pa.array(made.outlier[good]))
    return pa.table(columns, schema=order.columns)


def _labels(
    order: TableOrder,
    table: Any,
    numbers: Integers,
    time_N: npt.NDArray[np.float64],
    unlabelled: Dropped,
) -> list[str | None]:
    """Return the class of each row, '' in a regression, and None for a row that cannot be used."""
    label_of = labeller(order.label)
    targets = table.column(order.schema.target)
    if pa.types.is_timestamp(targets.type):
        targets = targets.cast(pa.string())
    names: list[str | None] = []
    for place, value in enumerate(targets.to_pylist()):
        name, reason, detail = label_of(value) if order.classes else ("", "", "")
        if order.by_time and name is not None and np.isnan(time_N[place]):
            name, reason, detail = None, "bad_time", f"column {order.settings.time!r} is empty, and split.by is time"
        if name is None:
            unlabelled.add(int(numbers[place]), reason, str(value), detail)
        names.append(name)
    return names


def _groups(order: TableOrder, table: Any) -> Words:
    if order.schema.group is None:
        return np.zeros(table.num_rows, dtype=np.uint64)
    return np.array(list(map(group_hash, table.column(order.schema.group).to_pylist())), dtype=np.uint64)


def _times(order: TableOrder, table: Any) -> npt.NDArray[np.float64]:
    if order.schema.time is None:
        return np.full(table.num_rows, np.nan)
    column = table.column(order.schema.time)
    if pa.types.is_timestamp(column.type):
        seconds: npt.NDArray[np.float64] = column.cast(pa.int64()).cast(pa.float64()).to_numpy(zero_copy_only=False)
        return seconds / _MICROSECONDS
    return np.asarray(pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False))


def _words(ids: Any) -> Words:
    """Return the leading 8 bytes of each id, in one band."""
    data = np.frombuffer(b"".join(ids.to_pylist()), dtype=">u8").reshape(-1, ID_BYTES // 8)
    return data[:, :1].astype(np.uint64)


def _handed(listed: Listed, table: PreparedTable) -> Iterator[Handed]:
    before = 0
    for file in table.files[listed.source.uri]:
        for rows in file.batches():
            read = len(rows.numbers) + len(rows.bad)
            yield Handed(uri=file.uri, read=read, bad=rows.bad, batch=replace(rows, bad=()), done=before)
        # A file without a row has its place in the ledger too.
        yield Handed(uri=file.uri, read=0, bad=(), batch=None, done=before)
        before += file.bytes
        file.path.unlink()
