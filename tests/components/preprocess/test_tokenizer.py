import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from transformers import AutoTokenizer

from components.preprocess.settings import TokenizerSettings
from components.preprocess.tokenizer import train_tokenizer
from modelmill.digest import sha256_hex
from modelmill.errors import UserError
from modelmill.models.tokenizer import load_tokenizer, save_tokenizer
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
Kind = Literal["wordpiece", "bpe"]

PROGRAM = """
import json, sys
from components.preprocess.settings import TokenizerSettings
from components.preprocess.tokenizer import train_tokenizer
tokenizer = train_tokenizer(TokenizerSettings(kind=sys.argv[1], vocabulary=500), json.load(sys.stdin))
sys.stdout.write(tokenizer.backend.to_str())
"""


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_the_same_texts_give_the_same_tokenizer_in_every_process(kind: Kind) -> None:
    digests = {sha256_hex(train_tokenizer(TokenizerSettings(kind=kind, vocabulary=500), TEXTS).backend.to_str())}
    for threads in ("1", "3"):
        environment = {**os.environ, "RAYON_NUM_THREADS": threads}
        command = [sys.executable, "-c", PROGRAM, kind]
        done = subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True, input=json.dumps(TEXTS)
        )
        digests.add(sha256_hex(done.stdout))
    assert len(digests) == 1


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
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
    assert opened.decode(ours[0], skip_special_tokens=True).strip() == "a wonderful film!"


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
