"""What was fitted for one column, and how its values become numbers by it."""

# N rows, P numbers of a column

from collections import Counter
from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from modelmill.errors import UserError
from modelmill.settings import Section
from modelmill.tables.settings import DatePart, Encoding, NonFinite, Unknown
from modelmill.tables.values import Array, Values

Floats = npt.NDArray[np.float64]
Where = Callable[[int], str]
"""From a row's place to how a person finds it."""

_SECONDS_OF_DAY = 86_400.0


class Part(Section):
    """One number that a column gives."""

    name: str
    """Of the number in the vector."""
    fill: float
    """What a missing one becomes, in the column's own unit."""
    shift: float
    """Taken off."""
    scale: float
    """Divided by, after that."""


class FittedNumbers(Section):
    """A column of numbers, truth values or dates."""

    form: Literal["numbers"] = "numbers"
    name: str
    kind: Literal["number", "integer", "boolean", "date"]
    parts: tuple[Part, ...]
    dates: tuple[DatePart, ...] = ()
    """Which number of a date each part is."""
    indicator: bool
    """Whether a last number says that the value is missing."""
    non_finite: NonFinite

    @property
    def names(self) -> tuple[str, ...]:
        """The numbers of the vector by name."""
        return (*(part.name for part in self.parts), *((f"{self.name}=missing",) if self.indicator else ()))

    def apply(self, values: Values, where: Where, counts: Counter[str]) -> Floats:
        """Return the numbers [N, P].

        Raises:
            UserError: a number is not finite, and the settings say `fail`.
        """
        values = finite(self.name, values, self.non_finite, where, counts)
        counts["missing"] += int(values.missing.sum())
        columns = []
        for part, raw_N in zip(self.parts, numbers_of(values, self.dates), strict=True):
            with np.errstate(over="ignore"):
                columns.append((np.where(values.missing, part.fill, raw_N) - part.shift) / part.scale)
        if self.indicator:
            columns.append(values.missing.astype(np.float64))
        return np.stack(columns, axis=1)


class FittedCategory(Section):
    """A column of names."""

    form: Literal["category"] = "category"
    name: str
    kind: Literal["category"] = "category"
    categories: tuple[str, ...] = Field(min_length=1)
    """The names of the training rows, sorted."""
    fill: str
    """What a missing name becomes: the most frequent one."""
    encode: Encoding
    unknown: Unknown
    shift: float = 0.0
    """Of `ordinal`: taken off the name's place."""
    scale: float = 1.0
    indicator: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The numbers of the vector by name."""
        own = (self.name,) if self.encode == "ordinal" else tuple(f"{self.name}={name}" for name in self.categories)
        return (*own, *((f"{self.name}=missing",) if self.indicator else ()))

    def apply(self, values: Values, where: Where, counts: Counter[str]) -> Floats:
        """Return the numbers [N, P].

        Raises:
            UserError: a name is not among those of the training rows, and the settings say `fail`.
        """
        counts["missing"] += int(values.missing.sum())
        places = {name: place for place, name in enumerate(self.categories)}
        fill = places[self.fill]
        place_N = np.array([places.get(name, -1) for name in values.data.tolist()], dtype=np.int64)
        place_N[values.missing] = fill
        unknown = np.flatnonzero(place_N < 0)
        if len(unknown) and self.unknown == "fail":
            first = int(unknown[0])
            raise UserError(
                f"{where(first)}, column {self.name!r}: {str(values.data[first])[:60]!r} is none of the "
                f"{len(self.categories)} names of the training rows (such as {self.categories[0]!r}); correct it, or "
                "set preprocess.tables.unknown to ignore or most_frequent"
            )
        counts["unknown"] += len(unknown)
        if self.unknown == "most_frequent":
            place_N[unknown] = fill
        columns = [self._encoded(place_N)]
        if self.indicator:
            columns.append(values.missing.astype(np.float64)[:, None])
        return np.concatenate(columns, axis=1)

    def _encoded(self, place_N: Array) -> Floats:
        if self.encode == "ordinal":
            ordinal_N: Floats = (place_N.astype(np.float64) - self.shift) / self.scale
            return ordinal_N[:, None]
        one_hot_NP: Floats = (place_N[:, None] == np.arange(len(self.categories))).astype(np.float64)
        return one_hot_NP


Fitted = Annotated[FittedNumbers | FittedCategory, Field(discriminator="form")]


def finite(name: str, values: Values, policy: NonFinite, where: Where, counts: Counter[str]) -> Values:
    """Return the values of which none is infinite or NaN; dates and truth values are as they were.

    Raises:
        UserError: one is, and it is not to be imputed.
    """
    if values.data.dtype != np.float64:
        return values
    wrong = ~np.isfinite(values.data) & ~values.missing
    count = int(wrong.sum())
    if count and policy == "fail":
        first = int(np.flatnonzero(wrong)[0])
        raise UserError(
            f"{where(first)}, column {name!r}: {values.data[first]:g} is not finite, as are {count:,} of "
            f"{len(values.data):,} values; mend the data, or set preprocess.tables.non_finite to impute"
        )
    counts["non_finite"] += count
    return values.with_missing(wrong)


def numbers_of(values: Values, dates: tuple[DatePart, ...]) -> list[Floats]:
    """Return the numbers of a column, one array [N] for each part of a date."""
    if values.data.dtype == np.float64:
        return [values.data]
    return [_DATES[part](values.data) for part in dates]


def _since(data: Array, larger: str, smaller: str) -> Floats:
    """Return how many of a smaller unit have gone by since the larger one began."""
    begun = data.astype(f"datetime64[{larger}]").astype(f"datetime64[{smaller}]")
    passed: Floats = (data.astype(f"datetime64[{smaller}]") - begun).astype(np.float64)
    return passed


def _days(data: Array) -> Floats:
    days: Floats = data.astype(np.int64).astype(np.float64) / (1e6 * _SECONDS_OF_DAY)
    return days


_DATES: dict[DatePart, Callable[[Array], Floats]] = {
    "days": _days,
    "year": lambda data: data.astype("datetime64[Y]").astype(np.int64).astype(np.float64) + 1970,
    "month": lambda data: _since(data, "Y", "M") + 1,
    "day": lambda data: _since(data, "M", "D") + 1,
    # The first of January 1970 was a Thursday.
    "weekday": lambda data: ((data.astype("datetime64[D]").astype(np.int64) + 3) % 7).astype(np.float64),
    "hour": lambda data: _since(data, "D", "h"),
}
