import logging
import socket
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.ingest.text.html import main_text
from tests.components.ingest.text.multilingual import SENTENCES

MENU = "<nav><ul><li><a href='/'>Home page</a></li><li><a href='/x'>Our products</a></li></ul></nav>"
FOOT = "<footer><p>Copyright 2020, all rights reserved. <a href='/p'>Privacy policy</a></p></footer>"


def _page(*paragraphs: str) -> str:
    text = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    return (
        f"<!DOCTYPE html><html><head><title>Title</title><style>p {{}}</style></head><body>{MENU}"
        f"<article><h1>Headline</h1>{text}</article>{FOOT}<script>var x = 1;</script></body></html>"
    )


@pytest.mark.parametrize("code", ["en", "zh", "ja", "ru", "ar", "th", "de"])
def test_the_article_stays_and_menus_and_footers_go(code: str) -> None:
    paragraphs = [f"{number}: {SENTENCES[code]} {SENTENCES[code]}" for number in range(5)]

    text = main_text(_page(*paragraphs)) or ""

    assert all(paragraph in text for paragraph in paragraphs)
    assert not any(word in text for word in ("Home page", "products", "Copyright", "Privacy", "var x", "{}"))


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>short</p>", "short"),
        ("no markup, a < b & c", "no markup, a < b & c"),
        ("<html><body>only &amp; this</body></html>", "only & this"),
        ("", None),
        ("<html><head></head><body> </body></html>", None),
        ("<script>x()</script>", None),
    ],
)
def test_where_no_article_is_found_the_text_between_the_tags_is_taken(html: str, text: str | None) -> None:
    assert main_text(html) == text


@pytest.mark.parametrize("depth", [150, 300, 5000])
def test_nothing_below_deep_nesting_is_lost(depth: int) -> None:
    sentence = SENTENCES["en"]
    above = "".join(f"<p>{number} {sentence}</p>" for number in range(4))
    html = (
        f"<html><body><article>{above}{'<div>' * depth}<p>low {sentence}</p>{'</div>' * depth}</article></body></html>"
    )

    text = main_text(html) or ""

    assert text.count(sentence) == 5
    assert "low" in text


def test_a_page_of_millions_of_characters_is_not_taken_apart() -> None:
    html = _page(*[SENTENCES["en"]] * 40_000)
    began = time.perf_counter()

    text = main_text(html)

    assert text is not None
    assert text.count(SENTENCES["en"]) == 40_000
    assert time.perf_counter() - began < 20


@pytest.mark.parametrize(
    "piece",
    [
        "<div>",
        "<b>x",
        "<p>a",
        "<a href='",
        "</div>",
        "<",
        "<table><tr><td>",
        "<!--",
        "&amp;",
        "<span>x</span>",
        "<ul><li>x",
    ],
)
def test_no_page_takes_long(piece: str) -> None:
    began = time.perf_counter()

    main_text("<html><body>" + piece * (500_000 // len(piece)))

    # Under 2 s here for each of them.
    assert time.perf_counter() - began < 30


def test_it_says_nothing_and_asks_no_network(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with caplog.at_level(logging.DEBUG):
        main_text("<p>x</p>")
        main_text("<html><body><div></div></body></html>")
        main_text(_page(SENTENCES["en"] * 5))

    assert not caplog.records


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.sampled_from(
            [
                "<p>",
                "</p>",
                "<div>",
                "</div>",
                "<a href=x>",
                "text ",
                "\0",
                "\ud800",
                "&#0;",
                "<?x?>",
                "中",
                "<!",
                "]]>",
            ]
        ),
        max_size=30,
    )
)
def test_any_page_has_an_answer(pieces: list[str]) -> None:
    text = main_text("".join(pieces))

    assert text is None or text.strip()
