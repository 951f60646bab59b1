"""Figures of predicted numbers, under scikit-learn's names, with 95 % intervals by bootstrap.

N rows, S samples, Q quantities of a row that the figures are made from by summing.
"""

from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelmill.evaluation.intervals import Interval
from modelmill.evaluation.intervals import of_sums as bootstrapped
from modelmill.evaluation.metrics import DECIMALS, Floats

COVERAGE = 0.9
"""Share of the true numbers that a predicted interval is to hold."""
MAPE = "mean_absolute_percentage_error"
# A share of a target next to nothing says nothing.
_LEAST_SHARE = 0.01


def score(truth_N: Floats, predicted_N: Floats) -> dict[str, float]:
    """Return r2, rmse, mse and mae, and mean_absolute_percentage_error where every target is well away from 0.

    Well away: all of one sign, the smallest at least a hundredth of the median.
    """
    found = of_sums(quantities(truth_N, predicted_N).sum(axis=0)[None])
    return {name: rounded(name, float(value_1[0])) for name, value_1 in found.items()}


def intervals(truth_N: Floats, predicted_N: Floats, seed: int = 0) -> dict[str, Interval]:
    """Return the 95 % interval of each figure: the percentiles over rows drawn with replacement (Efron 1979).

    Equal seeds draw equal rows, so that two models' intervals on the same rows are of the same samples.
    """
    found = bootstrapped(quantities(truth_N, predicted_N), of_sums, seed)
    return {name: (rounded(name, low), rounded(name, high)) for name, (low, high) in found.items()}


def half_width(error_M: Floats) -> float | None:
    """Return how far to either side of a prediction the true number is expected 9 times in 10; None on too few rows.

    Split conformal prediction: from the errors on rows that were not learned from (Lei et al. 2018, "Distribution-free
    predictive inference for regression", arXiv:1604.04173, algorithm 2).
    """
    place = ceil((len(error_M) + 1) * COVERAGE)
    return float(np.sort(np.abs(error_M))[place - 1]) if place <= len(error_M) else None


def rounded(name: str, value: float) -> float:
    """Return a figure without the noise of summing in another order; one in the target's unit may be of any size."""
    return round(value, DECIMALS) if name in {"r2", MAPE} else float(f"{value:.9g}")


def quantities(truth_N: Floats, predicted_N: Floats) -> Floats:
    """Return what every row adds to the sums that the figures follow from: [N, Q]."""
    error_N = predicted_N - truth_N
    # Less the mean: sums of squares of large numbers that are nearly the same have no digits left.
    centred_N = truth_N - truth_N.mean()
    columns = [np.ones(len(truth_N)), error_N**2, np.abs(error_N), centred_N, centred_N**2]
    size_N = np.abs(truth_N)
    one_sign = (truth_N > 0).all() or (truth_N < 0).all()
    if one_sign and size_N.min() >= _LEAST_SHARE * np.median(size_N):
        columns.append(np.abs(error_N) / size_N)
    return np.stack(columns, axis=1)


def of_sums(sums_SQ: NDArray[Any]) -> dict[str, Floats]:
    """Return the figures of sums over rows, [S] each."""
    count_S, squares_S, absolute_S, centred_S, centred_squares_S = sums_SQ.T[:5]
    spread_S = centred_squares_S - centred_S**2 / count_S
    flat_S = spread_S <= 1e-12 * np.maximum(centred_squares_S, np.finfo(np.float64).tiny)
    # Targets that are all the same: scikit-learn's 1 for exact predictions and 0 for others.
    r2_S = np.where(flat_S, squares_S == 0, 1 - squares_S / np.where(flat_S, 1, spread_S))
    mse_S = squares_S / count_S
    found = {"r2": r2_S, "rmse": np.sqrt(mse_S), "mse": mse_S, "mae": absolute_S / count_S}
    if sums_SQ.shape[1] > 5:
        found[MAPE] = sums_SQ[:, 5] / count_S
    return found
