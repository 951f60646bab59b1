import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.ingest.report.words import CUT, changes, counted, cut, number, percent, ranges, visible


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [
        (0, 10, "0 %"),
        (10, 10, "100 %"),
        (1, 3, "33.3 %"),
        (1, 300, "0.33 %"),
        (1, 10**6, "< 0.01 %"),
        (999_999, 10**6, "> 99.9 %"),
        (0, 0, "–"),
    ],
)
def test_a_share_has_digits_that_say_something(part: int, whole: int, said: str) -> None:
    assert percent(part, whole).replace("\u00a0", " ") == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (4.0, "4"),
        (1234567.0, "1,234,567"),
        (2511.886, "2,512"),
        (12345.6, "12,346"),
        (-0.5, "−0.5"),
        (1e300, "1e+300"),
        (-1.5e-7, "−1.5e−07"),
    ],
)
def test_a_figure_is_short(value: float, said: str) -> None:
    assert number(value) == said


def test_one_is_not_plural() -> None:
    assert [counted(0, "row"), counted(1, "row"), counted(12_345, "row")] == ["0 rows", "1 row", "12,345 rows"]


def test_a_long_text_is_cut() -> None:
    assert cut("abcdef", 3) == "abc …"
    assert cut("abc", 3) == "abc"


def test_what_cannot_be_seen_is_written_out() -> None:
    assert visible("a\x00b\u200bc\u202ed\ne\tf\ud800") == "a⟨0000⟩b⟨200B⟩c⟨202E⟩d\ne\tf?"


def test_emoji_and_joined_scripts_stay_whole() -> None:
    assert visible("👩‍👩‍👧 می‌خواهم") == "👩‍👩‍👧 می‌خواهم"


def test_what_was_changed_is_marked() -> None:
    before, after = changes("call 555 now", "call <PHONE> now")
    assert [text for text, changed in before if changed] == ["555"]
    assert "".join(text for text, changed in after if changed) == "<PHONE>"


def test_one_change_in_a_long_text_is_the_only_one_marked() -> None:
    text = " on and off" * 50
    before, _ = changes("555" + text, "666" + text)
    assert [piece for piece, changed in before if changed] == ["555"]


def test_a_change_in_chinese_is_marked_by_characters() -> None:
    before, _ = changes("电影很好看", "电影不好看")
    assert [text for text, changed in before if changed] == ["很"]


def test_a_change_far_into_a_text_is_shown() -> None:
    before, after = changes("word " * 500 + "555 end", "word " * 500 + "<PHONE> end")
    assert "555" in "".join(text for text, _ in before)
    assert "<PHONE>" in "".join(text for text, _ in after)


@given(st.text(max_size=200), st.text(max_size=200))
def test_the_pieces_of_short_texts_are_the_texts(before: str, after: str) -> None:
    one, other = changes(before, after)
    assert "".join(text for text, _ in one) == before
    assert "".join(text for text, _ in other) == after


def test_texts_that_are_hard_to_compare_take_no_time() -> None:
    start = time.perf_counter()
    changes("ab" * 5_000 + "!", "ba" * 5_000 + "!")
    changes("。" * 5_000, "。，" * 5_000)
    assert time.perf_counter() - start < 0.5
    assert len("".join(text for text, _ in changes("a" * 9_999, "b")[0])) <= CUT + 2


def test_cluster_sizes_are_put_together() -> None:
    assert ranges([(2, 7), (3, 1), (5, 2), (9, 1), (250_000, 1)]) == [
        ("2", 7),
        ("3", 1),
        ("5 to 9", 3),
        ("100,000 and more", 1),
    ]
