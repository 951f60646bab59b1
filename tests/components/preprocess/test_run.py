from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.preprocess.run import run
from components.preprocess.settings import PreprocessSettings, TokenizerSettings
from modelmill.dataset import open_dataset, read_made
from modelmill.errors import Interrupted, ModelmillError, UserError
from modelmill.models.tokenizer import load_tokenizer, save_tokenizer
from modelmill.sources import fingerprint
from modelmill.store import Store, open_store
from tests import samples

OWN = TokenizerSettings(vocabulary=300)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def settings(max_tokens: int = 16, tokenizer: TokenizerSettings | None = OWN) -> PreprocessSettings:
    return PreprocessSettings(task="text-classification", max_tokens=max_tokens, tokenizer=tokenizer)


def test_a_corpus_becomes_full_rows_and_labelled_texts_become_rows_of_their_own(store: Store, tmp_path: Path) -> None:
    made = samples.tokens(store, tmp_path)
    packed, labelled = open_dataset(store, made.corpus), open_dataset(store, made.labelled)
    assert packed.schema == pa.schema([("input_ids", pa.list_(pa.uint16(), 16))])
    rows_NT = np.array(packed.table("train")["input_ids"].to_pylist())
    assert (rows_NT[:, 0] == packed.meta["special"]["cls"]).all()
    assert not (rows_NT == packed.meta["special"]["pad"]).any()
    assert packed.meta["kind"] == "packed-tokens"
    assert packed.meta["utilisation"] == 0.9375
    assert labelled.schema == pa.schema(
        [("id", pa.string()), ("input_ids", pa.list_(pa.uint16())), ("label", pa.int32())]
    )
    assert {split: labelled.rows(split) for split in labelled.splits} == {"train": 200, "validation": 60, "test": 60}
    assert labelled.meta["labels"] == ["negative", "positive"]
    assert packed.meta["vocabulary"] == labelled.meta["vocabulary"] == made.summary["vocabulary"]
    folder = tmp_path / "tokenizer"
    labelled.fetch_attachments(folder, "tokenizer/")
    text, label = samples.reviews(200, 3)[7]
    row = labelled.table("train").slice(7, 1).to_pylist()[0]
    assert row["input_ids"] == load_tokenizer(folder).rows([text], 16)[0].tolist()
    assert row["label"] == label


def test_what_made_a_dataset_is_kept_beside_it(store: Store, tmp_path: Path) -> None:
    made = samples.tokens(store, tmp_path)
    told = read_made(store, made.made_corpus)
    train = told["report"]["splits"]["train"]
    assert train["documents"] == 400
    assert train["rows"] * 15 + train["unused"] == train["tokens"] + train["documents"]
    assert told["settings"]["max_tokens"] == 16
    assert read_made(store, made.made_labelled)["report"]["rows"] == 320


def test_the_same_texts_give_the_same_addresses_in_another_store(tmp_path: Path) -> None:
    first, second = (
        samples.tokens(open_store(str(tmp_path / name / "store")), tmp_path / name) for name in ("one", "two")
    )
    assert first == second


def test_longer_texts_are_cut_and_counted(store: Store, tmp_path: Path) -> None:
    rows = [("the film", 0), ("the story of the film and the cast of the film", 1)]
    address = samples.write_labelled(store, {"train": rows, "validation": rows[:1], "test": rows[:1]})
    made = run(samples.step_of(store, tmp_path), settings(max_tokens=8), "", address, "")
    lengths = [len(ids) for ids in open_dataset(store, made.labelled).table("train")["input_ids"].to_pylist()]
    assert max(lengths) == 8
    assert made.summary["labelled_truncated_share"] == 0.25
    assert made.corpus == made.made_corpus == ""


def test_without_a_tokenizer_the_base_models_is_used_unpadded(store: Store, tmp_path: Path) -> None:
    first = samples.tokens(store, tmp_path)
    base = tmp_path / "base"
    open_dataset(store, first.corpus).fetch_attachments(base, "tokenizer/")
    tokenizer = load_tokenizer(base)
    ids = tokenizer.documents([samples.reviews(50)[0][0]])[0]
    tokenizer.backend.enable_padding(length=16)
    tokenizer.backend.enable_truncation(4)
    tokenizer.backend.save(str(base / "tokenizer.json"))
    corpus = samples.write_corpus(store, {"train": [text for text, _ in samples.reviews(50)], "validation": []})
    made = run(samples.step_of(store, tmp_path), settings(tokenizer=None), corpus, "", samples.pinned(base))
    assert made.summary["vocabulary"] == first.summary["vocabulary"]
    row_T = open_dataset(store, made.corpus).table("train")["input_ids"].to_pylist()[0]
    assert row_T[1 : 1 + len(ids)] == ids.tolist()


def test_a_vocabulary_beyond_sixteen_bits_takes_wider_numbers(store: Store, tmp_path: Path) -> None:
    base = tmp_path / "base"
    open_dataset(store, samples.tokens(store, tmp_path).corpus).fetch_attachments(base, "tokenizer/")
    tokenizer = load_tokenizer(base)
    tokenizer.backend.add_tokens([f"word{number}" for number in range(1 << 16)])
    save_tokenizer(tokenizer, base)
    corpus = samples.write_corpus(store, {"train": ["word65535 the film is a story with a plot"] * 4})
    made = run(samples.step_of(store, tmp_path), settings(8, None), corpus, "", samples.pinned(base))
    column = open_dataset(store, made.corpus).table("train")["input_ids"]
    assert column.type.value_type == pa.uint32()
    assert max(map(max, column.to_pylist())) > 1 << 16


def test_a_corpus_that_fills_no_row_is_refused_with_both_numbers(store: Store, tmp_path: Path) -> None:
    corpus = samples.write_corpus(store, {"train": ["the film"], "validation": []})
    with pytest.raises(UserError, match="1 documents hold 7 tokens, and one row takes 64"):
        run(samples.step_of(store, tmp_path), settings(64), corpus, "", "")
    assert len(list(store.keys("datasets/"))) == 1


def test_a_base_model_that_changed_since_it_was_pinned_is_refused(store: Store, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "tokenizer.json").write_text("{}")
    pin = samples.pinned(base)
    (base / "tokenizer.json").write_text("{ }")
    corpus = samples.write_corpus(store, {"train": ["the film"]})
    with pytest.raises(ModelmillError, match=f"changed since the run began.*{fingerprint(str(base))[:12]}"):
        run(samples.step_of(store, tmp_path), settings(tokenizer=None), corpus, "", pin)


def test_a_step_that_is_asked_to_stop_leaves_no_dataset(store: Store, tmp_path: Path) -> None:
    corpus = samples.write_corpus(store, {"train": [text for text, _ in samples.reviews(50)]})
    step = samples.step_of(store, tmp_path)
    step.stop_signal = 15
    with pytest.raises(Interrupted):
        run(step, settings(), corpus, "", "")
    assert len(list(store.keys("datasets/"))) == 1
