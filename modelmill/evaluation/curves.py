"""What the report's plots show, as a few numbers each.

N rows, L labels.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modelmill.evaluation.document import ConfidenceBin, RocCurve
from modelmill.evaluation.metrics import DECIMALS, Floats, Labels

_POINTS = 101
BIN_WIDTH = 0.05


def roc_curves(truth_N: Labels, probability_NL: Floats, labels: Sequence[str]) -> tuple[RocCurve, ...]:
    """Return a curve for each label against the rest; of two labels only the second's, the first being its mirror.

    A label that no test row carries, or that all carry, has none.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    curves = []
    for index in range(len(labels)) if len(labels) > 2 else [1]:
        positive_N = truth_N == index
        if not 0 < positive_N.sum() < len(positive_N):
            continue
        false_rate, true_rate, _ = roc_curve(positive_N, probability_NL[:, index])
        auc = roc_auc_score(positive_N, probability_NL[:, index])
        kept = np.unique(np.linspace(0, len(false_rate) - 1, _POINTS).round().astype(int))
        points = tuple((round(float(false_rate[i]), 4), round(float(true_rate[i]), 4)) for i in kept)
        curves.append(RocCurve(label=labels[index], auc=round(float(auc), DECIMALS), points=points))
    return tuple(curves)


def confidence_bins(truth_N: Labels, probability_NL: Floats) -> tuple[ConfidenceBin, ...]:
    """Return the rows by the probability of their predicted label, in bins of 0.05 up from the least one possible."""
    confidence_N = probability_NL.max(axis=1)
    right_N = probability_NL.argmax(axis=1) == truth_N
    bins = round(1 / BIN_WIDTH)
    # The probability of the likeliest of L labels is never below 1/L; an even start puts a round number in the middle.
    first = bins // probability_NL.shape[1] // 2 * 2
    # The clip puts a probability of 1 into the last bin.
    bin_N = np.clip((confidence_N * bins).astype(int), first, bins - 1)
    return tuple(_bin(index, confidence_N[bin_N == index], right_N[bin_N == index]) for index in range(first, bins))


def calibration_error(bins: Sequence[ConfidenceBin]) -> float:
    """Return the expected calibration error: the mean gap of confidence and accuracy over rows (Guo et al. 2017)."""
    rows = sum(each.rows for each in bins)
    return round(sum(abs(each.rows * each.confidence - each.correct) for each in bins) / rows, DECIMALS)


def _bin(index: int, confidence: Floats, right: NDArray[np.bool_]) -> ConfidenceBin:
    return ConfidenceBin(
        low=round(index * BIN_WIDTH, 2),
        high=round((index + 1) * BIN_WIDTH, 2),
        rows=len(confidence),
        correct=int(right.sum()),
        confidence=round(float(confidence.mean()), DECIMALS) if len(confidence) else 0.0,
    )
