"""Windows hold the whole context, and the best span of all of them is found."""

from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelmill.models.questions import Decoder, Window, token_span, windows
from modelmill.training.question_settings import Questions, misfit, window_room

SPECIAL = {"cls": 1, "sep": 2, "pad": 0}


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, int, int, Questions]:
    most = draw(st.integers(1, 6))
    max_tokens = draw(st.integers(most + 5, 30))
    stride = draw(st.integers(0, max_tokens - most - 4))
    asked, context = draw(st.integers(0, 9)), draw(st.integers(0, 80))
    return asked, context, max_tokens, Questions(stride=stride, max_question_tokens=most)


@given(cases())
def test_windows_hold_every_token_in_order_share_the_stride_and_fit(case: tuple[int, int, int, Questions]) -> None:
    asked, context, max_tokens, settings = case
    context_ids = np.arange(100, 100 + context)
    made = windows(np.arange(10, 10 + asked), context_ids, SPECIAL, max_tokens, settings)
    assert made[0].first == 0
    assert made[-1].first + made[-1].length == context
    question = list(range(10, 10 + min(asked, settings.max_question_tokens)))
    for window in made:
        part = context_ids[window.first : window.first + window.length].tolist()
        assert window.ids_T.tolist() == [1, *question, 2, *part, 2]
        assert len(window.ids_T) <= max_tokens
        for token in range(context):
            place = window.place(token)
            assert (place > 0) == (window.first <= token < window.first + window.length)
            assert not place or window.ids_T[place] == context_ids[token]
    for left, right in pairwise(made):
        assert left.first + left.length - right.first == settings.stride
        assert left.length == window_room(settings, max_tokens, asked)


def test_a_question_longer_than_the_row_and_a_stride_as_wide_as_it_are_refused_with_both_numbers() -> None:
    assert misfit(Questions(max_question_tokens=29), 32).startswith("finetune.questions.max_question_tokens: 29 and 3")
    assert "20 tokens shared by two windows, and beside the longest question a window holds 19" in misfit(
        Questions(max_question_tokens=10, stride=20), 32
    )
    assert not misfit(Questions(max_question_tokens=10, stride=18), 32)


def test_characters_are_found_in_the_tokens_that_hold_them() -> None:
    starts, ends = np.array([0, 4, 4, 10]), np.array([3, 9, 9, 12])
    assert token_span(starts, ends, 0, 3) == (0, 0)
    assert token_span(starts, ends, 5, 7) == (1, 2)
    assert token_span(starts, ends, 2, 11) == (0, 3)
    assert token_span(starts, ends, 3, 4) is None
    assert token_span(starts, ends, 12, 20) is None


@given(st.integers(1, 40), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_the_answer_is_the_best_span_of_all_windows_that_is_short_enough(tokens: int, longest: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    settings = Questions(stride=3, max_question_tokens=2, max_answer_tokens=longest, n_best=3)
    made = windows(np.arange(2), np.arange(tokens), SPECIAL, 16, settings)
    scores = [(generator.normal(size=len(one.ids_T)), generator.normal(size=len(one.ids_T))) for one in made]
    starts_C, ends_C = np.arange(tokens) * 5, np.arange(tokens) * 5 + 4
    found = Decoder(questions=settings, unanswerable=False).answer(
        made, [start for start, _ in scores], [end for _, end in scores], starts_C, ends_C
    )
    best = max(
        (start_T[one.place(first)] + end_T[one.place(last)], first, last)
        for one, (start_T, end_T) in zip(made, scores, strict=True)
        for first in range(one.first, one.first + one.length)
        for last in range(first, min(first + longest, one.first + one.length))
    )
    assert (found.start, found.end) == (best[1] * 5, best[2] * 5 + 4)
    assert 0 < found.score <= 1


def _one(null: float) -> tuple[Window, Any]:
    window = Window(ids_T=np.array([1, 9, 2, 5, 6, 2]), body=3, first=0, length=2)
    return window, np.array([null, 9.0, 9.0, 2.0, 0.0, 9.0])


def test_no_answer_is_given_only_past_the_threshold_and_only_where_that_was_learned() -> None:
    places = np.array([0, 3]), np.array([2, 5])

    def answer(null: float, threshold: float, unanswerable: bool = True) -> tuple[int, int]:
        window, score_T = _one(null)
        questions = Questions(null_threshold=threshold)
        found = Decoder(questions=questions, unanswerable=unanswerable).answer([window], [score_T], [score_T], *places)
        return found.start, found.end

    # The best span scores 2 + 2; nothing of the question or its separators counts, whatever it scores.
    assert answer(3.0, 0.0) == (-1, -1)
    assert answer(3.0, 2.5) == (0, 2)
    assert answer(1.0, 0.0) == (0, 2)
    assert answer(3.0, 0.0, unanswerable=False) == (0, 2)


def test_of_several_windows_the_least_sure_of_no_answer_decides() -> None:
    questions = Questions()
    pairs = [_one(5.0), _one(1.0)]
    found = Decoder(questions=questions, unanswerable=True).answer(
        [window for window, _ in pairs], [one for _, one in pairs], [one for _, one in pairs],
        np.array([0, 3]), np.array([2, 5]),
    )  # fmt: skip
    assert found.start == 0


def test_an_empty_context_has_no_answer() -> None:
    made = windows(np.arange(2), np.arange(0), SPECIAL, 16, Questions(max_question_tokens=4, stride=1))
    score = np.zeros(len(made[0].ids_T))
    empty = np.array([], dtype=np.int64)
    found = Decoder(questions=Questions(), unanswerable=False).answer(made, [score], [score], empty, empty)
    assert (found.start, found.end, found.text("")) == (-1, -1, "")
