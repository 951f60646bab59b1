import pytest

from components.preprocess.quality import quality
from components.preprocess.settings import TokenizerSettings
from components.preprocess.tokenizer import train_tokenizer
from tests import samples

TEXTS = [text for text, _ in samples.reviews(300)]


def test_the_figures_of_a_tokenizer_that_knows_every_word() -> None:
    tokenizer = train_tokenizer(TokenizerSettings(vocabulary=300), TEXTS)
    assert quality(tokenizer, ["the film", "wonderful cast"]) == {
        "bytes_per_token": 22 / 4,
        "fertility": 1.0,
        "unknown_share": 0.0,
        "round_trip": 1.0,
    }


def test_capitals_that_are_lost_and_characters_that_are_unknown_show() -> None:
    tokenizer = train_tokenizer(TokenizerSettings(vocabulary=300), TEXTS)
    figures = quality(tokenizer, ["the film", "The film", "the ☃", "film"])
    assert figures["round_trip"] == 0.5
    assert figures["unknown_share"] == pytest.approx(1 / 7, abs=1e-6)
    assert figures["fertility"] == 1.0


def test_a_chinese_character_is_a_word_unless_jieba_tells_words() -> None:
    texts = ["这部电影很好看", "电影很好"] * 9
    plain = train_tokenizer(TokenizerSettings(vocabulary=300), texts)
    cut = train_tokenizer(TokenizerSettings(vocabulary=300, segment="jieba"), texts)
    assert quality(plain, texts[:1])["fertility"] == 1.0
    # 这部 电影 很 好看: seven characters are four words.
    assert quality(cut, texts[:1]) == {
        "bytes_per_token": 21 / 4,
        "fertility": 1.0,
        "unknown_share": 0.0,
        # Pieces of words are joined by spaces.
        "round_trip": 0.0,
    }


def test_texts_without_a_token_have_no_figures() -> None:
    assert quality(train_tokenizer(TokenizerSettings(vocabulary=300), TEXTS), ["", " "]) == {}
