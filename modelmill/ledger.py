"""The ledger: per source file, rows read = rows kept + rows dropped by reason, with samples of what was dropped."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from modelmill.errors import ModelmillError

SAMPLES = 20
"""Dropped rows that are kept to be looked at, per file and reason."""
SAMPLE_CHARS = 500
"""A sample's text is cut there, in characters."""

REJECTED_SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("row", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("text", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A row that was dropped."""

    row: int
    """As a person counts in the file, from 1."""
    reason: str
    text: str
    """What stood there, as far as it could be read."""
    detail: str = ""
    """What exactly is wrong with it, such as both numbers."""


@dataclass
class FileLedger:
    """What became of one file's rows."""

    read: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[Rejected]] = field(default_factory=dict)

    def drop(self, rows: Iterable[Rejected]) -> None:
        """Count dropped rows and keep the first of each reason as samples."""
        for row in rows:
            self.dropped[row.reason] += 1
            self.sample(row)

    def drop_counted(self, reason: str, count: int) -> None:
        """Count dropped rows that are not at hand one by one; `sample` takes some of them."""
        if count:
            self.dropped[reason] += count

    def sample(self, row: Rejected) -> None:
        """Keep a dropped row to be looked at, as long as there are few of its reason."""
        if self.wants(row.reason):
            self.samples.setdefault(row.reason, []).append(row)

    def wants(self, reason: str) -> int:
        """Return how many more samples of a reason are welcome."""
        return SAMPLES - len(self.samples.get(reason, ()))

    def add(self, other: "FileLedger") -> None:
        """Add what became of other rows of the same file."""
        self.read += other.read
        self.kept += other.kept
        self.dropped.update(other.dropped)
        for rows in other.samples.values():
            for row in rows:
                self.sample(row)


@dataclass
class Ledger:
    """What became of all rows, by source file in the order in which they were read."""

    files: dict[str, FileLedger] = field(default_factory=dict)

    def file(self, uri: str) -> FileLedger:
        """Return the ledger of a file, an empty one at first."""
        return self.files.setdefault(uri, FileLedger())

    @property
    def read(self) -> int:
        """Rows read from all files."""
        return sum(file.read for file in self.files.values())

    @property
    def kept(self) -> int:
        """Rows kept of all files."""
        return sum(file.kept for file in self.files.values())

    @property
    def dropped(self) -> Counter[str]:
        """Rows dropped from all files, by reason."""
        return sum((file.dropped for file in self.files.values()), Counter())

    def merge(self, other: "Ledger") -> None:
        """Add another ledger to this one, file by file."""
        for uri, file in other.files.items():
            self.file(uri).add(file)

    def check(self) -> None:
        """Make sure that every row read is accounted for.

        Raises:
            ModelmillError: a file's numbers do not add up, which is a fault of the program.
        """
        for uri, file in self.files.items():
            dropped = file.dropped.total()
            if file.read != file.kept + dropped:
                raise ModelmillError(
                    f"{uri}: ledger is off: {file.read} rows read, but {file.kept} kept + {dropped} dropped "
                    f"= {file.kept + dropped}; this is a fault of modelmill, please report it"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain values, in total and by file; the samples are in `rejected`."""
        files = {uri: _counts(file.read, file.kept, file.dropped) for uri, file in self.files.items()}
        return {**_counts(self.read, self.kept, self.dropped), "files": files}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Ledger":
        """Return the ledger that `to_dict` wrote, without samples."""
        return cls(
            {
                uri: FileLedger(read=file["read"], kept=file["kept"], dropped=Counter(file["dropped"]))
                for uri, file in value["files"].items()
            }
        )

    def rejected(self) -> pa.Table:
        """Return the samples of dropped rows as a table: file, row, reason, detail, text."""
        rows = [
            {
                "file": uri,
                "row": row.row,
                "reason": reason,
                "detail": row.detail,
                "text": row.text[:SAMPLE_CHARS].encode(errors="replace").decode(),
            }
            for uri, file in self.files.items()
            for reason, samples in sorted(file.samples.items())
            for row in samples
        ]
        return pa.Table.from_pylist(rows, schema=REJECTED_SCHEMA)


def _counts(read: int, kept: int, dropped: Mapping[str, int]) -> dict[str, Any]:
    return {"read": read, "kept": kept, "dropped": dict(sorted(dropped.items()))}
