"""One rule's verdict over a batch of texts: a figure of each text against a threshold."""

# N texts

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from components.ingest.text.words import Booleans


@dataclass(frozen=True, eq=False)
class Rule:
    """A figure of each text that must not be below `low` or above `high`."""

    reason: str
    figure_N: npt.NDArray[Any]
    low: float | None = None
    high: float | None = None
    unit: str = ""
    where_N: Booleans | None = None
    """Which texts the rule is for; all of them if left out."""

    @cached_property
    def broken_N(self) -> Booleans:
        """Which texts break the rule."""
        broken_N = np.zeros(len(self.figure_N), dtype=np.bool_)
        if self.low is not None:
            broken_N |= self.figure_N < self.low
        if self.high is not None:
            broken_N |= self.figure_N > self.high
        return broken_N if self.where_N is None else broken_N & self.where_N

    def explain(self, text: int) -> tuple[str, str]:
        """Return the reason, and both numbers, for a text that breaks the rule."""
        figure = self.figure_N[text]
        shown = f"{int(figure)}" if float(figure).is_integer() else f"{figure:.3f}"
        low = self.low is not None and figure < self.low
        limit = f"{self.low if low else self.high:g}"
        return self.reason, f"{shown} {self.unit}, {'at least' if low else 'at most'} {limit}"


def share(part_N: npt.NDArray[Any], whole_N: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return part / whole, 0 where there is no whole."""
    share_N: npt.NDArray[np.float64] = np.divide(part_N, whole_N, out=np.zeros(len(whole_N)), where=whole_N > 0)
    return share_N
