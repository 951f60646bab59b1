"""Every figure of a model as a function of sums over rows: slices, rows drawn anew and rows left out are weights.

N rows, P patterns (rows that count alike share one), K sums, S samples of rows, L labels, B bins.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelmill.evaluation import metrics, regression
from modelmill.evaluation.metrics import Floats, Labels

Figures = dict[str, Floats]
"""By name: [S]."""

# With more labels those of each are in the report alone.
_NAMED_LABELS = 20
# As wide as those of the reliability diagram.
_BINS = 20


@dataclass(frozen=True, kw_only=True)
class Sums:
    """What rows add to sums, and the figures that follow from those."""

    pattern_N: NDArray[np.int64]
    """Which pattern each row has."""
    values_PK: Any
    """What a row of each pattern adds: an array, or a sparse one where most of it is 0."""
    figures: Callable[[Floats], Figures]
    """From sums [S, K] to figures."""

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.pattern_N)

    def of_times(self, times_SP: NDArray[Any]) -> Figures:
        """Return the figures of samples in which each pattern occurs so many times."""
        return self.figures(np.asarray(np.asarray(times_SP, dtype=np.float64) @ self.values_PK))

    def score(self, weight_N: NDArray[Any] | None = None) -> dict[str, float]:
        """Return the figures of all rows, each counted once or as often as its weight says."""
        times_P = np.bincount(self.pattern_N, weights=weight_N, minlength=self.values_PK.shape[0])
        return {name: float(value_1[0]) for name, value_1 in self.of_times(times_P[None]).items()}

    def of(self, chosen: NDArray[Any]) -> "Sums":
        """Return those of chosen rows alone, by their places or by a mark for each row."""
        return Sums(pattern_N=self.pattern_N[chosen], values_PK=self.values_PK, figures=self.figures)


def of_rows(values_NK: Floats, figures: Callable[[Floats], Figures]) -> Sums:
    """Return the sums of rows that each have values of their own."""
    return Sums(pattern_N=np.arange(len(values_NK)), values_PK=values_NK, figures=figures)


def of_labels(truth_N: Labels, predicted_N: Labels, labels: Sequence[str]) -> Sums:
    """Return the sums that what follows from true and predicted labels needs: rows right, true and predicted by label.

    Figures: accuracy, balanced_accuracy, precision_macro, recall_macro, f1_macro, and f1_<label> of up to 20 labels.
    """
    from scipy.sparse import csr_array

    count = len(labels)
    pairs_P, pattern_N = np.unique(truth_N * count + predicted_N, return_inverse=True)
    true_P, given_P = pairs_P // count, pairs_P % count
    right_P = np.flatnonzero(true_P == given_P)
    place = np.arange(len(pairs_P))
    rows = np.concatenate([place, place, right_P])
    columns = np.concatenate([count + true_P, 2 * count + given_P, true_P[right_P]])
    values_PK = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(pairs_P), 3 * count))
    names = [metrics.f1_name(label) for label in labels] if count <= _NAMED_LABELS else []

    def figures(sums_SK: Floats) -> Figures:
        right_SL, true_SL, given_SL = sums_SK[:, :count], sums_SK[:, count : 2 * count], sums_SK[:, 2 * count :]
        f1_SL = metrics.ratio(2 * right_SL, true_SL + given_SL)
        return metrics.of_label_sums(right_SL, true_SL, given_SL) | dict(zip(names, f1_SL.T, strict=False))

    return Sums(pattern_N=pattern_N, values_PK=values_PK, figures=figures)


def of_probabilities(truth_N: Labels, probability_NL: Floats) -> Sums:
    """Return the sums of what follows from probabilities: log_loss, brier_score_loss, calibration_error.

    The calibration error is over bins of confidence 0.05 wide (Guo et al. 2017, arXiv:1706.04599).
    """
    rows = np.arange(len(truth_N))
    plain_NL = probability_NL.astype(np.float64)
    confidence_N, right_N = plain_NL.max(axis=1), plain_NL.argmax(axis=1) == truth_N
    values_NK = np.zeros((len(rows), 3 + _BINS))
    values_NK[:, 0], values_NK[:, 1] = 1, metrics.row_losses(truth_N, probability_NL)
    values_NK[:, 2] = metrics.row_briers(truth_N, probability_NL)
    # What a row's confidence exceeds its correctness by; a bin's sum of it is its part of the calibration error.
    bin_N = np.clip((confidence_N * _BINS).astype(int), 0, _BINS - 1)
    values_NK[rows, 3 + bin_N] = confidence_N - right_N

    def figures(sums_SK: Floats) -> Figures:
        rows_S = sums_SK[:, 0]
        return {
            "log_loss": sums_SK[:, 1] / rows_S,
            "brier_score_loss": sums_SK[:, 2] / rows_S,
            "calibration_error": np.abs(sums_SK[:, 3:]).sum(axis=1) / rows_S,
        }

    return of_rows(values_NK, figures)


def of_numbers(truth_N: Floats, predicted_N: Floats, interval: tuple[Floats, Floats] | None = None) -> Sums:
    """Return the sums of what follows from predicted numbers: r2, rmse, mae, and where it means much the MAPE.

    Where intervals [N], [N] were predicted, also interval_coverage: the share of true numbers inside, ends included.
    """
    quantities_NQ = regression.quantities(truth_N, predicted_N)
    if interval is None:
        return of_rows(quantities_NQ, regression.of_sums)
    inside_N1 = ((interval[0] <= truth_N) & (truth_N <= interval[1])).astype(np.float64)[:, None]

    def figures(sums_SK: Floats) -> Figures:
        return regression.of_sums(sums_SK[:, :-1]) | {"interval_coverage": sums_SK[:, -1] / sums_SK[:, 0]}

    return of_rows(np.hstack([quantities_NQ, inside_N1]), figures)


def of_means(values: Mapping[str, Floats]) -> Sums:
    """Return the sums of figures that are means over rows, by name: exact match and F1 of answers, their loss."""
    names = list(values)
    stacked_NK = np.stack([np.ones(len(next(iter(values.values())))), *values.values()], axis=1).astype(np.float64)

    def figures(sums_SK: Floats) -> Figures:
        return {name: sums_SK[:, place] / sums_SK[:, 0] for place, name in enumerate(names, start=1)}

    # Exact match and the F1 of short answers take few values.
    values_PK, pattern_N = np.unique(stacked_NK, axis=0, return_inverse=True)
    return Sums(pattern_N=pattern_N.reshape(-1), values_PK=values_PK, figures=figures)


def of_tokens(
    nats_N: NDArray[Any],
    tokens_N: NDArray[Any],
    right_N: NDArray[Any] | None = None,
    bytes_N: NDArray[Any] | None = None,
) -> Sums:
    """Return the sums of a language model's figures over documents: loss, perplexity, and where it is known more.

    `right_N`, tokens predicted right, gives accuracy; `bytes_N`, bytes of text, bits_per_byte.
    """
    optional = {"accuracy": right_N, "bits_per_byte": bytes_N}
    there = {name: values_N for name, values_N in optional.items() if values_N is not None}

    def figures(sums_SK: Floats) -> Figures:
        nats_S, tokens_S = sums_SK[:, 0], sums_SK[:, 1]
        found = {"loss": nats_S / tokens_S, "perplexity": np.exp(nats_S / tokens_S)}
        for place, name in enumerate(there, start=2):
            more_S = sums_SK[:, place]
            found[name] = more_S / tokens_S if name == "accuracy" else nats_S / math.log(2) / more_S
        return found

    columns = [nats_N, tokens_N, *there.values()]
    return of_rows(np.stack([column.astype(np.float64) for column in columns], axis=1), figures)


def of_overlap(bleu_NK: Floats, chrf_NK: Floats) -> Sums:
    """Return the sums of BLEU and chrF, from sacrebleu's statistics of each answer (`overlap.Overlap.sums`)."""
    from modelmill.evaluation.overlap_sums import bleu, chrf

    width = bleu_NK.shape[1]

    def figures(sums_SK: Floats) -> Figures:
        return {"bleu": bleu(sums_SK[:, :width]), "chrf": chrf(sums_SK[:, width:])}

    return of_rows(np.hstack([bleu_NK, chrf_NK]).astype(np.float64), figures)
