"""Which answers are explained, and how tokens become pieces of the text that they stand in."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.evaluate.explain import _pieces, chosen
from components.evaluate.subject import Subject
from components.preprocess.settings import TokenizerSettings
from components.preprocess.tokenizer import train_tokenizer
from modelmill.text import clean

TEXTS = ["A moving film, naïvely told.", "这部电影非常好看", "two  spaces\nand a 🎬 line", "é", "ประเทศไทย x"]


def subject(**told: Any) -> Subject:
    return Subject(predictor=None, folder=Path(), inputs=[], **told)


def test_half_of_the_answers_are_wrong_ones_the_surest_first() -> None:
    answers = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3], [0.6, 0.4]])
    told = subject(answers=answers, truth=np.array([0, 0, 0, 0, 1]), labels=("a", "b"))
    assert chosen(told, 4) == [1, 2, 0, 3]
    assert chosen(told, 1) == [0]
    # Too few right ones leave room for more wrong ones, and no row is told twice.
    assert chosen(told, 50) == [1, 2, 4, 0, 3]


def test_of_numbers_the_farthest_and_the_nearest_are_told() -> None:
    told = subject(answers=np.array([1.0, 5.0, 3.0, 0.0]), truth=np.array([1.1, 0.0, 3.0, 2.0]))
    assert chosen(told, 2) == [1, 2]
    assert sorted(chosen(told, 9)) == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
@pytest.mark.parametrize("segment", [None, "jieba"])
def test_pieces_are_the_text_and_keep_what_its_tokens_did(kind: Any, segment: Any) -> None:
    tokenizer = train_tokenizer(TokenizerSettings(kind=kind, vocabulary=400, segment=segment), TEXTS * 3)
    for text in map(clean, TEXTS):
        (ids_T,) = tokenizer.documents([text])
        weights = np.arange(1.0, len(ids_T) + 1)
        pieces = _pieces(tokenizer, text, weights)
        assert "".join(piece for piece, _, _ in pieces).rstrip() == text.rstrip()
        assert sum(by for *_, by in pieces) == pytest.approx(weights.sum())
        cut = _pieces(tokenizer, text, weights[:-1])
        assert cut[-1] == ("…", "", 0.0)
