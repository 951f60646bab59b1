"""The report as data: what the page is drawn from, each part left out where there is nothing to say of it.

All of it is plain numbers and texts, so that it goes to JSON and back. Masked values are masked here already, and long
texts may be given whole: the page cuts them.
"""

import math
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from components.ingest.report.plain import Part, plain, read

# No more than an image: what else a browser would do with a data URI is not the page's business.
_IMAGE = re.compile(r"data:image/(?:png|jpeg);base64,[A-Za-z0-9+/]+={0,2}")


@dataclass(frozen=True, kw_only=True)
class FileFacts(Part):
    """What became of the rows of one source file."""

    uri: str
    read: int
    kept: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Rows by reason."""


@dataclass(frozen=True, kw_only=True)
class DatasetFacts(Part):
    """One of the datasets that were made, and what became of the rows that were read for it."""

    name: str
    """`corpus` or `labelled`."""
    address: str
    kind: str = ""
    """What its rows are, such as `labelled-text`."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """Rows by split, in the order in which they are shown."""
    read: int
    kept: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Rows by reason."""
    files: tuple[FileFacts, ...] = ()

    @classmethod
    def of(
        cls, name: str, address: str, kind: str, rows: Mapping[str, int], ledger: Mapping[str, Any]
    ) -> "DatasetFacts":
        """Return the facts of a dataset from what `Ledger.to_dict` wrote."""
        files = (
            FileFacts(uri=uri, read=file["read"], kept=file["kept"], dropped=file["dropped"])
            for uri, file in ledger["files"].items()
        )
        totals = {total: ledger[total] for total in ("read", "kept", "dropped")}
        return cls(name=name, address=address, kind=kind, rows=rows, files=tuple(files), **totals)


@dataclass(frozen=True, kw_only=True)
class Stage(Part):
    """One step of the funnel."""

    reason: str
    """Why rows were dropped."""
    left: int
    """Rows after it."""


@dataclass(frozen=True, kw_only=True)
class Funnel(Part):
    """How many rows are left after each reason, in the order in which rows meet them."""

    name: str = ""
    """The dataset, where there are two."""
    read: int
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        for before, after in pairwise([self.read, *(stage.left for stage in self.stages)]):
            if not 0 <= after <= before:
                raise ValueError(f"funnel {self.name!r}: {after} rows are left of {before}")

    @classmethod
    def of(cls, name: str, read: int, dropped: Mapping[str, int]) -> "Funnel":
        """Return the funnel of a ledger's totals, its reasons in the order of the mapping."""
        left, stages = read, []
        for reason, count in dropped.items():
            left -= count
            stages.append(Stage(reason=reason, left=left))
        return cls(name=name, read=read, stages=tuple(stages))


@dataclass(frozen=True, kw_only=True)
class Histogram(Part):
    """How a figure is distributed in each split."""

    name: str
    """What is shown, such as `length`."""
    unit: str
    """Of the edges, such as `characters`."""
    edges: tuple[float, ...]
    """Where bins begin and end, ascending: half-open, the last one closed. They need not be evenly spaced."""
    counts: Mapping[str, tuple[int, ...]]
    """Rows in each bin, by split."""

    def __post_init__(self) -> None:
        if any(not low < high for low, high in pairwise(self.edges)) or not all(map(math.isfinite, self.edges)):
            raise ValueError(f"histogram {self.name!r}: its edges do not ascend")
        for split, counts in self.counts.items():
            if len(counts) != len(self.edges) - 1:
                raise ValueError(
                    f"histogram {self.name!r}: {len(counts)} counts of {split!r} between {len(self.edges)} edges"
                )


@dataclass(frozen=True, kw_only=True)
class Balance(Part):
    """How often each value occurs in each split: labels, languages."""

    name: str
    counts: Mapping[str, Mapping[str, int]]
    """Rows by split and value; few values are shown in the order of the first split, many by their rows."""
    note: str = ""
    """What must be known of the figures, such as how many rows were looked at."""


@dataclass(frozen=True, kw_only=True)
class Sample(Part):
    """A row that was dropped or changed."""

    reason: str
    file: str
    row: int
    """As a person counts in the file, from 1."""
    before: str
    after: str | None = None
    """What cleaning made of it; None where the row was dropped."""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture(Part):
    """A thumbnail of the contact sheet."""

    source: str
    """A data URI of a PNG or a JPEG, at most 128 pixels a side."""
    name: str = ""
    """The file, or the member of an archive."""
    label: str = ""
    split: str = ""
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _IMAGE.fullmatch(self.source):
            raise ValueError(f"picture {self.name!r}: its source is no data URI of a PNG or JPEG")


@dataclass(frozen=True, kw_only=True)
class Pictures(Part):
    """The contact sheet."""

    total: int
    """Pictures in the datasets, of which some are shown."""
    flags: Mapping[str, int] = field(default_factory=dict)
    """Pictures by flag."""
    shown: tuple[Picture, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ColumnFacts(Part):
    """What one column of a table holds."""

    name: str
    kind: str
    rows: int
    missing: int = 0
    """Rows without a value here."""
    distinct: int | None = None
    """Distinct values; None where they were not counted."""
    figures: tuple[float, float, float, float, float] | None = None
    """Smallest, lower quartile, median, upper quartile, largest."""
    top: tuple[tuple[str, int], ...] = ()
    """The most frequent values with their rows, most frequent first."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Member(Part):
    """A row of a cluster of near-duplicates."""

    file: str
    row: int
    text: str
    split: str = ""
    reason: str = ""
    """Why it was dropped; '' where it was kept."""


@dataclass(frozen=True, kw_only=True)
class Cluster(Part):
    """Near-duplicates of each other."""

    size: int
    """Rows in it, of which some are shown."""
    members: tuple[Member, ...]


@dataclass(frozen=True, kw_only=True)
class Clusters(Part):
    """The clusters of near-duplicates, of two rows at least."""

    count: int
    rows: int
    """Rows in all of them."""
    sizes: tuple[tuple[int, int], ...] = ()
    """(rows in a cluster, how many clusters have so many)."""
    examples: tuple[Cluster, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Proof(Part):
    """Whether what was split is apart; a figure that was not found out is None."""

    groups: Mapping[str, int] = field(default_factory=dict)
    """Groups by split."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """Rows by split."""
    straddling: int | None = None
    """Groups with rows in two splits; must be 0."""
    equal: int | None = None
    """Texts, pictures or rows that stand in two splits; must be 0."""
    near: int | None = None
    """Keys of near-duplicates that two splits share; must be 0."""
    held_out: int | None = None
    """Rows of the corpus that were taken out because validation or test rows, or rows near them, are the same."""
    contaminated: int | None = None
    """Rows of the corpus that were taken out because they hold a run of words of a validation or test row."""
    sentences: tuple[str, ...] = ()
    """What was checked, and how."""

    @property
    def leaks(self) -> tuple[int, ...]:
        """The figures that must be 0 and are not."""
        return tuple(value for value in (self.straddling, self.equal, self.near) if value)

    @property
    def checked(self) -> bool:
        """Whether any figure that must be 0 was found out."""
        return any(value is not None for value in (self.straddling, self.equal, self.near))


@dataclass(frozen=True, kw_only=True)
class Facts(Part):
    """All that ingest found out about its data."""

    title: str = "ingest"
    """The recipe's name."""
    warnings: tuple[str, ...] = ()
    """Sentences that must not be overlooked."""
    datasets: tuple[DatasetFacts, ...] = ()
    funnels: tuple[Funnel, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    balances: tuple[Balance, ...] = ()
    samples: tuple[Sample, ...] = ()
    pictures: Pictures | None = None
    columns: tuple[ColumnFacts, ...] = ()
    drift: tuple[str, ...] = ()
    """How the table has moved from the one before, a sentence each."""
    clusters: Clusters | None = None
    proof: Proof | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain values, to be written as JSON; what is no Unicode text becomes '?'."""
        return plain(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Facts":
        """Return the facts that `to_dict` wrote.

        Raises:
            ModelmillError: they are no such facts.
        """
        return read(cls, value)


def data_uri(image: bytes) -> str:
    """Return the data URI of the bytes of a PNG or JPEG.

    Raises:
        ValueError: they are neither.
    """
    kinds = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}
    for magic, kind in kinds.items():
        if image.startswith(magic):
            return f"data:image/{kind};base64,{b64encode(image).decode()}"
    raise ValueError(f"a thumbnail is a PNG or a JPEG, not {image[:8]!r}")
