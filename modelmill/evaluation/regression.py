"""Figures of predicted numbers, under scikit-learn's names, with 95 % intervals by bootstrap.

N rows, S samples, Q quantities of a row that the figures are made from by summing.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelmill.evaluation.intervals import SAMPLES, Interval
from modelmill.evaluation.metrics import DECIMALS, Floats

MAPE = "mean_absolute_percentage_error"
# Draws in all: of very many rows fewer samples do, as their intervals are narrow.
_DRAWS = 40_000_000
_FEWEST_SAMPLES = 400
_DRAWS_AT_ONCE = 4_000_000
# A share of a target next to nothing says nothing.
_LEAST_SHARE = 0.01


def score(truth_N: Floats, predicted_N: Floats) -> dict[str, float]:
    """Return r2, rmse and mae, and mean_absolute_percentage_error where every target is well away from 0.

    Well away: all of one sign, the smallest at least a hundredth of the median.
    """
    found = of_sums(quantities(truth_N, predicted_N).sum(axis=0)[None])
    return {name: rounded(name, float(value_1[0])) for name, value_1 in found.items()}


def intervals(truth_N: Floats, predicted_N: Floats, seed: int = 0) -> dict[str, Interval]:
    """Return the 95 % interval of each figure: the percentiles over rows drawn with replacement (Efron 1979).

    Equal seeds draw equal rows, so that two models' intervals on the same rows are of the same samples.
    """
    quantities_NQ = quantities(truth_N, predicted_N)
    rows = len(quantities_NQ)
    samples = int(np.clip(_DRAWS // rows, _FEWEST_SAMPLES, SAMPLES))
    generator = np.random.default_rng(seed)
    chunk = max(1, _DRAWS_AT_ONCE // rows)
    sums = []
    for start in range(0, samples, chunk):
        count = min(chunk, samples - start)
        drawn_SN = generator.integers(0, rows, (count, rows)) + rows * np.arange(count)[:, None]
        times_SN = np.bincount(drawn_SN.ravel(), minlength=count * rows).reshape(count, rows)
        sums.append(times_SN @ quantities_NQ)
    points = of_sums(quantities_NQ.sum(axis=0)[None])
    found = {}
    for name, values_S in of_sums(np.concatenate(sums)).items():
        low, high = np.quantile(values_S, (0.025, 0.975))
        point = float(points[name][0])
        found[name] = (rounded(name, min(float(low), point)), rounded(name, max(float(high), point)))
    return found


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
    found = {"r2": r2_S, "rmse": np.sqrt(squares_S / count_S), "mae": absolute_S / count_S}
    if sums_SQ.shape[1] > 5:
        found[MAPE] = sums_SQ[:, 5] / count_S
    return found
