import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.ingest.text.words import Words

TEXTS = st.lists(st.text(st.sampled_from("abAB1 \n.-'’你好カไทé́#"), max_size=30), max_size=6)


def spelt(text: str) -> list[str]:
    words = Words.of([text])
    return [
        "".join(map(chr, words.points_C[start : start + chars]))
        for start, chars in zip(words.start_W, words.chars_W, strict=True)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t .,!", []),
        ("Don't stop-it now", ["Don", "t", "stop", "it", "now"]),
        ("rock 'n' roll - it’s", ["rock", "n", "roll", "it", "s"]),
        ("pi is 3.14", ["pi", "is", "3", "14"]),
        ("你好world再见", ["你", "好", "world", "再", "见"]),
        ("カタカナと漢字", list("カタカナと漢字")),
        ("한국어는 띄어 쓴다", ["한국어는", "띄어", "쓴다"]),
        ("e\u0301te\u0301", ["e\u0301te\u0301"]),
        ("naïve Ærø", ["naïve", "Ærø"]),
    ],
)
def test_a_text_is_cut_into_words_of_its_script(text: str, expected: list[str]) -> None:
    assert spelt(text) == expected


@given(TEXTS)
def test_a_batch_is_its_texts_one_by_one(texts: list[str]) -> None:
    together = Words.of(texts)
    alone = [Words.of([text]) for text in texts]
    assert together.words_N.tolist() == [len(words.hash_W) for words in alone]
    assert together.hash_W.tolist() == [number for words in alone for number in words.hash_W.tolist()]
    assert together.unspaced_N.tolist() == [int(words.unspaced_N[0]) for words in alone]
    for count in (1, 2, 3):
        hashes, first = together.grams(count)
        assert hashes.tolist() == [number for words in alone for number in words.grams(count)[0].tolist()]
        assert together.grams_at(first, count).tolist() == hashes.tolist()


def test_words_have_one_hash_in_upper_and_lower_case_and_different_words_different_ones() -> None:
    assert Words.of(["Été FILM"]).hash_W.tolist() == Words.of(["été film"]).hash_W.tolist()
    names = [f"{a}{b}" for a in "abcdefghij" for b in "abcdefghij"] + [f"word{number}" for number in range(20_000)]
    assert len(set(Words.of([" ".join(names)]).hash_W.tolist())) == len(names)
    assert Words.of(["ab"]).hash_W[0] != Words.of(["ba"]).hash_W[0]


def test_the_order_of_words_shows_in_their_runs() -> None:
    assert Words.of(["a b"]).grams(2)[0][0] != Words.of(["b a"]).grams(2)[0][0]


def test_a_word_of_a_million_characters_is_one_word() -> None:
    words = Words.of(["a" * 1_000_000 + " " + "a" * 999_999])
    assert words.chars_W.tolist() == [1_000_000, 999_999]
    assert words.hash_W[0] != words.hash_W[1]
