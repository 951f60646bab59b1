"""Texts cut into words have the ids of texts that are not cut."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import models, normalizers, pre_tokenizers

from components.preprocess.settings import TokenizerSettings
from components.preprocess.tokenizer import train_tokenizer
from modelmill.models import word_cache
from modelmill.models.word_cache import WordCache
from tests import samples

ODD = ["Café naïve 房间很好 don't won't 12,345 ... ", "  a   b\n\n c\td "]
TEXTS = [*(text for text, _ in samples.reviews(300)), *ODD]
PIECES = (
    "great", "the", "film", "Café", "é", "e\u0301", "\u0301", "房间", "don't", "12,5", "...", "x" * 120,
    "[MASK]", "[CLS]", "\U0001f600",
)  # fmt: skip
SPACES = (" ", " ", " ", " ", "  ", "   ", "\n", "\t", "\r\n", "\u00a0", "\u3000", "\u200b", "\x00", "")
MIXED = st.lists(st.sampled_from(PIECES + SPACES), max_size=12).map("".join) | st.text(max_size=20)

KINDS: dict[str, dict[str, Any]] = {
    "wordpiece": {"kind": "wordpiece"},
    "cased": {"kind": "wordpiece", "lowercase": False},
    "bpe": {"kind": "bpe"},
}


@pytest.fixture(scope="module")
def backends() -> dict[str, Any]:
    made = {
        name: train_tokenizer(TokenizerSettings(vocabulary=400, **told), TEXTS).backend for name, told in KINDS.items()
    }
    gpt2 = Backend.from_str(made["bpe"].to_str())
    gpt2.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    gpt2.normalizer = None
    return {**made, "gpt2": gpt2}


@pytest.mark.parametrize("name", [*KINDS, "gpt2"])
@given(texts=st.lists(MIXED, max_size=6))
@example(texts=["a  b", "a   b", "a\n  b", "a\n b", " a", "a ", "", " ", "a [MASK] b", "e \u0301"])
def test_ids_are_those_of_the_whole_text(name: str, backends: dict[str, Any], texts: list[str]) -> None:
    backend = backends[name]
    cache = WordCache.of(backend)
    assert cache is not None
    for _ in range(2):
        ids_S, length_N = cache.encoded(texts)
        expected = [one.ids for one in backend.encode_batch_fast(texts, add_special_tokens=False)]
        assert length_N.tolist() == [len(ids) for ids in expected]
        assert ids_S.tolist() == [number for ids in expected for number in ids]


def test_a_full_cache_begins_anew(backends: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_cache, "_MOST", 20)
    backend = backends["wordpiece"]
    cache = WordCache.of(backend)
    assert cache is not None
    for start in range(0, 100, 3):
        texts = TEXTS[start : start + 3]
        ids_S, _ = cache.encoded(texts)
        assert ids_S.tolist() == [
            number for one in backend.encode_batch(texts, add_special_tokens=False) for number in one.ids
        ]
        assert len(cache._numbers) <= max(20, len({word for text in texts for word in text.split(" ")}))


def test_tokenizers_whose_words_may_depend_on_each_other_have_no_cache(backends: dict[str, Any]) -> None:
    plain = backends["bpe"].to_str()
    stripping = Backend.from_str(plain)
    stripping.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Strip()])
    replaced = Backend.from_str(plain)
    replaced.normalizer = normalizers.Replace(" ", "▁")
    whole = Backend.from_str(plain)
    whole.pre_tokenizer = pre_tokenizers.Metaspace()
    bare = Backend(models.BPE())
    for backend in (stripping, replaced, whole, bare):
        assert WordCache.of(backend) is None
