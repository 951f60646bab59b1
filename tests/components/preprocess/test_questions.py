"""Questions become tokens whose places are those of the text."""

from pathlib import Path

import pytest

from modelmill.dataset import open_dataset
from modelmill.errors import ModelmillError, UserError
from modelmill.store import Store, open_store
from tests import questions


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.mark.parametrize(
    "tokenizer",
    [{"kind": "wordpiece"}, {"kind": "bpe", "lowercase": False, "vocabulary": 400}, {"kind": "unigram"}],
    ids=["wordpiece", "bpe", "unigram"],
)
def test_every_token_stands_in_the_context_where_it_says(
    store: Store, tmp_path: Path, tokenizer: dict[str, str]
) -> None:
    awkward = questions.row("Où est l’été?", "Él dijo: İstanbul é… 中文, ﬁn\n2 × “dos”.", ("中文", 21))
    given = {"train": [*questions.rows(40, 1), awkward], "validation": questions.rows(5, 2)}
    assert awkward["context"][21:23] == "中文"
    _, made = questions.tokens(store, tmp_path, given, tokenizer)
    dataset = open_dataset(store, made.labelled)
    assert dataset.meta["kind"] == "question-tokens"
    for row in dataset.table("train").to_pylist():
        context = row["context"]
        places = list(zip(row["context_starts"], row["context_ends"], strict=True))
        assert len(places) == len(row["context_ids"])
        assert places == sorted(places)
        held = {at for start, end in places for at in range(start, end)}
        assert all(context[at].isspace() for at in set(range(len(context))) - held)
        # A space before a word is no part of an answer.
        assert not any(context[start].isspace() for start, end in places if end - start > 1)
        for answer in row["answers"]:
            assert context[answer["start"] :].startswith(answer["text"])
    assert made.summary["labelled_rows"] == 46
    assert made.summary["labelled_longest_question"] == max(
        map(len, dataset.table("train")["question_ids"].to_pylist())
    )


def test_words_of_jieba_have_no_places_and_are_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"preprocess\.tokenizer\.segment: jieba cuts texts into words"):
        questions.tokens(store, tmp_path, {"train": questions.rows(9)}, {"segment": "jieba"})


def test_an_answer_that_is_not_where_it_should_be_is_refused(store: Store, tmp_path: Path) -> None:
    wrong = questions.row("what?", "a short one", ("one", 90))
    with pytest.raises(ModelmillError, match="'one' should start at character 90 of a context of 11"):
        questions.tokens(store, tmp_path, {"train": [*questions.rows(9), wrong]})
