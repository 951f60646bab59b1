import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from components.evaluate.run import run
from components.evaluate.settings import EvaluateSettings
from modelmill.dataset import DatasetWriter, open_dataset
from modelmill.errors import Interrupted, ModelmillError, UserError
from modelmill.evaluation.checks import Threshold
from modelmill.evaluation.document import Report
from modelmill.events import EventReader, Events
from modelmill.models.folder import fetch_model, read_files, save_model
from modelmill.models.predict import load_predictor
from modelmill.step import Step
from modelmill.store import Store, open_store

LABELS = ("negative", "positive")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["a", "dull", "film", "great", "lifeless", "moving", "the", "weak", "wonderful", "story"]
SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string()), ("label", pa.int32())])
SETTINGS = EvaluateSettings(
    task="text-classification", thresholds={"accuracy": Threshold(min=0.9)}, must_beat=("majority", "tfidf")
)


def save_tiny_model(
    store: Store, folder: Path, labels: Sequence[str] = LABELS, weight: float | None = None, max_tokens: int = 8
) -> str:
    """Put a small BERT with random weights, or with one weight for its whole last layer, into the store."""
    vocabulary = {word: index for index, word in enumerate(SPECIAL + WORDS)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, mask_token="[MASK]", model_max_length=max_tokens, **names
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=max_tokens,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
    )
    model = BertForSequenceClassification(config)
    # Random scores near 0 would make every probability about a half.
    torch.nn.init.normal_(model.classifier.weight, std=1.0)
    if weight is not None:
        torch.nn.init.constant_(model.classifier.weight, weight)
    model.save_pretrained(folder)
    lineage = {"labelled": "datasets/" + "c" * 64}
    return save_model(
        store,
        folder,
        {"task": "text-classification", "labels": list(labels), "max_tokens": max_tokens, "lineage": lineage},
    )


def write_dataset(store: Store, test_rows: int = 40, labels: Sequence[str] = LABELS) -> str:
    """Put reviews into the store whose words give their label away."""
    writer = DatasetWriter(store, SCHEMA, {"kind": "labelled-text", "labels": list(labels)})
    words = (["dull", "lifeless", "weak"], ["great", "moving", "wonderful"])
    generator = np.random.default_rng(3)
    for split, rows in (("train", 90), ("validation", 10), ("test", test_rows)):
        truth = generator.integers(0, 2, rows)
        texts = [f"the {generator.choice(words[label])} {generator.choice(['film', 'story'])}" for label in truth]
        ids = [f"{split}{row:05}" for row in range(rows)]
        writer.add(split, pa.table({"id": ids, "text": texts, "label": pa.array(truth, pa.int32())}, schema=SCHEMA))
    return writer.commit().address


@pytest.fixture
def step(tmp_path: Path) -> Step:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    events = Events(step="evaluate", path=tmp_path / "events.jsonl")
    return Step(name="evaluate", store=open_store(str(tmp_path / "store")), scratch=scratch, events=events)


def read_report(step: Step, address: str) -> tuple[Report, dict[str, bytes], dict[str, Any]]:
    files, meta = read_files(step.store, address)
    return Report.read(files["report.json"]), files, meta


def test_a_model_is_measured_from_raw_text_as_it_is_served(step: Step, tmp_path: Path) -> None:
    model, labelled = save_tiny_model(step.store, tmp_path / "model"), write_dataset(step.store)
    made = run(step, SETTINGS, model, labelled)
    report, files, meta = read_report(step, made.report)
    assert made.report.startswith("reports/")
    assert files.keys() == {"report.json", "report.html", "predictions.parquet"}
    assert (meta["model"], meta["dataset"]) == (model, labelled) == (report.model, report.dataset)
    assert report.lineage == {"labelled": "datasets/" + "c" * 64}

    table = pq.read_table(pa.BufferReader(files["predictions.parquet"]))
    assert table["id"].to_pylist() == [f"test{row:05}" for row in range(40)]
    fetch_model(step.store, model, tmp_path / "served")
    truth = table["label"].to_numpy()
    predictor = load_predictor(tmp_path / "served")
    texts = open_dataset(step.store, labelled).table("test", ["text"])["text"].to_pylist()
    one_by_one = np.concatenate([predictor.predict([text]) for text in texts])
    kept = np.array(table["probability"].to_pylist())
    assert kept == pytest.approx(one_by_one, abs=1e-6)
    assert (table["predicted"].to_numpy() == kept.argmax(axis=1)).all()
    assert report.metrics["test"]["accuracy"] == pytest.approx(
        (table["predicted"].to_numpy() == truth).mean(), abs=1e-6
    )


def test_a_model_that_learned_nothing_is_held_against_its_baselines(step: Step, tmp_path: Path) -> None:
    made = run(step, SETTINGS, save_tiny_model(step.store, tmp_path / "model"), write_dataset(step.store))
    report, files, _ = read_report(step, made.report)
    assert report.metrics["tfidf"]["accuracy"] == 1
    checks = {check.against or check.metric: check.passed for check in report.checks}
    assert (checks["accuracy"], checks["tfidf"]) == (False, False)
    assert "The tf-idf baseline is better" in files["report.html"].decode()
    assert made.summary["tfidf_accuracy"] == 1
    assert made.summary["accuracy"] == report.metrics["test"]["accuracy"]
    assert json.loads(json.dumps(made.summary)) == made.summary
    assert report.data is not None
    assert {name: split.rows for name, split in report.data.splits.items()} == {
        "train": 90,
        "validation": 10,
        "test": 40,
    }
    assert all(sum(split.labels.values()) == split.rows for split in report.data.splits.values())


def test_the_same_model_and_rows_give_the_same_report(step: Step, tmp_path: Path) -> None:
    model, labelled = save_tiny_model(step.store, tmp_path / "model"), write_dataset(step.store)
    again = Step(name="again", store=open_store(str(tmp_path / "other")), scratch=tmp_path / "x", events=step.events)
    assert save_tiny_model(again.store, tmp_path / "other-model") == model
    assert write_dataset(again.store) == labelled
    assert run(step, SETTINGS, model, labelled).report == run(again, SETTINGS, model, labelled).report


def test_the_comparison_has_no_baselines(step: Step, tmp_path: Path) -> None:
    settings = EvaluateSettings(task="text-classification", subject="from_scratch", must_beat=())
    made = run(step, settings, save_tiny_model(step.store, tmp_path / "model"), write_dataset(step.store))
    report, _, _ = read_report(step, made.report)
    assert list(report.metrics) == ["test"]
    assert report.checks == ()


def test_progress_counts_the_test_rows_and_figures_are_told(step: Step, tmp_path: Path) -> None:
    run(step, SETTINGS, save_tiny_model(step.store, tmp_path / "model"), write_dataset(step.store, test_rows=600))
    assert step.events.path is not None
    events = list(EventReader(step.events.path).new())
    scored = [event for event in events if event.get("what") == "scoring the test set"]
    assert (scored[0]["done"], scored[-1]["done"], scored[-1]["total"], scored[-1]["unit"]) == (0, 600, 600, "rows")
    (figures,) = [event["values"] for event in events if event["kind"] == "figures"]
    assert {"accuracy", "f1_macro", "log_loss"} <= figures.keys()


def test_other_labels_than_the_models_are_refused(step: Step, tmp_path: Path) -> None:
    model = save_tiny_model(step.store, tmp_path / "model", labels=("positive", "negative"))
    with pytest.raises(ModelmillError, match=r"knows the labels \['positive', 'negative'\], datasets/\w+ has"):
        run(step, SETTINGS, model, write_dataset(step.store))


def test_too_few_test_rows_are_the_users_to_mend(step: Step, tmp_path: Path) -> None:
    model = save_tiny_model(step.store, tmp_path / "model")
    with pytest.raises(UserError, match=r"datasets/\w+: 1 rows in the test split, at least 2 are needed; raise ingest"):
        run(step, SETTINGS, model, write_dataset(step.store, test_rows=1))


def test_a_diverged_model_is_named_as_one(step: Step, tmp_path: Path) -> None:
    model = save_tiny_model(step.store, tmp_path / "model", weight=float("nan"))
    with pytest.raises(ModelmillError, match="no finite probabilities for 40 of 40 test rows"):
        run(step, SETTINGS, model, write_dataset(step.store))
    assert list(step.store.keys("reports/")) == []


def test_a_step_that_is_asked_to_stop_leaves_no_report(step: Step, tmp_path: Path) -> None:
    model, labelled = save_tiny_model(step.store, tmp_path / "model"), write_dataset(step.store)
    settings = EvaluateSettings(task="text-classification", subject="from_scratch", must_beat=())
    step.stop_signal = signal.SIGTERM
    with pytest.raises(Interrupted, match="stopped by SIGTERM"):
        run(step, settings, model, labelled)
    assert list(step.store.keys("reports/")) == []
