import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from components.ingest.text.language import UNKNOWN, Language, detector
from tests.components.ingest.text.multilingual import SENTENCES

DETECT = detector(Language(keep=["en"]))


@pytest.mark.parametrize(("code", "sentence"), SENTENCES.items())
def test_a_sentence_is_told_with_confidence(code: str, sentence: str) -> None:
    [(found, confidence)] = DETECT([sentence])

    assert found == code
    assert confidence > 0.65


def test_a_batch_gives_each_text_what_it_gets_alone() -> None:
    texts = [*SENTENCES.values(), "", "123", "ok"]

    assert DETECT(texts) == [DETECT([text])[0] for text in texts]
    assert DETECT(texts[::-1]) == DETECT(texts)[::-1]
    assert DETECT([]) == []


@pytest.mark.parametrize("text", ["", "123 !!", "👍👍", "\ud800", "...", "8/10"])
def test_without_letters_the_language_is_unknown(text: str) -> None:
    assert DETECT([text]) == [(UNKNOWN, 0.0)]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("很好", "zh"),
        ("这个iPhone 14 Pro Max很好用", "zh"),
        ("我喜欢の这个字", "zh"),
        ("東京の天気", "ja"),
        ("カタカナ", "ja"),
        ("𠀀𠀁𠀂", "zh"),
    ],
)
def test_chinese_and_japanese_are_told_without_spaces_by_kana(text: str, code: str) -> None:
    assert DETECT([text])[0][0] == code


def test_a_name_in_another_script_lowers_the_confidence_only() -> None:
    [(code, alone), (mixed, less)] = DETECT(["很好很好", "很好很好 ok"])

    assert (code, mixed) == ("zh", "zh")
    assert less < alone == 1


def test_words_of_another_script_lower_what_the_model_says() -> None:
    [(code, confidence)] = DETECT([SENTENCES["en"] + " Этот фильм"])

    assert code == "en"
    assert 0.8 < confidence < 0.95


def test_only_the_head_of_a_text_counts() -> None:
    assert DETECT([SENTENCES["en"] * 4 + SENTENCES["fr"] * 1000]) == DETECT([SENTENCES["en"] * 4])


def test_a_text_stays_by_its_language_and_what_is_unknown_by_the_setting() -> None:
    kept = Language(keep=["en", "zh"])
    strict = Language(keep=["en"], unknown="drop", min_confidence=0.9)

    assert [kept.keeps(found) for found in [("en", 0.9), ("zh", 1.0), ("fr", 0.9), ("fr", 0.3), (UNKNOWN, 0.0)]] == [
        *(True, True, False, True, True)
    ]
    assert [strict.keeps(found) for found in [("en", 0.95), ("en", 0.8), (UNKNOWN, 0.0)]] == [True, False, False]


def test_a_rarer_language_is_told_when_it_is_named() -> None:
    sentence = "Ngiyabonga kakhulu ngosizo lwakho, sizobonana kusasa ekuseni emsebenzini."

    assert detector(Language(keep=["zu"]))([sentence])[0][0] == "zu"
    assert DETECT([sentence])[0][0] != "zu"


@pytest.mark.parametrize("keep", [[], ["xx"], ["english"], ["EN"], ["unknown"]])
def test_a_language_that_cannot_be_told_is_refused(keep: list[str]) -> None:
    with pytest.raises(ValidationError):
        Language(keep=keep)


def test_another_process_finds_the_same_in_little_memory() -> None:
    code = (
        "from pathlib import Path\n"
        "from components.ingest.text.language import Language, detector\n"
        "from tests.components.ingest.text.multilingual import SENTENCES\n"
        "found = detector(Language(keep=['en']))(list(SENTENCES.values()))\n"
        "print(repr(found)); "
        # Not getrusage, which still counts the process that this one was forked from.
        "print(int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    found, megabytes = done.stdout.strip().split("\n")
    assert found == repr(DETECT(list(SENTENCES.values())))
    # 200 here, numpy and pydantic with it; lingua's accurate mode alone takes over 900.
    assert int(megabytes) < 500


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=())), max_size=4))
def test_any_text_has_an_answer(texts: list[str]) -> None:
    found = DETECT(texts)

    assert len(found) == len(texts)
    assert all(0 <= confidence <= 1 for _, confidence in found)
