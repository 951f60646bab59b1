"""What a model must justify itself against, fitted on the same training rows: two classifiers and two regressions.

N rows to answer, L labels; of a table M training rows, F numbers of a vector.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelmill.errors import UserError
from modelmill.evaluation.metrics import Floats, Labels

# One Chinese or Japanese character, or a run of other letters and digits: their scripts put no spaces between words.
_WORD = "[\u3040-\u30ff\u3400-\u9fff]|[^\\W\u3040-\u30ff\u3400-\u9fff]+"
# Words and pairs that occur most; bounds memory on large data, more than all of 8,000 short reviews have.
_FEATURES = 2**18
# tf-idf rows have norm 1, for which scikit-learn's C = 1 is too tight: 0.798 against 0.781 in accuracy, the mean over
# three splits of 10,000 movie-review snippets.
_C = 10.0


def majority(train_labels: Labels, labels: int, rows: int) -> Floats:
    """Return the share of each label in the training rows, the same for every row to answer: [N, L].

    The most frequent label wins (of several, the first), as scikit-learn's `DummyClassifier(strategy="prior")` does.
    """
    share_L = np.bincount(train_labels, minlength=labels) / len(train_labels)
    return np.tile(share_L, (rows, 1))


def tfidf(
    train_texts: Sequence[str],
    train_labels: Labels,
    labels: int,
    texts: Sequence[str],
    train_pairs: Sequence[str] = (),
    pairs: Sequence[str] = (),
) -> Floats:
    """Return the probabilities, [N, L], of logistic regression on tf-idf of words and pairs of neighbours.

    Where rows have a second text, its words count apart, and once more those that both texts have. A label that no
    training row carries gets 0.

    Raises:
        UserError: the training rows carry fewer than two labels, or hold no word at all.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    seen = np.unique(train_labels)
    if len(seen) < 2:
        raise UserError(
            f"the {len(train_labels):,} training rows carry {len(seen)} of {labels} labels; a classifier needs 2: "
            "give more labelled rows, or a larger train split"
        )
    vectorizer = TfidfVectorizer(
        token_pattern=_WORD, ngram_range=(1, 2), sublinear_tf=True, max_features=_FEATURES, dtype=np.float64
    )
    try:
        features = vectorizer.fit_transform([*train_texts, *train_pairs])
    except ValueError as error:  # scikit-learn's "empty vocabulary"
        raise UserError(
            f"none of {len(train_texts):,} training texts holds a letter or a digit ({error}); check the text column"
        ) from error
    answered = vectorizer.transform(texts)
    if train_pairs:
        features = _both(features[: len(train_texts)], features[len(train_texts) :])
        answered = _both(answered, vectorizer.transform(pairs))
    classifier = LogisticRegression(C=_C, max_iter=1000).fit(features, train_labels)
    probability_NL = np.zeros((len(texts), labels))
    probability_NL[:, seen] = classifier.predict_proba(answered)
    return probability_NL


def _both(counted: Any, counted_of_pair: Any) -> Any:
    from scipy.sparse import hstack

    return hstack([counted, counted_of_pair, counted.multiply(counted_of_pair)], format="csr")


def mean(train_targets: Floats, rows: int) -> Floats:
    """Return the mean of the training rows' targets for every row to answer: [N]."""
    return np.full(rows, train_targets.mean())


def least_squares(train_MF: NDArray[Any], train_targets: Floats, features_NF: NDArray[Any]) -> Floats:
    """Return what ordinary least squares with an intercept, in closed form, answers to rows: [N].

    Of equally good solutions, where features depend on each other, the one with the smallest weights.
    """
    weights_F, intercept = least_squares_weights(train_MF, train_targets)
    answers_N: Floats = features_NF.astype(np.float64) @ weights_F + intercept
    return answers_N


def least_squares_weights(train_MF: NDArray[Any], train_targets: Floats) -> tuple[Floats, float]:
    """Return the weights [F] and the intercept of ordinary least squares."""
    centre_F = train_MF.mean(axis=0, dtype=np.float64)
    middle = float(train_targets.mean())
    weights_F = np.linalg.lstsq(train_MF.astype(np.float64) - centre_F, train_targets - middle, rcond=None)[0]
    return weights_F, middle - float(centre_F @ weights_F)
