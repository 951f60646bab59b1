"""Figures of a classifier on labelled rows, under scikit-learn's names.

N rows, L labels, S samples; a confusion matrix counts rows by true label (first axis) and predicted label (second).
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Figures = dict[str, float]

# With more labels the figures of each are in the report alone.
_NAMED_LABELS = 20
# Beyond the sixth decimal lies only the noise of summing in another order.
DECIMALS = 6


def confusion_matrix(truth_N: Labels, predicted_N: Labels, labels: int) -> NDArray[np.int64]:
    """Return the counts of rows by true and predicted label, [L, L]."""
    return np.bincount(truth_N * labels + predicted_N, minlength=labels * labels).reshape(labels, labels)


def of_confusion(confusion_SLL: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the figures that follow from confusion matrices alone, [S] each.

    Where a figure divides by no rows it is 0 (scikit-learn's `zero_division=0`); balanced accuracy is the mean recall
    over the labels that some row carries.
    """
    right_SL = np.diagonal(confusion_SLL, axis1=1, axis2=2)
    return of_label_sums(right_SL, confusion_SLL.sum(axis=2), confusion_SLL.sum(axis=1))


def of_label_sums(right_SL: NDArray[Any], true_SL: NDArray[Any], predicted_SL: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the same from the rows of each label: those predicted right, those that carry it, those it is given to."""
    recall_SL = ratio(right_SL, true_SL)
    return {
        "accuracy": right_SL.sum(axis=1) / true_SL.sum(axis=1),
        # Without any row there is no figure, but no division by 0 either.
        "balanced_accuracy": recall_SL.sum(axis=1) / np.maximum((true_SL > 0).sum(axis=1), 1),
        "precision_macro": ratio(right_SL, predicted_SL).mean(axis=1),
        "recall_macro": recall_SL.mean(axis=1),
        "f1_macro": ratio(2 * right_SL, true_SL + predicted_SL).mean(axis=1),
    }


def per_class(confusion_LL: NDArray[np.int64]) -> dict[str, Floats]:
    """Return precision, recall and F1 of each label, [L] each."""
    return {name: values_1L[0] for name, values_1L in of_classes(confusion_LL[None]).items()}


def of_classes(confusion_SLL: NDArray[Any]) -> dict[str, Floats]:
    """Return precision, recall and F1 of each label of confusion matrices, [S, L] each."""
    right_SL = np.diagonal(confusion_SLL, axis1=1, axis2=2)
    true_SL, predicted_SL = confusion_SLL.sum(axis=2), confusion_SLL.sum(axis=1)
    return {
        "precision": ratio(right_SL, predicted_SL),
        "recall": ratio(right_SL, true_SL),
        "f1": ratio(2 * right_SL, true_SL + predicted_SL),
    }


def f1_by_label(truth_N: Labels, probability_NL: Floats, labels: Sequence[str]) -> Figures:
    """Return the F1 of each label by `f1_name`; none where there are more than 20."""
    if len(labels) > _NAMED_LABELS:
        return {}
    f1_L = per_class(confusion_matrix(truth_N, probability_NL.argmax(axis=1), len(labels)))["f1"]
    return {f1_name(label): round(float(f1), DECIMALS) for label, f1 in zip(labels, f1_L, strict=True)}


def f1_name(label: str) -> str:
    """Return the name of a label's F1; what MLflow takes in no metric's name is an underscore."""
    return "f1_" + re.sub(r"[^/\w.: -]", "_", label)


def row_losses(truth_N: Labels, probability_NL: Floats) -> Floats:
    """Return the negative log-likelihood of each row's true label, in nats; their mean is the log loss."""
    # scikit-learn's clipping: a mistake made with certainty costs 36 nats, not infinity.
    least = np.finfo(np.float64).eps
    losses_N: Floats = -np.log(np.clip(probability_NL[np.arange(len(truth_N)), truth_N], least, 1 - least))
    return losses_N


def row_briers(truth_N: Labels, probability_NL: Floats) -> Floats:
    """Return what each row adds to the Brier score: that of two labels where there are two, else the sum over labels.

    So Brier 1950, and scikit-learn.
    """
    miss_NL = probability_NL.astype(np.float64)
    miss_NL[np.arange(len(truth_N)), truth_N] -= 1
    found_N: Floats = (miss_NL**2).sum(axis=1) / (2 if miss_NL.shape[1] == 2 else 1)
    return found_N


def score(truth_N: Labels, probability_NL: Floats) -> dict[str, float]:
    """Return all figures of a classifier's probabilities, whose rows sum to 1.

    `roc_auc` and `average_precision`, the area under the precision-recall curve, are there for two labels, the second
    being the positive one, when rows of both are there.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    labels = probability_NL.shape[1]
    confusion_1LL = confusion_matrix(truth_N, probability_NL.argmax(axis=1), labels)[None]
    figures = {name: float(values_1[0]) for name, values_1 in of_confusion(confusion_1LL).items()}
    figures["log_loss"] = float(row_losses(truth_N, probability_NL).mean())
    figures["brier_score_loss"] = float(row_briers(truth_N, probability_NL).mean())
    if labels == 2 and 0 < truth_N.sum() < len(truth_N):
        figures["roc_auc"] = float(roc_auc_score(truth_N, probability_NL[:, 1]))
        figures["average_precision"] = float(average_precision_score(truth_N, probability_NL[:, 1]))
    return {name: round(value, DECIMALS) for name, value in figures.items()}


def ratio(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    """Return one by the other, 0 where that is 0."""
    found: Floats = np.divide(part, whole, out=np.zeros(whole.shape), where=whole > 0)
    return found
