"""By how much a challenger's figures exceed the champion's on the same rows, and what each gain is judged by.

N rows.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from modelmill.evaluation import paired
from modelmill.evaluation.checks import LOWER_IS_BETTER, METRIC_WORDS
from modelmill.evaluation.predictions import probabilities, truth_of
from modelmill.evaluation.resample import Estimate, estimates, joint
from modelmill.evaluation.slices import FEWEST
from modelmill.evaluation.sums import Sums

# The normal distribution's four fifths.
_POWER_QUANTILE = 0.8416212335729143


@dataclass(frozen=True, kw_only=True)
class Gain:
    """The gain of one figure, positive where the challenger is better, and what it is judged by."""

    champion: float
    challenger: float
    rows: int
    estimate: Estimate | None = None
    gained: int | None = None
    """Of accuracy, which is judged by these two."""
    lost: int | None = None

    @property
    def p(self) -> float | None:
        """McNemar's two-sided p, of accuracy."""
        return float(paired.mcnemar(self.gained, self.lost)) if self.gained is not None else None

    def p_at_most(self, limit: float) -> float:
        """Return the one-sided p of a gain of `limit` or less."""
        if self.estimate is not None:
            return self.estimate.p_at_most(limit)
        return float(paired.p_at_most(self.gained, self.lost, self.rows, limit))

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the interval of the gain."""
        if self.estimate is not None:
            return self.estimate.interval(confidence)
        assert self.gained is not None
        assert self.lost is not None
        return paired.interval(self.gained, self.lost, self.rows, confidence)

    def mirrored(self) -> "Gain":
        """Return the same of the loss."""
        estimate = self.estimate.mirrored() if self.estimate is not None else None
        return Gain(
            champion=self.challenger,
            challenger=self.champion,
            rows=self.rows,
            estimate=estimate,
            gained=self.lost,
            lost=self.gained,
        )

    def reach(self, confidence: float) -> tuple[float | None, int | None]:
        """Return the smallest gain that the rows show four times in five, and how many rows would show this one so."""
        from scipy.special import ndtri

        if self.estimate is None:
            assert self.gained is not None
            assert self.lost is not None
            apart, gain = (self.gained + self.lost) / self.rows, (self.gained - self.lost) / self.rows
            needed = paired.rows_needed(gain, apart, confidence) if gain > 0 else None
            return paired.smallest_difference(apart, self.rows, confidence) if apart else None, needed
        reach = float(ndtri((1 + confidence) / 2)) + _POWER_QUANTILE
        smallest, gain = reach * self.estimate.error, self.estimate.value
        needed = None
        if gain > 0 and smallest > 0:
            needed = max(FEWEST, math.ceil(self.rows * (smallest / gain) ** 2))
        return smallest or None, needed


def all_gains(pairs: Sequence[tuple[Sums, Sums]], champion: pa.Table, challenger: pa.Table) -> dict[str, Gain]:
    """Return the gain of every figure of two models, by its name: of pairs of sums, and of their tables."""
    found: dict[str, Gain] = {}
    for before, after in pairs:
        names = [name for name in METRIC_WORDS if name in before.score()]
        found |= gains_of(before, after, names)
    if "probability" in challenger.column_names and challenger.schema.field("probability").type.list_size == 2:
        found |= _areas(champion, challenger)
    return {name: found[name] for name in METRIC_WORDS if name in found}


def gains_of(
    before: Sums, after: Sums, names: Sequence[str], drawn: Iterable[NDArray[Any]] | None = None
) -> dict[str, Gain]:
    """Return the gain of some figures that follow from two models' sums; `drawn` as in `resample.estimates`."""
    theirs, ours, rows = before.score(), after.score(), before.rows
    found, resampled = {}, list(names)
    if "accuracy" in names and "f1_macro" in theirs:
        gained, lost = _discordant(before, after)
        found["accuracy"] = Gain(
            champion=theirs["accuracy"], challenger=ours["accuracy"], rows=rows, gained=gained, lost=lost
        )
        resampled.remove("accuracy")
    made = estimates(joint(before, after), resampled, drawn) if resampled else {}
    for name, estimate in made.items():
        gain = estimate.mirrored() if name in LOWER_IS_BETTER else estimate
        found[name] = Gain(champion=theirs[name], challenger=ours[name], rows=rows, estimate=gain)
    return found


def _discordant(before: Sums, after: Sums) -> tuple[int, int]:
    """Return how many rows only the second has right, and how many only the first."""
    right = [_right(each)[each.pattern_N] for each in (before, after)]
    return int((right[1] & ~right[0]).sum()), int((right[0] & ~right[1]).sum())


def _right(sums: Sums) -> NDArray[np.bool_]:
    labels = sums.values_PK.shape[1] // 3
    found: NDArray[np.bool_] = np.asarray(sums.values_PK[:, :labels].sum(axis=1)).reshape(-1) > 0
    return found


def _areas(champion: pa.Table, challenger: pa.Table) -> dict[str, Gain]:
    positive_N: NDArray[np.bool_] = np.asarray(truth_of(challenger)) == 1
    if not 1 < positive_N.sum() < len(positive_N) - 1:
        return {}
    found = paired.areas(positive_N, probabilities(champion)[:, 1], probabilities(challenger)[:, 1])
    gain = found.challenger - found.champion
    # DeLong's is the normal interval: no samples, so both ends are the error's.
    estimate = Estimate(value=gain, drawn_S=np.array([gain]), error=found.error, acceleration=0.0, rows=len(positive_N))
    return {
        "roc_auc": Gain(champion=found.champion, challenger=found.challenger, rows=len(positive_N), estimate=estimate)
    }
