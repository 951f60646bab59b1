"""How numbers are distributed, in bounded memory, the same in whatever order and parts they come.

A float64 is a place on a line of 2^64 places in the order of its values; near any number the places lie as close as its
own precision. A sketch counts values in equal stretches of that line, 2^shift places each, with the smallest shift at
which no more than MAX_BINS stretches are occupied. Fewer distinct values than that are therefore counted exactly, and
neither one far value nor the scale of the column takes the precision from the rest. To merge and to coarsen are exact,
so that the shift and the counts hang on the values alone. After the uniform collapse of UDDSketch (Epicoco et al. 2020,
arXiv:2004.08604).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

MAX_BINS = 2048
"""Stretches that are occupied at most; quantiles of a million values of one scale are then good to about 1 %."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_BELOW_SIGN = np.int64(0x7FFFFFFFFFFFFFFF)


def _nothing() -> Integers:
    return np.zeros(0, dtype=np.int64)


@dataclass
class Sketch:
    """Counts of finite numbers by stretches of the line of float64 values."""

    shift: int = 0
    """A stretch holds 2^shift places; at 0 every distinct value has its own."""
    keys: Integers = field(default_factory=_nothing)
    """The occupied stretches, ascending."""
    counts: Integers = field(default_factory=_nothing)
    """Values in each."""

    @property
    def total(self) -> int:
        """Values counted."""
        return int(self.counts.sum())

    def add(self, values: Floats) -> None:
        """Count finite values."""
        keys, counts = np.unique(_places(values) >> self.shift, return_counts=True)
        self._take(keys, counts.astype(np.int64))

    def merge(self, other: "Sketch") -> None:
        """Count the values of another sketch as well."""
        shift = max(self.shift, other.shift)
        mine, theirs = self.coarsened(shift), other.coarsened(shift)
        self.shift, self.keys, self.counts = shift, mine.keys, mine.counts
        self._take(theirs.keys, theirs.counts)

    def coarsened(self, shift: int) -> "Sketch":
        """Return the sketch with wider stretches, as if it had counted by them from the first value on."""
        return Sketch(shift, *_summed(self.keys >> (shift - self.shift), self.counts))

    def within(self, bins: int) -> "Sketch":
        """Return the finest coarser sketch with no more than so many occupied stretches."""
        sketch = self
        while len(sketch.keys) > bins:
            sketch = sketch.coarsened(sketch.shift + 1)
        return sketch

    def values(self) -> Floats:
        """Return the value that stands for each occupied stretch: its middle, or the value itself where it is exact."""
        first = self.keys << self.shift
        if not self.shift:
            return _value(first)
        # The outermost stretches may reach beyond the last finite number.
        low, high = (_value(places.clip(*_FINITE)) for places in (first, first + np.int64((1 << self.shift) - 1)))
        return low / 2 + high / 2

    def quantiles(self, shares: Sequence[float]) -> Floats:
        """Return the values below which such shares of all lie, those of the stretch where a share is reached.

        The sketch must not be empty.
        """
        ranks = np.ceil(np.asarray(shares) * self.total).clip(1)
        found: Floats = self.values()[np.searchsorted(np.cumsum(self.counts), ranks)]
        return found

    def histogram(self, edges: Floats) -> Integers:
        """Return how many values lie up to the first edge, edge included, up to each next one, and above the last."""
        places = np.searchsorted(edges, self.values(), side="left")
        return np.bincount(places, weights=self.counts, minlength=len(edges) + 1).astype(np.int64)

    def to_dict(self) -> dict[str, Any]:
        """Return the sketch as plain values."""
        return {"shift": self.shift, "keys": self.keys.tolist(), "counts": self.counts.tolist()}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Return the sketch that `to_dict` wrote."""
        keys, counts = (np.array(value[name], dtype=np.int64) for name in ("keys", "counts"))
        return cls(int(value["shift"]), keys, counts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sketch) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def _take(self, keys: Integers, counts: Integers) -> None:
        merged = _summed(np.concatenate((self.keys, keys)), np.concatenate((self.counts, counts)))
        coarser = Sketch(self.shift, *merged).within(MAX_BINS)
        self.shift, self.keys, self.counts = coarser.shift, coarser.keys, coarser.counts


def _summed(keys: Integers, counts: Integers) -> tuple[Integers, Integers]:
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1]))) if len(keys) else _nothing()
    return keys[starts], np.add.reduceat(counts, starts) if len(keys) else counts


def _places(values: Floats) -> Integers:
    """Return the places of values on the line: signed numbers that sort as the values do; -0 is 0."""
    bits = (values + 0.0).view(np.int64)
    return bits ^ ((bits >> 63) & _BELOW_SIGN)


def _value(places: Integers) -> Floats:
    bits = places ^ ((places >> 63) & _BELOW_SIGN)
    return bits.view(np.float64)


_FINITE = tuple(_places(np.array([np.finfo(np.float64).min, np.finfo(np.float64).max])).tolist())
