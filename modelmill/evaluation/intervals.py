"""95 % intervals of a classifier's figures: how far they may be luck of the test rows drawn.

Accuracy: Wilson's score interval (Wilson 1927; recommended by Brown, Cai and DasGupta 2001). What follows from the
confusion matrix: the posterior of its cells (Caelen 2017, "A Bayesian interpretation of the confusion matrix"), which
unlike a bootstrap stays wide when all of a few rows are right. Log loss: the normal interval of a mean. Answers to
questions, of which each counts for a part: the bootstrap.
"""

from collections.abc import Callable, Mapping
from math import sqrt
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ends = NDArray[np.float64]

Interval = tuple[float, float]

# The two-sided 95 % point of the normal distribution.
Z = 1.959964
# 4,000 samples place the ends within about 0.0005 of where a million would, on 1,000 rows.
SAMPLES = 4000
_CELLS_AT_ONCE = 4_000_000
# Draws of rows in all: of very many rows fewer samples do, as their intervals are narrow.
_DRAWS = 40_000_000
_FEWEST_SAMPLES = 400


def wilson(right: float, rows: int) -> Interval:
    """Return Wilson's 95 % interval of a share of rows; `right` may be a mean over rows, times their number.

    Raises:
        ValueError: there are no rows.
    """
    if rows < 1:
        raise ValueError(f"an interval over {rows} rows: at least 1 is needed")
    share = right / rows
    scale = 1 + Z**2 / rows
    middle = (share + Z**2 / (2 * rows)) / scale
    half = Z / scale * sqrt(share * (1 - share) / rows + Z**2 / (4 * rows**2))
    # min and max: with no or all rows right the formula's end is the share itself but for the last bit.
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))


def of_confusion(confusion_LL: "NDArray[np.int64]", seed: int = 0) -> dict[str, Interval]:
    """Return 95 % intervals of the figures that follow from a confusion matrix, accuracy by `wilson`.

    Each label that some row carries starts with one imaginary row, spread evenly over the predictions: Jeffreys' prior
    where there are two labels.
    """
    import numpy as np

    from modelmill.evaluation import metrics

    found = _of_samples(confusion_LL, metrics.of_confusion, seed)
    intervals = {name: (float(low_1[0]), float(high_1[0])) for name, (low_1, high_1) in found.items()}
    intervals["accuracy"] = wilson(int(np.diagonal(confusion_LL).sum()), int(confusion_LL.sum()))
    return intervals


def of_classes(confusion_LL: "NDArray[np.int64]", seed: int = 0) -> "dict[str, tuple[Ends, Ends]]":
    """Return the low and high ends of the 95 % intervals of each label's precision, recall and F1, [L] each.

    From the same posterior as `of_confusion`; of a label that no row carries they say nothing.
    """
    from modelmill.evaluation import metrics

    return _of_samples(confusion_LL, metrics.of_classes, seed)


def _of_samples(
    confusion_LL: "NDArray[np.int64]", figures: "Callable[[Any], dict[str, Any]]", seed: int
) -> "dict[str, tuple[Ends, Ends]]":
    import numpy as np

    labels = len(confusion_LL)
    present_L1 = confusion_LL.sum(axis=1, keepdims=True) > 0
    weight_LL = confusion_LL + present_L1 / labels
    generator = np.random.default_rng(seed)
    chunk = max(1, _CELLS_AT_ONCE // labels**2)
    # A Dirichlet sample is gamma samples divided by their sum; every figure here is a ratio, so the division is spared.
    samples = [
        figures(generator.standard_gamma(weight_LL, size=(min(chunk, SAMPLES - start), labels, labels)))
        for start in range(0, SAMPLES, chunk)
    ]
    found = {}
    for name, point_1 in figures(confusion_LL[None]).items():
        low, high = np.quantile(np.concatenate([sample[name] for sample in samples]), (0.025, 0.975), axis=0)
        found[name] = (np.minimum(low, point_1).reshape(-1), np.maximum(high, point_1).reshape(-1))
    return found


def of_mean(values_N: "NDArray[np.float64]") -> Interval:
    """Return the normal 95 % interval of the mean of at least two values."""
    assert len(values_N) > 1
    mean = float(values_N.mean())
    half = Z * float(values_N.std(ddof=1)) / sqrt(len(values_N))
    return mean - half, mean + half


def of_bootstrap(values_NF: "NDArray[np.float64]", seed: int = 0) -> list[Interval]:
    """Return the 95 % interval of the mean of each column: percentiles over rows drawn anew (Efron 1979)."""
    import numpy as np

    generator = np.random.default_rng(seed)
    rows = len(values_NF)
    chunk = max(1, _CELLS_AT_ONCE // rows)
    means = [
        # How often each row is drawn, by which all columns are drawn alike.
        generator.multinomial(rows, np.full(rows, 1 / rows), size=min(chunk, SAMPLES - start)) @ values_NF / rows
        for start in range(0, SAMPLES, chunk)
    ]
    low_F, high_F = np.quantile(np.concatenate(means), (0.025, 0.975), axis=0)
    return list(zip(low_F.tolist(), high_F.tolist(), strict=True))


def of_sums(
    values_NK: "NDArray[np.float64]", figures: "Callable[[Any], Mapping[str, Any]]", seed: int = 0
) -> dict[str, Interval]:
    """Return the 95 % interval of figures of sums over rows: percentiles over rows drawn anew (Efron 1979).

    `figures` makes them from sums [S, K], [S] each. Equal seeds draw equal rows, so that two models' intervals on the
    same rows are of the same samples.
    """
    import numpy as np

    rows = len(values_NK)
    samples = int(np.clip(_DRAWS // rows, _FEWEST_SAMPLES, SAMPLES))
    generator = np.random.default_rng(seed)
    chunk = max(1, _CELLS_AT_ONCE // rows)
    sums = []
    for start in range(0, samples, chunk):
        count = min(chunk, samples - start)
        drawn_SN = generator.integers(0, rows, (count, rows)) + rows * np.arange(count)[:, None]
        times_SN = np.bincount(drawn_SN.ravel(), minlength=count * rows).reshape(count, rows)
        sums.append(times_SN @ values_NK)
    points = figures(values_NK.sum(axis=0)[None])
    found = {}
    for name, values_S in figures(np.concatenate(sums)).items():
        low, high = np.quantile(values_S, (0.025, 0.975))
        point = float(points[name][0])
        found[name] = (min(float(low), point), max(float(high), point))
    return found


def of_ratio(part_N: "NDArray[np.generic]", whole_N: "NDArray[np.generic]") -> tuple[float, float, float]:
    """Return the ratio of two sums over rows, and its 95 % interval: of a ratio estimator, by the delta method.

    With one row the interval is the ratio itself.
    """
    import numpy as np

    part, whole = part_N.astype(np.float64), whole_N.astype(np.float64)
    ratio = float(part.sum() / whole.sum())
    rows = len(part)
    squares = float(((part - ratio * whole) ** 2).sum())
    half = Z * sqrt(squares * rows / max(rows - 1, 1)) / float(whole.sum())
    return ratio, ratio - half, ratio + half
