"""What the report's plots show, as a few numbers each.

N rows, L labels.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modelmill.evaluation import paired
from modelmill.evaluation.document import ConfidenceBin, PrecisionRecall, RocCurve
from modelmill.evaluation.intervals import Interval, Z, wilson
from modelmill.evaluation.metrics import DECIMALS, Floats, Labels

_POINTS = 101
BIN_WIDTH = 0.05


def areas_undefined(truth_N: Labels, labels: Sequence[str]) -> dict[str, str]:
    """Return the labels that have no curve against the rest, and so no area under one, each with why."""
    rows_L = np.bincount(truth_N, minlength=len(labels))
    none = {label: "no test row carries it" for label, rows in zip(labels, rows_L, strict=True) if not rows}
    every = {label: "every test row carries it" for label, rows in zip(labels, rows_L, strict=True)
             if rows == len(truth_N)}  # fmt: skip
    return none | every


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
        score_N = probability_NL[:, index]
        false_rate, true_rate, threshold = roc_curve(positive_N, score_N)
        kept = np.unique(np.linspace(0, len(false_rate) - 1, _POINTS).round().astype(int))
        auc = float(roc_auc_score(positive_N, score_N))
        curves.append(
            RocCurve(
                label=labels[index],
                auc=round(auc, DECIMALS),
                interval=_rounded(area_interval(positive_N, score_N, auc)),
                points=tuple((round(float(false_rate[i]), 4), round(float(true_rate[i]), 4)) for i in kept),
                # The first one is infinite: none is so sure.
                thresholds=tuple(round(min(float(threshold[i]), 1.0), DECIMALS) for i in kept),
            )
        )
    return tuple(curves)


def area_interval(positive_N: NDArray[np.bool_], score_N: Floats, auc: float) -> Interval:
    """Return the 95 % interval of an area under the ROC curve, by DeLong's standard error.

    That is 0 where all pairs of rows are in the right order (or none is), and infinite with one row of a kind: then by
    the most that it can be, that of a share of as many rows as the rarer kind has (Birnbaum and Klose 1957, Annals of
    Mathematical Statistics 28:933-945).
    """
    error = paired.areas(positive_N, np.zeros(len(score_N)), score_N).error
    if not 0 < error < np.inf:
        rarer = int(min(positive_N.sum(), len(positive_N) - positive_N.sum()))
        return wilson(auc * rarer, rarer)
    return max(0.0, auc - Z * error), min(1.0, auc + Z * error)


def precision_recall_curves(
    truth_N: Labels, probability_NL: Floats, labels: Sequence[str]
) -> tuple[PrecisionRecall, ...]:
    """Return a curve for each label against the rest; of two labels both, as neither is the other's mirror.

    A label that no test row carries, or that all carry, has none.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    curves = []
    # Of two labels the one that `roc_curves` draws is the first here too.
    for index in range(len(labels)) if len(labels) > 2 else [1, 0]:
        positive_N = truth_N == index
        if not 0 < positive_N.sum() < len(positive_N):
            continue
        precision, recall, _ = precision_recall_curve(positive_N, probability_NL[:, index])
        # Upwards, and without the corner (0, 1), which stands for no row; only rows found raise the recall.
        precision, recall = precision[-2::-1], recall[-2::-1]
        found = np.flatnonzero(np.diff(recall, prepend=0.0) > 0)
        kept = found[np.unique(np.linspace(0, len(found) - 1, _POINTS).round().astype(int))]
        area, rows = float(average_precision_score(positive_N, probability_NL[:, index])), int(positive_N.sum())
        curves.append(
            PrecisionRecall(
                label=labels[index],
                average_precision=round(area, DECIMALS),
                interval=_rounded(precision_interval(area, rows)),
                guess=round(rows / len(positive_N), DECIMALS),
                points=tuple((round(float(recall[i]), 4), round(float(precision[i]), 4)) for i in kept),
            )
        )
    return tuple(curves)


def precision_interval(area: float, rows: int) -> Interval:
    """Return the 95 % interval of an average precision, as of a share of the rows that carry the label.

    Boyd, Eng and Page 2013, "Area under the precision-recall curve: point estimates and confidence intervals"; in
    Wilson's form, which is none too narrow at 1.
    """
    return wilson(area * rows, rows)


def _rounded(interval: Interval) -> Interval:
    return round(interval[0], DECIMALS), round(interval[1], DECIMALS)


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
