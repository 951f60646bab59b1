import random
import re
import time

import pytest
from ftfy.badness import MOJIBAKE_CATEGORIES, is_bad
from hypothesis import given
from hypothesis import strategies as st

from components.ingest.text.repair import _suspects, repair
from tests.components.ingest.text.multilingual import SENTENCES

GOOD = [
    *SENTENCES.values(),
    "“Smart quotes” — and a dash… it’s 5 €, £3, 20 °C ± 1, ½ cup, n° 5, § 12, ©2020 ACME®",
    "«\xa0Oui\xa0», répondit-il ; l’été à l’Hôtel-Dieu, où naïveté et œuvres se mêlent — ÉTÉ",
    "ÄÖÜ äöü ß: Größe, Äpfel, ÜBER",
    "ＬＯＵＤ　ＮＯＩＳＥ ﬁne ½ ² ™ &amp; &lt;b&gt;",
    "x² + y² ≤ π·r², ∑ ≠ ∞, √2 ≈ 1.41",
    "(╯°□°)╯︵ ┻━┻ ¯\\_(ツ)_/¯ ʕ•ᴥ•ʔ",
    "Voilà déjà là-bas; château à côté",
    "São Paulo, Ñandú, Århus, Łódź, Çeşme, Reykjavík, Þór",
    "ÀÉÎÕÜ in capitals: CAFÉ, NOËL, MÜNCHEN, ESPAÑA, AÇÃO",
    "Chapter 1 ················ 12",
    "°°°°°°°°°°°°°°°°°°°° ×××××××××××××××××××××",
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿ",
    "ÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄ ÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖÖ",
    "🙂👍🏽 emoji 👩‍👩‍👧 and flags 🇨🇳",
]


def test_good_text_of_any_language_stays_as_it_is() -> None:
    texts, changed = repair(GOOD)

    assert texts == GOOD
    assert not changed.any()


@given(st.lists(st.sampled_from(GOOD), min_size=1, max_size=5), st.sampled_from(["", " ", "\n", " – ", "，"]))
def test_good_texts_side_by_side_stay_as_they_are(parts: list[str], between: str) -> None:
    text = between.join(parts)

    assert repair([text])[0] == [text]


WRITTEN = [SENTENCES[code] for code in ("zh", "ja", "ru", "de", "fr")] + [
    "“good” — really…",
    "这家酒店的位置很好",
]


def _could_be_read(text: str, encoding: str) -> bool:
    try:
        text.encode().decode(encoding)
    except UnicodeDecodeError:
        return False
    # Not repaired by ftfy: Cyrillic read as Mac Roman, which is dashes and mathematical signs all through.
    return (text, encoding) != (SENTENCES["ru"], "mac_roman")


READ = [
    (text, name)
    for name in ("latin-1", "cp1252", "cp1251", "mac_roman")
    for text in WRITTEN
    if _could_be_read(text, name)
]


@pytest.mark.parametrize(("text", "encoding"), READ)
def test_utf8_read_in_another_encoding_is_undone(text: str, encoding: str) -> None:
    broken = text.encode().decode(encoding)

    texts, changed = repair([broken])

    assert texts == [text]
    assert changed.tolist() == [True]


def test_there_are_enough_broken_texts() -> None:
    assert len(READ) >= 20


@pytest.mark.parametrize("text", [SENTENCES["zh"], "位置很好，离地铁站不远", "评分：很好很好非常好，ok！下次还会再来"])
def test_gbk_read_as_latin_is_undone(text: str) -> None:
    broken = text.encode("gbk").decode("latin-1")

    assert repair([broken])[0] == [text]


def test_a_broken_line_among_good_ones_is_the_only_one_that_changes() -> None:
    text = f"{SENTENCES['zh']}\nschÃ¶n ist’s\n{SENTENCES['fr']}"

    assert repair(["ok", text, ""])[0] == ["ok", f"{SENTENCES['zh']}\nschön ist’s\n{SENTENCES['fr']}", ""]


def test_nothing_but_the_encoding_changes() -> None:
    broken = "ﬁne “quotes” &amp; ｗｉｄｅ cafÃ©"

    assert repair([broken])[0] == ["ﬁne “quotes” &amp; ｗｉｄｅ café"]


def test_whatever_ftfy_calls_bad_is_looked_at() -> None:
    """The quick look must never miss what ftfy would repair; an upgrade that knows more characters fails here."""
    characters = [" ", "a", "z", ".", "A", "1", "中"]
    for letters in MOJIBAKE_CATEGORIES.values():
        for low, high in re.findall("(.)(?:-(.))?", letters, re.DOTALL):
            characters += map(chr, range(ord(low), ord(high or low) + 1))
    draw = random.Random(0)
    texts = [first + second for first in characters for second in characters]
    texts += ["".join(draw.choices(characters, k=draw.choice((3, 4, 5)))) for _ in range(50_000)]
    bad = [text for text in texts if is_bad(text)]

    assert len(bad) > 50_000
    assert _suspects(bad) == list(range(len(bad)))


@given(st.lists(st.text(st.characters(exclude_categories=())), max_size=4))
def test_any_text_can_be_looked_at(texts: list[str]) -> None:
    repaired, changed = repair(texts)

    assert [new != old for new, old in zip(repaired, texts, strict=True)] == changed.tolist()


@pytest.mark.parametrize("piece", ["Ã¶", "â€™", "Ã", "À", "\x85", "é ", "œ", "ÄãºÃ", "вЂ™", "Ã ", "Â", "¶"])
def test_no_text_takes_more_than_linear_time(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    began = time.perf_counter()

    repair([text])

    assert time.perf_counter() - began < 60


@pytest.mark.parametrize("text", ["3×“wide” screens", "2×’", "a ×“b”"])
def test_a_sign_of_multiplication_before_a_quotation_mark_is_no_hebrew_letter(text: str) -> None:
    assert repair([text])[0] == [text]


def test_hebrew_that_was_read_as_another_encoding_is_repaired() -> None:
    text = "\u05d4\u05e1\u05e8\u05d8 \u05d4\u05d6\u05d4 \u05e0\u05d4\u05d3\u05e8 \u05de\u05d0\u05d5\u05d3"
    assert repair([text.encode().decode("latin-1")])[0] == [text]
