import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelmill.text import clean

# Pieces that change what their neighbours mean, once something between them is gone.
PIECES = [
    *("<br>", "&amp;", "lt;", "&", "<", ">", "b>", "#38;", "&#x", "41;", "&lt;b&gt;", "<!--", "-->", "<script>"),
    *("</script>", "<p", " class='x'>", "&nvlt;", "&amp", "e", "न", "क्", "👩", "\ufe0f"),
    *"\u200b\u200c\u200d\ufeff\u00ad\u0301\u0338\u037e\u212b\ud800\x00\x1c\x85\u2028\u3000\r\n\t ",
]
TEXTS = st.one_of(
    st.text(),
    st.text(st.characters(exclude_categories=())),
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
)


@settings(deadline=None)
@given(TEXTS)
@example("&" + "amp;" * 40 + "lt;b>")
@example("a\u200b\u200d")
@example("\u212b\u200d")
@example("\u2028\u200c")
@example("\u1680\u200c")
@example("न\u200d\u200d")
def test_cleaning_a_clean_text_changes_nothing(text: str) -> None:
    cleaned = clean(text)

    assert clean(cleaned) == cleaned


SPACED = st.lists(
    st.sampled_from([*"a \t\n\r’é", "\r\n", " \n", "e\u0301", "’" * 31, "\u0301" * 40, "&lt;"]), max_size=16
)


@settings(deadline=None)
@given(st.one_of(TEXTS, SPACED.map("".join)))
@example("a" * 20 + "\u0301\u0323" * 16)
@example("a" + "\n" * 40 + "b" + " " * 40 + "c")
def test_texts_that_are_easily_cleaned_are_cleaned_as_all_others(text: str) -> None:
    # An unseen character leads to the patterns, without it a text may go the short way.
    assert clean(text) == clean(text + "\u200b")


def test_a_flood_of_marks_is_cut_wherever_it_stands() -> None:
    for place in range(64):
        assert clean("b" * place + "7" + "\u0330" * 31 + " end") == "b" * place + "7" + "\u0330" * 30 + " end"


@settings(deadline=None)
@given(TEXTS)
def test_a_clean_text_is_utf8_in_nfc_without_needless_space(text: str) -> None:
    cleaned = clean(text)

    cleaned.encode()
    assert unicodedata.is_normalized("NFC", cleaned)
    assert cleaned == cleaned.strip()
    assert not any(pair in cleaned for pair in ("  ", " \n", "\n ", "\n\n\n"))
    assert all(character == "\n" or unicodedata.category(character) != "Cc" for character in cleaned)


@settings(deadline=None)
@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="<&"), min_size=1))
def test_plain_words_stay_as_they_are(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("  two \t words  ", "two words"),
        ("one\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour"),
        ("first \n\n \n second", "first\n\nsecond"),
        ("non\u00a0breaking\u3000wide", "non breaking wide"),
        ("cafe\u0301", "café"),
        ("\ufeffmark", "mark"),
        ("ze\u200bro\u2060 wi\u00addth", "zero width"),
        ("null\x00 bell\x07", "null bell"),
        ("half \ud83d pair", "half \ufffd pair"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
        ("re\u200cview", "review"),
        ("", ""),
        ("\u200b \n", ""),
    ],
)
def test_characters_and_white_space_come_into_one_form(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("a <b>bold</b> film<br/>yes", "a bold film\nyes"),
        ('<p class="a > b">One</p><p>Two</p>', "One\n\nTwo"),
        ("<td>1</td><td>2</td>", "1 2"),
        ("before<script>var x = '<b>';</script>after<style>b {}</style>", "before after"),
        ("kept <!-- not <b>kept</b> --> too", "kept too"),
        ("<!DOCTYPE html><html><body>hello</body></html>", "hello"),
        ("AT&amp;T &copy; 2014 &#8212; &#x41;", "AT&T © 2014 — A"),
        ("&amp;lt;b&amp;gt;twice", "twice"),
        ("<input disabled value=1>x", "x"),
    ],
)
def test_markup_becomes_text(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "a < b and c > d",
        "if a <b and c> d",
        "I <3 it",
        "vector<int> x <y> z",
        "AT&T, R&D, Q&A",
        "/find?a=1&copy=2&lt=3",
        "&notanentity; &notit;",
        "an open <!-- comment",
        "an open <script here",
    ],
)
def test_what_only_looks_like_markup_stays(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    "piece",
    [
        "<!--",
        "<script>",
        "<a x=",
        "<a ",
        "<a x=1 ",
        "&amp;",
        "amp;&",
        " \n",
        "a\u200d",
        "<b checked ",
        "-->",
        "<p>",
        '<a x="',
    ],
)
def test_no_text_takes_more_than_linear_time(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    began = time.perf_counter()

    clean(text)

    # About 1 s here for the slowest; a quadratic pattern would take hours.
    assert time.perf_counter() - began < 20
