"""SQuAD's figures against values worked out by hand, and the two answerers that learn nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelmill.evaluation import intervals
from modelmill.evaluation.answers import exact_match, f1, first_sentence, normalized, sliding_window


def test_capitals_articles_punctuation_and_space_do_not_count() -> None:
    assert normalized("  The  U.S. and a dog's Theatre, an... ") == "us and dogs theatre"
    assert exact_match("the Eiffel Tower!", ["Paris", "Eiffel tower"]) == 1
    # As in SQuAD's script, an English apostrophe of print is a letter like others.
    assert exact_match("don’t", ["dont"]) == 0


def test_f1_is_that_of_the_nearest_reference_by_words_and_how_often_they_occur() -> None:
    # given: to be or not to be; shared with the second: to, be, not = 3 of 6 and 3 of 3.
    assert f1("to be or not to be", ["whatever", "not to be"]) == pytest.approx(2 * 3 / (6 + 3))
    assert f1("very very good", ["very good"]) == pytest.approx(2 * 2 / 5)
    assert f1("red", ["blue"]) == 0


def test_no_answer_is_right_where_there_is_none_and_wrong_elsewhere() -> None:
    assert (exact_match("", []), f1("", [])) == (1, 1)
    assert (exact_match("red", []), f1("red", [])) == (0, 0)
    assert (exact_match("", ["red"]), f1("", ["red"])) == (0, 0)
    # A reference of nothing but an article is none.
    assert f1("", ["the"]) == 1


def test_chinese_is_compared_by_characters_and_without_its_punctuation() -> None:
    assert exact_match("《红楼梦》。", ["红楼梦"]) == 1
    # 北京 of 北京大学: 2 of 2 and 2 of 4 characters.
    assert f1("北京", ["北京大学"]) == pytest.approx(2 * 2 / 6)
    assert f1("1949年", ["1949 年"]) == 1


@given(st.text(max_size=20), st.lists(st.text(max_size=20), max_size=3))
def test_f1_is_at_least_exact_match_and_at_most_1(answer: str, references: list[str]) -> None:
    assert exact_match(answer, references) <= f1(answer, references) <= 1


def test_the_sliding_window_gives_the_clause_beside_the_words_of_the_question() -> None:
    context = "The mayor was born in Rome in 1901. He founded the opera, then he moved to Lyon."
    start, end = sliding_window("What did he do when he founded the opera?", context)
    assert context[start:end] in {"then he moved to Lyon.", "The mayor was born in Rome in 1901."}
    assert context[slice(*first_sentence("Who?", context))] == "The mayor was born in Rome in 1901."


@given(st.text(max_size=20), st.text(max_size=60))
def test_answers_of_baselines_lie_in_the_context(question: str, context: str) -> None:
    for answer in (sliding_window, first_sentence):
        start, end = answer(question, context)
        assert 0 <= start <= end <= len(context)


def test_the_bootstrap_agrees_with_the_normal_interval_of_a_mean() -> None:
    values_N = np.random.default_rng(3).random(2000)
    (ours,) = intervals.of_bootstrap(values_N[:, None])
    assert ours == pytest.approx(intervals.of_mean(values_N), abs=1e-3)
    assert intervals.of_bootstrap(np.ones((5, 2))) == [(1, 1), (1, 1)]
