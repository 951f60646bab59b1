"""Small real data and models for the tests of the model stages: made here, the same in every process."""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from transformers import BertConfig

from components.preprocess.outputs import PreprocessOutputs
from components.preprocess.run import run as preprocess
from components.preprocess.settings import PreprocessSettings, TokenizerSettings
from modelmill.dataset import DatasetWriter, open_dataset
from modelmill.digest import canonical_json, sha256_hex
from modelmill.events import Events
from modelmill.models.architecture import Architecture
from modelmill.models.text import new_config
from modelmill.settings import TextTask
from modelmill.sources import fingerprint
from modelmill.step import Step
from modelmill.store import Store

GOOD = ("great", "moving", "wonderful", "splendid", "touching")
BAD = ("dull", "lifeless", "weak", "tedious", "hollow")
PLAIN = ("the", "a", "film", "story", "cast", "and", "is", "of", "with", "its", "plot", "music", "an", "hour", "scenes")
LABELS = ("negative", "positive")
TASK: TextTask = "text-classification"


def reviews(count: int, seed: int = 0) -> list[tuple[str, int]]:
    """Return texts, each with the class that its one telling word gives away."""
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        label = chance.randrange(2)
        words = chance.choices(PLAIN, k=chance.randrange(3, 12))
        words.insert(chance.randrange(len(words)), chance.choice((BAD, GOOD)[label]))
        made.append((" ".join(words), label))
    return made


def step_of(store: Store, folder: Path, name: str = "step") -> Step:
    """Return a step that runs in a folder of its own and writes its events there."""
    scratch = folder / f"scratch-{name}"
    scratch.mkdir(parents=True, exist_ok=True)
    return Step(name=name, store=store, scratch=scratch, events=Events(step=name, path=folder / f"{name}.jsonl"))


def write_corpus(store: Store, splits: Mapping[str, Sequence[str]]) -> str:
    """Put documents into the store as ingest does; return the dataset's address."""
    rows = {split: [{"id": _id(text), "text": text} for text in texts] for split, texts in splits.items()}
    return _write(store, {"id": pa.string(), "text": pa.string()}, {"kind": "text"}, rows)


def write_labelled(store: Store, splits: dict[str, Sequence[tuple[str, int]]]) -> str:
    """Put labelled texts into the store as ingest does; return the dataset's address."""
    columns = {"id": pa.string(), "text": pa.string(), "label": pa.int32()}
    rows = {
        split: [{"id": _id(text), "text": text, "label": label} for text, label in texts]
        for split, texts in splits.items()
    }
    return _write(store, columns, {"kind": "labelled-text", "labels": list(LABELS)}, rows)


def pairs(count: int, seed: int = 0) -> list[tuple[str, str, int]]:
    """Return two texts a row, and the class that the second one's telling word gives away, whatever the first says."""
    firsts, seconds = reviews(count, seed), reviews(count, seed + 1000)
    return [(text, pair, label) for (text, _), (pair, label) in zip(firsts, seconds, strict=True)]


def write_pairs(store: Store, splits: dict[str, Sequence[tuple[str, str, int]]]) -> str:
    """Put labelled pairs of texts into the store as ingest does; return the dataset's address."""
    columns = {"id": pa.string(), "text": pa.string(), "pair": pa.string(), "label": pa.int32()}
    rows = {
        split: [
            {"id": _id(f"{text}\n{pair}"), "text": text, "pair": pair, "label": label} for text, pair, label in made
        ]
        for split, made in splits.items()
    }
    return _write(store, columns, {"kind": "labelled-pairs", "labels": list(LABELS)}, rows)


def pair_tokens(store: Store, folder: Path) -> tuple[str, str]:
    """Return the addresses of labelled pairs, and of their tokens under a tokenizer of their own."""
    labelled = write_pairs(store, {"train": pairs(200, 3), "validation": pairs(60, 4), "test": pairs(60, 5)})
    settings = PreprocessSettings(task="pair-classification", tokenizer=TokenizerSettings(vocabulary=300))
    return labelled, preprocess(step_of(store, folder, "preprocess"), settings, "", labelled, "").labelled


def tokens(store: Store, folder: Path, documents: int = 400) -> PreprocessOutputs:
    """Return the addresses of a corpus' and of labelled rows' tokens, under a tokenizer of their own."""
    texts = [text for text, _ in reviews(documents, seed=1)]
    corpus = write_corpus(store, {"train": texts, "validation": [text for text, _ in reviews(40, seed=2)]})
    labelled = write_labelled(store, {"train": reviews(200, 3), "validation": reviews(60, 4), "test": reviews(60, 5)})
    settings = PreprocessSettings(task=TASK, tokenizer=TokenizerSettings(vocabulary=300))
    return preprocess(step_of(store, folder, "preprocess"), settings, corpus, labelled, "")


def copied(store: Store, address: str, to: Store) -> str:
    """Copy one dataset, and nothing else, into another store; return its address there."""
    source = open_dataset(store, address)
    attachments = {name: to.put_blob(store.get_blob(blob.sha256)) for name, blob in source.attachments.items()}
    writer = DatasetWriter(to, source.schema, source.meta, attachments)
    for split in source.splits:
        writer.add(split, source.table(split))
    return writer.commit().address


def pinned(folder: Path) -> str:
    """Return the pin of a base model, as resolve makes it."""
    return canonical_json({"uri": str(folder), "fingerprint": fingerprint(str(folder))})


def tiny_config(vocabulary: int = 40, max_tokens: int = 16) -> BertConfig:
    """Return the shape of a small BERT."""
    return new_config(Architecture(layers=2, width=32, heads=2), vocabulary, max_tokens, pad=0)


class StopAt:
    """A place for figures that asks its step to stop when it hears of one training step."""

    def __init__(self, step: Any, at: int) -> None:
        self.step, self.at = step, at

    def log(self, _values: Any, at: int | None) -> None:
        if at == self.at:
            self.step.stop_signal = 15


def figures(path: Path) -> list[dict[str, Any]]:
    """Return the figures among a step's events."""
    events = [json.loads(line) for line in path.read_text().splitlines()]
    return [event for event in events if event["kind"] == "figures"]


def _id(text: str) -> str:
    return sha256_hex(text)[:32]


def _write(
    store: Store, columns: dict[str, pa.DataType], meta: dict[str, Any], splits: dict[str, list[dict[str, Any]]]
) -> str:
    schema = pa.schema(list(columns.items()))
    writer = DatasetWriter(store, schema, meta)
    for split, rows in splits.items():
        writer.add(split, pa.Table.from_pylist(rows, schema=schema))
    return writer.commit().address


def reversals(count: int, seed: int) -> list[tuple[str, str]]:
    """Return texts of a few words, none twice, each with the same words in reverse."""
    chance = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < count:
        words = chance.choices(PLAIN[:8], k=chance.randrange(2, 5))
        found[" ".join(words)] = " ".join(reversed(words))
    return list(found.items())


def write_targets(store: Store, splits: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """Put texts with a target each into the store as ingest does; return the dataset's address."""
    columns = {"id": pa.string(), "text": pa.string(), "target": pa.string()}
    rows = {
        split: [{"id": _id(text), "text": text, "target": target} for text, target in pairs]
        for split, pairs in splits.items()
    }
    return _write(store, columns, {"kind": "labelled-targets"}, rows)


def target_tokens(
    store: Store, folder: Path, splits: Mapping[str, Sequence[tuple[str, str]]], base: str = "", prefix: str = ""
) -> str:
    """Return the address of the tokens of texts and targets, under one tokenizer of their own or a base's."""
    own = None if base else TokenizerSettings(vocabulary=300)
    settings = PreprocessSettings(task="sequence-to-sequence", tokenizer=own, prefix=prefix)
    labelled = write_targets(store, splits)
    return preprocess(step_of(store, folder, "preprocess"), settings, "", labelled, base).labelled
