from pathlib import Path

import pyarrow as pa
import pytest

from components.preprocess.run import run
from components.preprocess.settings import PreprocessSettings, TokenizerSettings
from modelmill.dataset import open_dataset, read_made
from modelmill.errors import Interrupted, ModelmillError
from modelmill.models.tokenizer import load_tokenizer, save_tokenizer
from modelmill.sources import fingerprint
from modelmill.store import Store, open_store
from tests import samples

OWN = TokenizerSettings(vocabulary=300)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def settings(tokenizer: TokenizerSettings | None = OWN) -> PreprocessSettings:
    return PreprocessSettings(task="text-classification", tokenizer=tokenizer)


def test_texts_become_their_tokens_whole_and_without_special_ones(store: Store, tmp_path: Path) -> None:
    made = samples.tokens(store, tmp_path)
    corpus, labelled = open_dataset(store, made.corpus), open_dataset(store, made.labelled)
    assert corpus.schema == pa.schema([("input_ids", pa.list_(pa.uint8()))])
    assert labelled.schema == pa.schema(
        [("input_ids", pa.list_(pa.uint8())), ("id", pa.string()), ("label", pa.int32())]
    )
    assert (corpus.meta["kind"], labelled.meta["kind"]) == ("corpus-tokens", "labelled-tokens")
    assert {split: labelled.rows(split) for split in labelled.splits} == {"train": 200, "validation": 60, "test": 60}
    assert labelled.meta["labels"] == ["negative", "positive"]
    assert corpus.meta["vocabulary"] == labelled.meta["vocabulary"] == made.summary["vocabulary"]
    folder = tmp_path / "tokenizer"
    labelled.fetch_attachments(folder, "tokenizer/")
    tokenizer = load_tokenizer(folder)
    text, label = samples.reviews(200, 3)[7]
    row = labelled.table("train").slice(7, 1).to_pylist()[0]
    assert row["input_ids"] == tokenizer.documents([text])[0].tolist()
    assert row["label"] == label
    texts = [text for text, _ in samples.reviews(400, 1)]
    assert corpus.table("train")["input_ids"].to_pylist() == [ids.tolist() for ids in tokenizer.documents(texts)]


def test_what_made_a_dataset_is_kept_beside_it(store: Store, tmp_path: Path) -> None:
    made = samples.tokens(store, tmp_path)
    told = read_made(store, made.made_corpus)
    assert told["report"]["splits"]["train"]["texts"] == 400
    tokens = [split["tokens"] for split in told["report"]["splits"].values()]
    assert told["report"]["tokens"] == sum(tokens) == made.summary["corpus_tokens"]
    assert told["settings"]["tokenizer"]["vocabulary"] == 300
    assert read_made(store, made.made_labelled)["report"]["texts"] == 320
    for name in ("bytes_per_token", "fertility", "unknown_share", "round_trip"):
        assert told["report"][f"tokenizer_{name}"] == made.summary[f"tokenizer_{name}"]


def test_the_same_texts_give_the_same_addresses_in_another_store(tmp_path: Path) -> None:
    first, second = (
        samples.tokens(open_store(str(tmp_path / name / "store")), tmp_path / name) for name in ("one", "two")
    )
    assert first == second


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
    made = run(samples.step_of(store, tmp_path), settings(None), corpus, "", samples.pinned(base))
    assert made.summary["vocabulary"] == first.summary["vocabulary"]
    assert open_dataset(store, made.corpus).table("train")["input_ids"].to_pylist()[0] == ids.tolist()


@pytest.mark.parametrize(("more", "kind"), [(0, pa.uint8()), (1 << 8, pa.uint16()), (1 << 16, pa.uint32())])
def test_ids_are_stored_as_the_smallest_unsigned_numbers(
    store: Store, tmp_path: Path, more: int, kind: pa.DataType
) -> None:
    base = tmp_path / "base"
    open_dataset(store, samples.tokens(store, tmp_path).corpus).fetch_attachments(base, "tokenizer/")
    tokenizer = load_tokenizer(base)
    tokenizer.backend.add_tokens([f"word{number}" for number in range(more)])
    save_tokenizer(tokenizer, base)
    corpus = samples.write_corpus(store, {"train": [f"word{more - 1} the film is a story with a plot"] * 4})
    made = run(samples.step_of(store, tmp_path), settings(None), corpus, "", samples.pinned(base))
    column = open_dataset(store, made.corpus).table("train")["input_ids"]
    assert column.type.value_type == kind
    assert not more or max(map(max, column.to_pylist())) == tokenizer.vocabulary - 1


def test_a_base_model_that_changed_since_it_was_pinned_is_refused(store: Store, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "tokenizer.json").write_text("{}")
    pin = samples.pinned(base)
    (base / "tokenizer.json").write_text("{ }")
    corpus = samples.write_corpus(store, {"train": ["the film"]})
    with pytest.raises(ModelmillError, match=f"changed since the run began.*{fingerprint(str(base))[:12]}"):
        run(samples.step_of(store, tmp_path), settings(None), corpus, "", pin)


def test_a_step_that_is_asked_to_stop_leaves_no_dataset(store: Store, tmp_path: Path) -> None:
    corpus = samples.write_corpus(store, {"train": [text for text, _ in samples.reviews(50)]})
    step = samples.step_of(store, tmp_path)
    step.stop_signal = 15
    with pytest.raises(Interrupted):
        run(step, settings(), corpus, "", "")
    assert len(list(store.keys("datasets/"))) == 1
