import json
import os
import random
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from components.preprocess.settings import TokenizerSettings
from components.preprocess.tokenizer import train_tokenizer
from modelmill.digest import sha256_hex
from modelmill.errors import UserError
from modelmill.models.segment import words
from modelmill.models.tokenizer import Tokenizer, load_tokenizer, save_tokenizer
from modelmill.text import clean
from tests import samples

# Rare and Chinese characters on purpose: they are what a hash table's order would show in.
TEXTS = [text for text, _ in samples.reviews(300)] + [
    "Ein schöner Film über Bäume, größer als das Leben!",
    "这部电影很好看 但是太长了",
    "naïve café résumé — “quoted” … 100% ½ ☃",
    "Ωμέγα и кириллица, и ещё раз кириллица",
] * 3
SAMPLES = [
    "a wonderful film!",
    "größer",
    "这部 film",
    "unseen zebra words",
    "",
    "don't [MASK] me",
    "☃☃",
    "\u0e01\u0e34",
]
Kind = Literal["wordpiece", "bpe", "unigram"]

PROGRAM = """
import json, sys
from components.preprocess.settings import TokenizerSettings
from components.preprocess.tokenizer import train_tokenizer
settings = TokenizerSettings(kind=sys.argv[1], vocabulary=500, segment="jieba" if "jieba" in sys.argv else None)
tokenizer = train_tokenizer(settings, json.load(sys.stdin))
sys.stdout.write(tokenizer.backend.to_str())
"""


@pytest.mark.parametrize(
    ("kind", "segment"), [("wordpiece", None), ("bpe", None), ("unigram", None), ("unigram", "jieba")]
)
def test_the_same_texts_give_the_same_tokenizer_in_every_process(kind: Kind, segment: Literal["jieba"] | None) -> None:
    settings = TokenizerSettings(kind=kind, vocabulary=500, segment=segment)
    digests = {sha256_hex(train_tokenizer(settings, TEXTS).backend.to_str())}
    for threads in ("1", "3"):
        environment = {**os.environ, "RAYON_NUM_THREADS": threads}
        command = [sys.executable, "-c", PROGRAM, kind, *([segment] if segment else [])]
        done = subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True, input=json.dumps(TEXTS)
        )
        digests.add(sha256_hex(done.stdout))
    assert len(digests) == 1


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
@pytest.mark.parametrize("lowercase", [True, False])
def test_transformers_opens_it_and_gives_the_same_ids(kind: Kind, lowercase: bool, tmp_path: Path) -> None:
    trained = train_tokenizer(TokenizerSettings(kind=kind, vocabulary=500, lowercase=lowercase), TEXTS)
    save_tokenizer(trained, tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    ours = [row.tolist() for row in trained.rows(SAMPLES, max_tokens=12)]
    assert ours == [row.tolist() for row in load_tokenizer(tmp_path).rows(SAMPLES, max_tokens=12)]
    assert ours == opened(SAMPLES, truncation=True, max_length=12)["input_ids"]
    assert [opened.pad_token, opened.unk_token, opened.cls_token, opened.sep_token, opened.mask_token] == [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
    ]
    assert trained.text(trained.documents(SAMPLES[:1])[0]) == "a wonderful film!"


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_segmented_by_jieba_no_token_reaches_across_words(kind: Kind, tmp_path: Path) -> None:
    texts = ["这部电影很好看 但是太长了", "这家酒店的服务很好看电影"] * 20
    trained = train_tokenizer(TokenizerSettings(kind=kind, vocabulary=500, segment="jieba"), texts)
    save_tokenizer(trained, tmp_path)
    loaded, opened = load_tokenizer(tmp_path), AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert loaded.segment == "jieba"
    for text in texts[:2]:
        ids_T = trained.documents([text])[0]
        cut = words(text)
        assert "".join(cut) == text
        assert ids_T.tolist() == loaded.documents([text])[0].tolist()
        assert ids_T.tolist() == opened(cut, is_split_into_words=True, add_special_tokens=False)["input_ids"]
    vocabulary = [trained.text(np.array([number])) for number in range(trained.vocabulary)]
    # Words of the same texts, as frequent as what reaches from one into the next.
    assert any("酒店" in token for token in vocabulary)
    assert not any("店的" in token or "的服" in token for token in vocabulary)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("segment", [None, "jieba"])
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40).map(clean))
def test_texts_of_known_characters_decode_back_exactly(kind: Kind, segment: Literal["jieba"] | None, text: str) -> None:
    tokenizer = faithful(kind, segment)
    ids_T = tokenizer.documents([text])[0]
    if tokenizer.special["unk"] not in ids_T and "[" not in text and "\u2581" not in text:
        assert tokenizer.text(ids_T) == text


@cache
def faithful(kind: Kind, segment: Literal["jieba"] | None) -> Tokenizer:
    return train_tokenizer(TokenizerSettings(kind=kind, vocabulary=600, lowercase=False, segment=segment), TEXTS)


def test_a_character_beyond_the_alphabet_is_unknown_to_unigram_and_a_small_vocabulary_is_no_error() -> None:
    many = ["".join(chr(0x4E00 + i) for i in range(2000)), "the film the film"]
    trained = train_tokenizer(TokenizerSettings(kind="unigram", vocabulary=400), many)
    assert trained.vocabulary <= 400
    assert trained.special["unk"] in trained.documents([many[0]])[0]


def test_a_vocabulary_has_the_size_that_was_asked_for() -> None:
    chance = random.Random(0)
    texts = [" ".join("".join(chance.choices("abcdefgh", k=5)) for _ in range(9)) for _ in range(200)] * 2
    assert train_tokenizer(TokenizerSettings(vocabulary=400), texts).vocabulary == 400


def test_letters_are_made_small_only_where_it_is_wanted() -> None:
    for lowercase in (True, False):
        trained = train_tokenizer(TokenizerSettings(vocabulary=400, lowercase=lowercase), TEXTS)
        small, large = trained.rows(["film", "FILM"], max_tokens=8)
        assert (small.tolist() == large.tolist()) is lowercase


def test_wordpiece_knows_only_characters_it_has_seen_and_bytes_know_all() -> None:
    pieces = train_tokenizer(TokenizerSettings(vocabulary=400), TEXTS)
    bytes_ = train_tokenizer(TokenizerSettings(kind="bpe", vocabulary=400), TEXTS)
    assert pieces.special["unk"] in pieces.documents(["\u0e01"])[0]
    assert bytes_.special["unk"] not in bytes_.documents(["\u0e01"])[0]


def test_at_most_a_quarter_of_the_vocabulary_goes_to_single_characters_at_the_start_of_a_word() -> None:
    many = ["".join(chr(0x4E00 + i) for i in range(2000)), "the film the film"]
    vocabulary = json.loads(train_tokenizer(TokenizerSettings(vocabulary=400), many).backend.to_str())["model"]["vocab"]
    assert len(vocabulary) <= 400
    assert sum(len(token) == 1 for token in vocabulary) == 100
    assert "t" in vocabulary


@pytest.mark.parametrize("texts", [[], [""], [" \n"]])
def test_texts_without_a_character_are_refused(texts: list[str]) -> None:
    with pytest.raises(UserError, match=f"0 characters in {len(texts)} texts"):
        train_tokenizer(TokenizerSettings(), texts)
