"""A corpus of short documents for the benchmarks of training: dialogue and reviews that the example packages carry."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import english

# Of words: with a vocabulary of 16,000 tokens a word is 1.2 tokens, so that documents have 8 to 128.
_WORDS = (7, 105)


def documents(seed: int = 0) -> Iterator[str]:
    """Yield documents of neighbouring sentences, each of a length that is drawn."""
    chance = random.Random(seed)  # noqa: S311 - nothing here is secret
    pool = english.sentences()
    chance.shuffle(pool)
    words: list[str] = []
    wanted = chance.randint(*_WORDS)
    for sentence in pool:
        words += sentence.split()
        while len(words) >= wanted:
            yield " ".join(words[:wanted])
            words, wanted = words[wanted:], chance.randint(*_WORDS)


def corpus(folder: Path, tokenizer: dict[str, Any], task: str = "masked-lm") -> str:
    """Return the address of the documents' tokens in the folder's store; the texts lie in `documents.jsonl` too."""
    from benchmarks.measure import step_in
    from components.ingest.run import run as ingest
    from components.ingest.settings import IngestSettings
    from components.preprocess.run import run as preprocess
    from components.preprocess.settings import PreprocessSettings
    from modelmill.sources import pin

    path = folder / "documents.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents()))
    source = {"uri": str(path), "format": "jsonl"}
    told = IngestSettings.model_validate(
        {"task": task, "corpus": [source], "split": {"train": 0.95, "validation": 0.05, "test": 0.0}}
    )
    found = ingest(step_in(folder, "ingest"), told, pin(told.uris)).corpus
    settings = PreprocessSettings.model_validate({"task": task, "tokenizer": tokenizer})
    return preprocess(step_in(folder, "preprocess"), settings, found, "", "").corpus


def token_lists(folder: Path, address: str, split: str) -> list[Any]:
    """Return the tokens of each document of a split, without special ones."""
    from modelmill.dataset import open_dataset
    from modelmill.store import open_store

    table = open_dataset(open_store(str(folder / "store")), address).table(split, ["input_ids"])
    return [row.as_py() for row in table["input_ids"]]


def steady_rate(events: Path, figure: str = "tokens_per_second") -> float:
    """Return the median rate of a training's points but the first tenth, in which it warms up and translates."""
    import statistics

    rates = [
        event["values"][figure]
        for event in map(json.loads, events.read_text().splitlines())
        if event["kind"] == "figures" and figure in event["values"] and event["at"] is not None
    ]
    return statistics.median(rates[len(rates) // 10 :])
