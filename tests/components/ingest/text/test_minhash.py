import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.ingest.text import minhash
from components.ingest.text.minhash import band_keys
from components.ingest.text.settings import NearDuplicates
from components.ingest.text.words import Words

SCHEME = NearDuplicates()


def pair(similarity: float, chance: random.Random) -> list[str]:
    """Two texts of 400 different words each that share so much of all their words together."""
    shared = round(800 * similarity / (1 + similarity))
    words = [f"w{chance.randrange(10**12)}" for _ in range(800 - shared)]
    return [" ".join(words[:400]), " ".join(words[:shared] + words[400:])]


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.75, 0.8, 0.9])
def test_texts_meet_as_often_as_the_theory_says(similarity: float) -> None:
    chance = random.Random(1)
    texts = [text for _ in range(600) for text in pair(similarity, chance)]
    keys_MB, _ = band_keys(Words.of(texts), SCHEME.model_copy(update={"words": 1}))
    met = (keys_MB[0::2] == keys_MB[1::2]).any(axis=1).mean()
    expected = 1 - (1 - similarity**SCHEME.rows) ** SCHEME.bands
    # Four standard errors of 600 pairs.
    assert met == pytest.approx(expected, abs=4 * max(0.002, (expected * (1 - expected) / 600) ** 0.5))


def test_texts_that_share_nothing_do_not_meet() -> None:
    texts = [f"{' '.join(f'v{number}x{word}' for word in range(30))}" for number in range(3000)]
    keys_MB, _ = band_keys(Words.of(texts), SCHEME)
    assert all(len(np.unique(key_M)) == len(texts) for key_M in keys_MB.T)


@given(st.lists(st.text(st.sampled_from("ab c你\n"), max_size=40), max_size=8), st.integers(1, 5))
def test_a_texts_keys_are_its_own_whatever_stands_beside_it(texts: list[str], block: int) -> None:
    together, having = band_keys(Words.of(texts), SCHEME)
    before = minhash._BLOCK
    minhash._BLOCK = block
    try:
        alone = [band_keys(Words.of([text]), SCHEME) for text in texts]
    finally:
        minhash._BLOCK = before
    assert having.tolist() == [number for number, (_, own) in enumerate(alone) if len(own)]
    assert together.tolist() == [row for keys_MB, _ in alone for row in keys_MB.tolist()]


def test_short_texts_meet_when_their_words_are_the_same_in_the_same_order() -> None:
    texts = ["A great film!", "a great film", "film great a", "a great film indeed", "", "!?"]
    keys_MB, having = band_keys(Words.of(texts), SCHEME)
    assert having.tolist() == [0, 1, 2, 3]
    met = [(keys_MB[0] == keys_M).any() for keys_M in keys_MB]
    assert met == [True, True, False, False]


def test_chinese_texts_meet_without_spaces() -> None:
    text = "这家酒店的服务非常好，房间很干净，早餐也不错，下次来北京还会住在这里，推荐给大家。" * 2
    other = "手机的电池很快就没电了，屏幕也不清楚，客服的态度很差，以后不会再买这个牌子的东西。" * 2
    keys_MB, _ = band_keys(Words.of([text, text.replace("下次", "下回"), other]), SCHEME)
    assert (keys_MB[0] == keys_MB[1]).any()
    assert not (keys_MB[0] == keys_MB[2]).any()
