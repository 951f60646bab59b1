"""Two classifiers on the same rows: McNemar's exact test, Tango's interval, the power of both, DeLong's areas.

`gained` counts the rows that the challenger alone has right, `lost` those that the champion alone has; all functions
take numbers or arrays of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelmill.evaluation.metrics import Floats

_POWER = 0.8
_HALVINGS = 60
_MOST_ROWS = 1e9


def mcnemar(gained: Any, lost: Any) -> Any:
    """Return the exact two-sided p of McNemar's test (McNemar 1947): 1 where no row tells the two apart."""
    return np.minimum(1.0, 2 * _at_most(np.minimum(gained, lost), np.add(gained, lost), 0.5))


def p_at_most(gained: Any, lost: Any, rows: Any, limit: float) -> Any:
    """Return the one-sided p of the difference in accuracy if the truth is `limit` or less.

    The larger of two: Tango's score test (Tango 1998, Statistics in Medicine 17:891-908), which errs a little too often
    on few rows, and the binomial test of the rows that tell the two apart, McNemar's where `limit` is 0.
    """
    from scipy.special import ndtr

    gained_, lost_, rows_ = (np.asarray(each, dtype=np.float64) for each in (gained, lost, rows))
    both = gained_ + lost_
    share = np.clip((1 + limit * rows_ / np.maximum(both, 1)) / 2, 0, 1)
    # Were all that tell them apart lost, and the limit still not reached, they would say nothing of it.
    exact = np.where(share > 0, 1 - _at_most(gained_ - 1, both, share), 0.0)
    return np.maximum(ndtr(-_tango(gained_, lost_, rows_, limit)), exact)


def _at_most(successes: Any, trials: Any, share: Any) -> Any:
    """Return how likely so many successes or fewer are."""
    from scipy.special import betainc

    known = (np.asarray(successes) >= 0) & (np.asarray(successes) < trials)
    failures = np.where(known, np.subtract(trials, successes), 1.0)
    found = betainc(failures, np.where(known, successes, 0.0) + 1, 1 - np.asarray(share, dtype=np.float64))
    return np.where(known, found, np.where(np.asarray(successes) < 0, 0.0, 1.0))


def interval(gained: int, lost: int, rows: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of the difference in accuracy, challenger less champion, at whose ends `p_at_most` turns."""
    tail, middle = (1 - confidence) / 2, (gained - lost) / rows
    low = _boundary(lambda limit: float(p_at_most(gained, lost, rows, limit)) <= tail, -1.0, middle)
    high = -_boundary(lambda limit: float(p_at_most(lost, gained, rows, limit)) <= tail, -1.0, -middle)
    return low, high


def _boundary(refused: Callable[[float], bool], low: float, high: float) -> float:
    """Return the least limit that is not refused."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if refused(middle) else (low, middle)
    return low


def _tango(gained: Floats, lost: Floats, rows: Floats, limit: float) -> Any:
    """Return the score statistic for a difference of `limit`: McNemar's where that is 0."""
    first = 2 * rows
    second = -gained - lost + (2 * rows - gained + lost) * limit
    third = -lost * limit * (1 - limit)
    share = (np.sqrt(np.maximum(second**2 - 4 * first * third, 0)) - second) / (2 * first)
    spread = rows * (2 * share + limit * (1 - limit))
    apart = gained - lost - rows * limit
    # No row tells the two apart, and none is expected to.
    certain = np.where(apart > 0, np.inf, np.where(apart < 0, -np.inf, 0.0))
    return np.where(spread > 0, apart / np.sqrt(np.where(spread > 0, spread, 1)), certain)


def power(difference: float, apart: float, rows: int, confidence: float = 0.95) -> float:
    """Return how often McNemar's exact test shows a challenger to be better.

    `difference` is by how much its accuracy exceeds the champion's, `apart` the share of rows that one alone has right.
    """
    tail, deviation = (1 - confidence) / 2, np.sqrt(rows * apart * (1 - apart))
    # Beyond six deviations lie two of a thousand million; of few rows these are all.
    first, last = max(0.0, rows * apart - 6 * deviation - 2), min(rows, rows * apart + 6 * deviation + 2)
    both_D = np.arange(np.floor(first), np.ceil(last) + 1)
    chance_D = _at_most(both_D, rows, apart) - _at_most(both_D - 1, rows, apart)
    lost_share = min(max((apart - difference) / (2 * apart), 0.0), 1.0) if apart else 0.5
    return float(chance_D @ _at_most(_most_lost(both_D, tail), both_D, lost_share))


def _most_lost(both_D: Floats, tail: float) -> Floats:
    """Return the most lost rows with which McNemar's test still shows a gain; -1 where nothing does."""
    from scipy.special import ndtri

    guess_D = np.floor(both_D / 2 + ndtri(tail) * np.sqrt(both_D) / 2)
    found_D: Floats = np.full(len(both_D), -1.0)
    # The normal guess is off by one or two.
    for step in (-3, -2, -1, 0, 1, 2):
        candidate_D = np.minimum(guess_D + step, both_D)
        fits_D = (candidate_D >= 0) & (_at_most(candidate_D, both_D, 0.5) <= tail)
        found_D = np.where(fits_D, np.maximum(found_D, candidate_D), found_D)
    return found_D


def smallest_difference(apart: float, rows: int, confidence: float = 0.95) -> float | None:
    """Return the smallest gain in accuracy that so many rows show four times in five; None where none can be shown.

    The models differ on a share `apart` of the rows, of which a gain cannot be more.
    """
    if power(apart, apart, rows, confidence) < _POWER:
        return None
    return _boundary(lambda difference: power(difference, apart, rows, confidence) < _POWER, 0.0, apart)


def rows_needed(difference: float, apart: float, confidence: float = 0.95) -> int | None:
    """Return how many rows would show a gain in accuracy four times in five; None beyond a thousand million."""
    high = 16.0
    while power(difference, apart, round(high), confidence) < _POWER:
        high *= 2
        if high > _MOST_ROWS:
            return None
    low = high / 2
    while high - low > max(1.0, low / 200):
        middle = (low + high) / 2
        low, high = (middle, high) if power(difference, apart, round(middle), confidence) < _POWER else (low, middle)
    return round(high)


@dataclass(frozen=True, kw_only=True)
class Areas:
    """Two areas under the ROC curve on the same rows."""

    champion: float
    challenger: float
    error: float
    """Standard error of the difference."""


def areas(positive_N: NDArray[np.bool_], champion_N: Floats, challenger_N: Floats) -> Areas:
    """Return both areas and the standard error of their difference (DeLong, DeLong and Clarke-Pearson 1988).

    In the time of a sort: Sun and Xu 2014, "Fast implementation of DeLong's algorithm".
    """
    parts = [_placements(positive_N, score_N) for score_N in (champion_N, challenger_N)]
    (first, upper_P, lower_Q), (second, upper2_P, lower2_Q) = parts
    ups, downs = upper2_P - upper_P, lower2_Q - lower_Q
    variance = sum(float(each.var(ddof=1)) / len(each) if len(each) > 1 else np.inf for each in (ups, downs))
    return Areas(champion=first, challenger=second, error=float(np.sqrt(variance)))


def _placements(positive_N: NDArray[np.bool_], score_N: Floats) -> tuple[float, Floats, Floats]:
    above, below = score_N[positive_N], score_N[~positive_N]
    rank_N = _ranks(np.concatenate([above, below]))
    upper_P = (rank_N[: len(above)] - _ranks(above)) / len(below)
    lower_Q = 1 - (rank_N[len(above) :] - _ranks(below)) / len(above)
    return float(upper_P.mean()), upper_P, lower_Q


def _ranks(values: Floats) -> Floats:
    """Return places in ascending order, from 1; equal values have their mean place."""
    _, place, times = np.unique(values, return_inverse=True, return_counts=True)
    found: Floats = (np.cumsum(times) - (times - 1) / 2)[place]
    return found
