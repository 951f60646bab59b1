"""Which rows belong together: rows that meet under one key are linked, and what is linked is one cluster."""

# N rows, E links

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

_ENTRY = np.dtype([("key", "<u8"), ("row", "<u4")])
MAX_ROWS = 1 << 32
"""Rows that one ingest may read: as many as an entry can number."""


class Clusters:
    """A union-find over row numbers; the root of a cluster is its smallest row."""

    def __init__(self, rows: int) -> None:
        self._parent = np.arange(rows, dtype=np.int64)

    def link(self, one_E: Integers, other_E: Integers) -> None:
        """Put each pair of rows into one cluster."""
        while True:
            one_E, other_E = self._parent[one_E], self._parent[other_E]
            apart = one_E != other_E
            if not apart.any():
                return
            one_E, other_E = one_E[apart], other_E[apart]
            # Roots only ever point down, so the loop ends: each round lowers some root.
            np.minimum.at(self._parent, np.maximum(one_E, other_E), np.minimum(one_E, other_E))
            self._flatten()

    def link_equal(self, key_M: Hashes, row_M: Integers) -> None:
        """Put all rows that have the same key into one cluster."""
        # In any order among equal ones: they become one cluster all the same.
        order = np.argsort(key_M)
        key_M, row_M = key_M[order], row_M[order]
        same = np.flatnonzero(key_M[1:] == key_M[:-1])
        self.link(row_M[same], row_M[same + 1])

    @property
    def root_N(self) -> Integers:
        """The root of each row's cluster."""
        return self._parent

    def copy(self) -> "Clusters":
        """Return clusters that grow on their own from here."""
        other = Clusters(0)
        other._parent = self._parent.copy()
        return other

    def _flatten(self) -> None:
        while True:
            above = self._parent[self._parent]
            if np.array_equal(above, self._parent):
                return
            self._parent = above


@dataclass
class Meetings:
    """Keys under which rows may meet, kept on disk band by band: memory holds one band while rows are linked."""

    folder: Path
    _bands: int = field(default=0, init=False)

    def add(self, keys_MB: Hashes, row_M: Integers) -> None:
        """Add rows with a key for each band."""
        for band, key_M in enumerate(keys_MB.T):
            entries = np.empty(len(row_M), dtype=_ENTRY)
            entries["key"], entries["row"] = key_M, row_M
            with self._path(band).open("ab") as file:
                entries.tofile(file)
        self._bands = max(self._bands, keys_MB.shape[1])

    def link(self, clusters: Clusters) -> None:
        """Link all rows that meet; to be called once."""
        for band in range(self._bands):
            entries = np.fromfile(self._path(band), dtype=_ENTRY)
            clusters.link_equal(entries["key"].copy(), entries["row"].astype(np.int64))
            self._path(band).unlink()

    def _path(self, band: int) -> Path:
        return self.folder / f"band-{band:03}.keys"
