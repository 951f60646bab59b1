"""BLEU and chrF from sums of sacrebleu's statistics, of many samples of rows at once.

What sacrebleu 2.6 does one by one with its defaults (BLEU with smoothing "exp", chrF2 of characters), without it:
register compares models where it is not installed. A test holds the two equal.

S samples, O orders of n-grams.
"""

import numpy as np

from modelmill.evaluation.metrics import Floats, ratio

_BLEU_ORDERS = 4
# chrF counts recall twice as much: Popović 2016 (aclanthology.org/W16-2341).
_BETA_SQUARED = 4.0


def bleu(sums_SK: Floats) -> Floats:
    """Return BLEU, from 0 to 100, of sums [S, 2 + 2 x 4]: lengths of answers and references; n-grams right, given."""
    length_S, reference_S = sums_SK[:, 0], sums_SK[:, 1]
    right_SO, given_SO = sums_SK[:, 2 : 2 + _BLEU_ORDERS], sums_SK[:, 2 + _BLEU_ORDERS :]
    missing_SO = right_SO == 0
    # Chen and Cherry 2014 (aclanthology.org/W14-3346), method 3: the first order without a match counts 1/2, then 1/4 …
    halved_SO = np.where(missing_SO, 0.5 ** np.cumsum(missing_SO, axis=1), right_SO)
    score_S = np.zeros(len(sums_SK))
    known_S = (given_SO > 0).all(axis=1) & (right_SO > 0).any(axis=1) & (length_S > 0)
    log_S = np.log(halved_SO[known_S] / given_SO[known_S]).mean(axis=1)
    penalty_S = np.minimum(0.0, 1 - reference_S[known_S] / length_S[known_S])
    score_S[known_S] = 100 * np.exp(log_S + penalty_S)
    return score_S


def chrf(sums_SK: Floats) -> Floats:
    """Return chrF, from 0 to 100, of sums [S, 3 x O]: n-grams of answers, of references, and of both, by order."""
    given_SO, wanted_SO, shared_SO = sums_SK[:, 0::3], sums_SK[:, 1::3], sums_SK[:, 2::3]
    counted_SO = (given_SO > 0) & (wanted_SO > 0)
    orders_S = np.maximum(counted_SO.sum(axis=1), 1)
    precision_S = (ratio(shared_SO, given_SO) * counted_SO).sum(axis=1) / orders_S
    recall_S = (ratio(shared_SO, wanted_SO) * counted_SO).sum(axis=1) / orders_S
    found: Floats = 100 * ratio((1 + _BETA_SQUARED) * precision_S * recall_S, _BETA_SQUARED * precision_S + recall_S)
    return found
