"""Datasets: Parquet shards by split, and a manifest whose digest is the dataset's name.

The same rows in the same shards give the same id in every store: the bytes depend on them and on pyarrow's version.
"""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from modelmill.errors import ModelmillError
from modelmill.store import Blob, Store
from modelmill.store.backend import check_name

_ADDRESS = re.compile("datasets/([0-9a-f]{64})")
_MADE_ADDRESS = re.compile("made/[0-9a-f]{64}/([0-9a-f]{64})")

# Every option that shapes the bytes is named, so that another default of pyarrow does not rename every dataset.
_PARQUET: Mapping[str, Any] = MappingProxyType(
    {
        "version": "2.6",
        "data_page_version": "1.0",
        "data_page_size": 1 << 20,
        "dictionary_pagesize_limit": 1 << 20,
        "write_batch_size": 1024,
        # Rows that a reader holds at once at the least: 65,536 rows of 128 tokens are 16 MB.
        "row_group_size": 1 << 16,
        "use_dictionary": True,
        "write_statistics": True,
        "compression": "zstd",
        "compression_level": 3,
        "store_schema": True,
        "use_compliant_nested_type": True,
    }
)


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One Parquet file of a split."""

    sha256: str
    bytes: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset in a store; its data are read, and checked, when asked for."""

    store: Store
    id: str
    schema: pa.Schema
    meta: dict[str, Any]
    """What the columns mean: kind, label names, vocabulary size and the like."""
    splits: dict[str, tuple[Shard, ...]]
    attachments: dict[str, Blob]
    """Files that the data cannot be understood without, such as a tokenizer's, by relative path."""

    @property
    def address(self) -> str:
        """Where the dataset lies in any store that holds it."""
        return f"datasets/{self.id}"

    def rows(self, split: str) -> int:
        """Return the number of rows of a split: 0 where it is absent."""
        return sum(shard.rows for shard in self.splits.get(split, ()))

    def table(self, split: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return a whole split in memory, without rows where it is absent.

        Raises:
            ModelmillError: a column is unknown, a shard is missing, or its bytes are not those that were written.
        """
        schema = self._select(columns)
        tables = [self._open(shard).read(columns=schema.names) for shard in self.splits.get(split, ())]
        if not tables:
            return schema.empty_table()
        # The cast copies nothing: Parquet calls the items of a list 'element', the schema what its author did.
        return pa.concat_tables([table.cast(schema) for table in tables])

    def batches(self, split: str, columns: Sequence[str] | None = None, rows: int = 4096) -> Iterator[pa.RecordBatch]:
        """Yield a split in batches of at most `rows` rows, in order, with one shard open at a time.

        Raises:
            ModelmillError: a column is unknown, a shard is missing, or its bytes are not those that were written.
        """
        schema = self._select(columns)
        for shard in self.splits.get(split, ()):
            for batch in self._open(shard).iter_batches(batch_size=rows, columns=schema.names):
                yield batch.cast(schema)

    def fetch_attachments(self, folder: Path, prefix: str = "") -> None:
        """Write the attachments under a prefix into a folder, their names without that prefix.

        Raises:
            ModelmillError: no attachment has that prefix, or its bytes are not those that were put.
        """
        chosen = {name: blob for name, blob in self.attachments.items() if name.startswith(prefix)}
        if prefix and not chosen:
            there = ", ".join(sorted(self.attachments)) or "none"
            raise ModelmillError(f"{self.address}: no attachment under {prefix!r}; there are: {there}")
        for name, blob in sorted(chosen.items()):
            self.store.fetch_blob(blob.sha256, folder / check_name(name.removeprefix(prefix).lstrip("/")))

    def _select(self, columns: Sequence[str] | None) -> pa.Schema:
        names = self.schema.names if columns is None else list(columns)
        unknown = [name for name in names if name not in self.schema.names]
        if unknown:
            raise ModelmillError(f"{self.address}: no column {unknown[0]!r}; there are: {', '.join(self.schema.names)}")
        return pa.schema([self.schema.field(name) for name in names])

    def _open(self, shard: Shard) -> pq.ParquetFile:
        """Return a shard, its bytes checked before the first of them is trusted."""
        # A folder's own file is hashed and then read in place: no copy of the shard in memory.
        file = self.store.blob_file(shard.sha256)
        source = pq.ParquetFile(file or pa.BufferReader(self.store.get_blob(shard.sha256)))
        if source.metadata.num_rows != shard.rows:
            raise ModelmillError(
                f"{self.address}: shard blobs/{shard.sha256} holds {source.metadata.num_rows} rows, the manifest says"
                f" {shard.rows}; make the dataset again"
            )
        return source


@dataclass
class DatasetWriter:
    """Writes a dataset shard by shard; until `commit` nothing of it can be opened."""

    store: Store
    schema: pa.Schema
    meta: Mapping[str, Any]
    attachments: Mapping[str, Blob] = field(default_factory=dict)
    _splits: dict[str, list[Shard]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        # Metadata of pandas and others tell of the program that made the rows, not of the rows.
        self.schema = pa.schema([column.remove_metadata() for column in self.schema])
        for name in self.attachments:
            check_name(name)

    def add(self, split: str, table: pa.Table) -> Shard:
        """Write one shard of a split: one call, one Parquet file, rows in the order given.

        A shard that is in the store already, from this run or an interrupted one, is not sent again.

        Raises:
            ModelmillError: the table has other columns than the dataset, or does not read back as it was written.
        """
        if not table.schema.equals(self.schema):
            ours, theirs = _columns(self.schema), _columns(table.schema)
            raise ModelmillError(f"split {check_name(split)!r}: a shard has columns {theirs}, the dataset has {ours}")
        data = encode(table.cast(self.schema))
        rows = pq.read_table(pa.BufferReader(data)).num_rows
        if rows != table.num_rows:
            raise ModelmillError(f"split {split!r}: {table.num_rows} rows were written to Parquet and {rows} read back")
        blob = self.store.put_blob(data)
        shard = Shard(sha256=blob.sha256, bytes=blob.bytes, rows=rows)
        self._splits.setdefault(split, []).append(shard)
        return shard

    def commit(self) -> Dataset:
        """Put the manifest, last; return the dataset, which is from now on there for every reader."""
        manifest = {
            "schema": base64.b64encode(self.schema.serialize().to_pybytes()).decode(),
            "columns": _columns(self.schema),
            "meta": dict(self.meta),
            "splits": {
                split: [{"sha256": shard.sha256, "bytes": shard.bytes, "rows": shard.rows} for shard in shards]
                for split, shards in self._splits.items()
            },
            "attachments": {
                name: {"sha256": blob.sha256, "bytes": blob.bytes} for name, blob in self.attachments.items()
            },
        }
        return open_dataset(self.store, self.store.put_addressed("datasets", manifest))


def encode(table: pa.Table) -> bytes:
    """Return a table as Parquet; equal tables give equal bytes, however their memory is cut into chunks."""
    sink = pa.BufferOutputStream()
    pq.write_table(table.combine_chunks(), sink, **_PARQUET)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def open_dataset(store: Store, address: str) -> Dataset:
    """Return the dataset at 'datasets/<id>'.

    Raises:
        NotFound: the store has no such dataset.
        ModelmillError: the address is not a dataset's, or its manifest was changed.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ModelmillError(f"{address!r} is no dataset's address; it reads 'datasets/<64 hexadecimal digits>'")
    manifest = store.get_addressed(address)
    return Dataset(
        store=store,
        id=match[1],
        schema=pa.ipc.read_schema(pa.BufferReader(base64.b64decode(manifest["schema"]))),
        meta=manifest["meta"],
        splits={split: tuple(Shard(**shard) for shard in shards) for split, shards in manifest["splits"].items()},
        attachments={name: Blob(**blob) for name, blob in manifest["attachments"].items()},
    )


def write_made(store: Store, dataset_address: str, made: Mapping[str, Any]) -> str:
    """Keep what made a dataset (inputs, settings, code, ledger, rejected rows, report) and return its address.

    It is no part of the dataset's content: 'made/<id of the dataset>/<digest of what is kept>'.
    """
    match = _ADDRESS.fullmatch(dataset_address)
    if match is None:
        raise ModelmillError(f"{dataset_address!r} is no dataset's address")
    return store.put_addressed(f"made/{match[1]}", made)


def read_made(store: Store, address: str) -> dict[str, Any]:
    """Return what `write_made` kept.

    Raises:
        NotFound: the store holds nothing there.
        ModelmillError: the address is not one of those, or what it holds was changed.
    """
    if _MADE_ADDRESS.fullmatch(address) is None:
        raise ModelmillError(f"{address!r} is not an address of what made a dataset; it reads 'made/<id>/<digest>'")
    return store.get_addressed(address)


def _columns(schema: pa.Schema) -> dict[str, str]:
    return {column.name: str(column.type) for column in schema}
