"""A few numbers of every row that was read: all that deciding over them needs, while their texts lie on disk."""

# N rows, B bands

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from components.ingest.clusters import MAX_ROWS
from modelmill.errors import UserError

Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]


@dataclass(kw_only=True)
class Index:
    """Rows by number, in the order of reading."""

    rows: int = 0
    _parts: dict[str, list[npt.NDArray[Any]]] = field(default_factory=dict, init=False)
    _labels: dict[str, int] = field(default_factory=dict, init=False)

    def add(
        self,
        ids: bytes,
        labels: Sequence[str | None],
        *,
        labelled: bool,
        groups: Words,
        times: npt.NDArray[np.float64],
        hashes: Words,
        source: int = 0,
        ties: Words | None = None,
    ) -> Integers:
        """Add rows by their ids, 16 bytes each, and return their numbers.

        Raises:
            UserError: there are more rows than can be numbered.
        """
        high, low = np.frombuffer(ids, dtype=">u8").reshape(-1, 2).T.astype(np.uint64)
        count = len(high)
        if self.rows + count > MAX_ROWS:
            raise UserError(f"more than {MAX_ROWS} rows in one ingest; split the sources over several recipes")
        codes = [-1 if label is None else self._labels.setdefault(label, len(self._labels)) for label in labels]
        for name, part in (
            ("high", high),
            ("low", low),
            ("label", np.array(codes, dtype=np.int32)),
            ("labelled", np.full(count, labelled)),
            ("group", groups),
            ("time", times),
            ("hash", hashes),
            ("source", np.full(count, source, dtype=np.int32)),
            ("tie", np.zeros(count, dtype=np.uint64) if ties is None else ties),
        ):
            self._parts.setdefault(name, []).append(part)
        self.rows += count
        return np.arange(self.rows - count, self.rows)

    @property
    def high_N(self) -> Words:
        """The leading 8 bytes of each row's id."""
        return self._column("high", np.uint64)

    @property
    def low_N(self) -> Words:
        """The trailing 8 bytes of each row's id."""
        return self._column("low", np.uint64)

    @property
    def label_N(self) -> npt.NDArray[np.int32]:
        """A number for each row's label, -1 where it has none that can be used."""
        return self._column("label", np.int32)

    @property
    def labelled_N(self) -> Booleans:
        """Whether each row comes from a labelled source."""
        return self._column("labelled", np.bool_)

    @property
    def group_N(self) -> Words:
        """A hash of each row's group, 0 where it has none."""
        return self._column("group", np.uint64)

    @property
    def time_N(self) -> npt.NDArray[np.float64]:
        """Each row's time, NaN where it has none."""
        return self._column("time", np.float64)

    @property
    def hash_N(self) -> Words:
        """The perceptual hash of each picture, 0 where there is none to compare by."""
        return self._column("hash", np.uint64)

    @property
    def source_N(self) -> npt.NDArray[np.int32]:
        """The number of the source that each row comes from."""
        return self._column("source", np.int32)

    @property
    def tie_N(self) -> Words:
        """What decides which of rows with the same id is kept: the smallest; 0 where it makes no difference."""
        return self._column("tie", np.uint64)

    def _column(self, name: str, kind: Any) -> npt.NDArray[Any]:
        parts = self._parts.get(name, [])
        if len(parts) != 1:
            self._parts[name] = [np.concatenate(parts) if parts else np.zeros(0, dtype=kind)]
        return self._parts[name][0]
