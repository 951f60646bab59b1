"""Figures from sums over rows are scikit-learn's and sacrebleu's, in whatever order rows come and count."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from modelmill.evaluation import curves, metrics, regression, sums
from modelmill.evaluation.answers import exact_match, f1
from modelmill.evaluation.overlap import overlap
from modelmill.evaluation.sums import Sums
from tests.modelmill.evaluation import made

seeds = st.integers(0, 2**32 - 1)


def close(figures: dict[str, float], wanted: dict[str, float], tolerance: float = 1e-9) -> None:
    assert {name: figures[name] for name in wanted} == pytest.approx(wanted, abs=tolerance, rel=tolerance)


@given(seed=seeds, rows=st.integers(1, 60), labels=st.integers(2, 5))
@settings(max_examples=60, deadline=None)
def test_figures_of_classes_are_those_of_scikit_learn(seed: int, rows: int, labels: int) -> None:
    truth, probability = made.guesses(rows, labels, seed=seed)
    given_N = probability.argmax(axis=1)
    names = [f"label {number}" for number in range(labels)]
    known = {"labels": np.arange(labels), "average": "macro", "zero_division": 0.0}
    found = sums.of_labels(truth, given_N, names).score()
    close(
        found,
        {
            "accuracy": sklearn.accuracy_score(truth, given_N),
            "precision_macro": sklearn.precision_score(truth, given_N, **known),
            "recall_macro": sklearn.recall_score(truth, given_N, **known),
            "f1_macro": sklearn.f1_score(truth, given_N, **known),
            "f1_label 1": sklearn.f1_score(truth == 1, given_N == 1, zero_division=0.0),
        },
    )
    there = np.unique(truth)
    recalls = [(given_N[truth == one] == one).mean() for one in there]
    close(found, {"balanced_accuracy": float(np.mean(recalls))})


@given(seed=seeds, rows=st.integers(1, 60), labels=st.integers(2, 5))
@settings(max_examples=40, deadline=None)
def test_figures_of_probabilities_are_those_of_scikit_learn(seed: int, rows: int, labels: int) -> None:
    truth, probability = made.guesses(rows, labels, seed=seed)
    known = list(range(labels))
    found = sums.of_probabilities(truth, probability).score()
    close(found, {"log_loss": sklearn.log_loss(truth, probability, labels=known)})
    if labels == 2:
        close(found, {"brier_score_loss": sklearn.brier_score_loss(truth, probability[:, 1], labels=known)})
    bins = curves.confidence_bins(truth, probability)
    assert found["calibration_error"] == pytest.approx(curves.calibration_error(bins), abs=2e-6)


@given(seed=seeds, rows=st.integers(2, 60))
@settings(max_examples=40, deadline=None)
def test_figures_of_numbers_are_those_of_scikit_learn(seed: int, rows: int) -> None:
    generator = np.random.default_rng(seed)
    truth = generator.uniform(10, 20, rows)
    predicted = truth + generator.normal(size=rows)
    inside = generator.uniform(0.1, 2, rows)
    found = sums.of_numbers(truth, predicted, (predicted - inside, predicted + inside)).score()
    close(
        found,
        {
            "r2": sklearn.r2_score(truth, predicted),
            "rmse": sklearn.root_mean_squared_error(truth, predicted),
            "mae": sklearn.mean_absolute_error(truth, predicted),
            "mean_absolute_percentage_error": sklearn.mean_absolute_percentage_error(truth, predicted),
            "interval_coverage": float((np.abs(truth - predicted) <= inside).mean()),
        },
        1e-7,
    )


def test_figures_that_the_report_tells_come_out_equal() -> None:
    truth, probability = made.guesses(500, 3)
    labels = ("a", "b_c", "d")
    told = metrics.score(truth, probability) | metrics.f1_by_label(truth, probability, labels)
    found = sums.of_labels(truth, probability.argmax(axis=1), labels).score()
    found |= sums.of_probabilities(truth, probability).score()
    assert {name: round(found[name], 6) for name in told} == told
    generator = np.random.default_rng(0)
    numbers = generator.normal(size=300) * 3 + 20
    predicted = numbers + generator.normal(size=300)
    found = sums.of_numbers(numbers, predicted).score()
    told = regression.score(numbers, predicted)
    assert {name: regression.rounded(name, found[name]) for name in told} == told


def test_figures_of_answers_and_of_tokens_follow_from_their_sums() -> None:
    pairs = [("the cat", ["cat"]), ("a dog barks", ["dog"]), ("", ["x"])]
    given_, real = [exact_match(*pair) for pair in pairs], [f1(*pair) for pair in pairs]
    found = sums.of_means({"exact_match": np.array(given_), "f1": np.array(real)}).score()
    close(found, {"exact_match": float(np.mean(given_)), "f1": float(np.mean(real))})
    nats, tokens, right = np.array([3.0, 5.0]), np.array([2, 6]), np.array([1, 3])
    found = sums.of_tokens(nats, tokens, right, np.array([10, 30])).score()
    wanted = {"loss": 1.0, "perplexity": float(np.e), "accuracy": 0.5, "bits_per_byte": 8 / np.log(2) / 40}
    close(found, wanted)


words = st.lists(st.sampled_from(["a", "b", "film", "plays", "well", "Über", "."]), max_size=9).map(" ".join)


@given(rows=st.lists(st.tuples(words, words.filter(bool)), min_size=1, max_size=6))
@settings(max_examples=150, deadline=None)
def test_bleu_and_chrf_are_those_of_sacrebleu(rows: list[tuple[str, str]]) -> None:
    found = overlap([answer for answer, _ in rows], [reference for _, reference in rows])
    close(sums.of_overlap(found.sums["bleu"], found.sums["chrf"]).score(), found.figures(), 1e-7)


def _all(seed: int, rows: int) -> list[Callable[[np.ndarray], Sums]]:
    """Return, by what kind of figures, the sums of chosen rows."""
    generator = np.random.default_rng(seed)
    truth, probability = made.guesses(rows, 3, seed=seed)
    numbers, noise = generator.uniform(10, 20, rows), generator.normal(size=rows)
    bleu, chrf = generator.integers(1, 9, (rows, 10)), generator.integers(1, 9, (rows, 18))
    tokens = generator.integers(1, 9, rows)
    return [
        lambda rows_: sums.of_labels(truth[rows_], probability[rows_].argmax(axis=1), ("a", "b", "c")),
        lambda rows_: sums.of_probabilities(truth[rows_], probability[rows_]),
        lambda rows_: sums.of_numbers(numbers[rows_], numbers[rows_] + noise[rows_]),
        lambda rows_: sums.of_means({"f1": np.abs(noise[rows_]).round(1)}),
        lambda rows_: sums.of_tokens(np.abs(noise[rows_]), tokens[rows_]),
        lambda rows_: sums.of_overlap(bleu[rows_].astype(float), chrf[rows_].astype(float)),
    ]


@given(seed=seeds, rows=st.integers(2, 40))
@settings(max_examples=30, deadline=None)
def test_the_order_of_rows_says_nothing(seed: int, rows: int) -> None:
    shuffled = np.random.default_rng(seed).permutation(rows)
    for kind in _all(seed, rows):
        close(kind(shuffled).score(), kind(np.arange(rows)).score())


@given(seed=seeds, rows=st.integers(2, 30))
@settings(max_examples=30, deadline=None)
def test_a_row_of_weight_three_is_three_rows_and_one_of_weight_0_is_none(seed: int, rows: int) -> None:
    weight = np.random.default_rng(seed).integers(0, 4, rows)
    weight[:2] = 1
    repeated = np.repeat(np.arange(rows), weight)
    for kind in _all(seed, rows):
        close(kind(np.arange(rows)).score(weight), kind(repeated).score(), 1e-7)
        close(kind(np.arange(rows)).of(repeated).score(), kind(repeated).score(), 1e-7)
