"""Planted leaks: nothing of validation or test may stand in training, whole, nearly or in parts."""

import itertools
import random
from pathlib import Path
from typing import Any

import pytest

from components.ingest.run import IngestOutputs
from modelmill.dataset import open_dataset, read_made
from modelmill.store import Store
from tests.components.ingest.tools import csv_of, ingest, write

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "lmnrst"]
GENERATOR = random.Random(4)
ROWS = [" ".join(GENERATOR.choices(WORDS, k=40)) for _ in range(120)]


def nearly(text: str) -> str:
    """The text in capitals, with another word at its end."""
    return text.upper().rsplit(" ", 1)[0] + " indeed!"


def label(text: str) -> str:
    """One that nearly equal texts share."""
    return "xy"[ord(text[0].lower()) % 2]


def by_split(outputs: IngestOutputs, store: Store) -> dict[str, set[str]]:
    dataset = open_dataset(store, outputs.labelled)
    return {split: set(dataset.table(split)["text"].to_pylist()) for split in dataset.splits}


def corpus_of(outputs: IngestOutputs, store: Store) -> set[str]:
    dataset = open_dataset(store, outputs.corpus)
    return {text for split in dataset.splits for text in dataset.table(split)["text"].to_pylist()}


def labelled(folder: Path, texts: list[str]) -> list[dict[str, Any]]:
    rows = [(text, label(text)) for text in texts]
    return [{"uri": str(write(folder / "rows.csv", csv_of(rows)))}]


SPLIT = {"train": 0.5, "validation": 0.25, "test": 0.25}


def test_near_duplicates_never_straddle_two_splits_even_where_all_are_kept(tmp_path: Path) -> None:
    texts = [*ROWS, *map(nearly, ROWS), *(text + " again" for text in ROWS)]
    random.Random(0).shuffle(texts)
    outputs, store = ingest(
        tmp_path, labelled=labelled(tmp_path, texts), split=SPLIT, near_duplicates={"action": "keep"}
    )
    splits = by_split(outputs, store)
    assert sum(map(len, splits.values())) == 3 * len(ROWS)
    for text in ROWS:
        holding = {name for name, own in splits.items() if own & {text, nearly(text), text + " again"}}
        assert len(holding) == 1, text


def test_of_near_duplicates_the_one_with_the_smallest_hash_is_kept_and_the_others_are_counted(tmp_path: Path) -> None:
    texts = [*ROWS, *map(nearly, ROWS)]
    outputs, store = ingest(tmp_path, labelled=labelled(tmp_path, texts), split=SPLIT)
    kept = set().union(*by_split(outputs, store).values())
    assert all(len(kept & {text, nearly(text)}) == 1 for text in ROWS)
    assert read_made(store, outputs.made_labelled)["ledger"]["dropped"] == {"near_duplicate": len(ROWS)}


def test_without_the_search_near_duplicates_leak(tmp_path: Path) -> None:
    texts = [*ROWS, *map(nearly, ROWS)]
    outputs, store = ingest(
        tmp_path, labelled=labelled(tmp_path, texts), split=SPLIT, near_duplicates={"action": "off"}
    )
    splits = by_split(outputs, store)
    holding = [{name for name, own in splits.items() if own & {text, nearly(text)}} for text in ROWS]
    assert any(len(names) == 2 for names in holding)


def test_the_corpus_loses_what_is_nearly_or_in_part_a_held_out_row(tmp_path: Path) -> None:
    part = [
        f"he said {' '.join(text.split()[5:25])} and went away with {number} geese" for number, text in enumerate(ROWS)
    ]
    other = [" ".join(GENERATOR.choices(WORDS, k=30)) for _ in range(50)]
    corpus = write(tmp_path / "corpus.txt", "\n".join([*map(nearly, ROWS), *part, *other]))
    outputs, store = ingest(
        tmp_path,
        corpus=[{"uri": str(corpus), "format": "text"}],
        labelled=labelled(tmp_path, ROWS),
        split=SPLIT,
    )
    splits, kept = by_split(outputs, store), corpus_of(outputs, store)
    held_out = splits["validation"] | splits["test"]
    assert kept >= set(other)
    for text, partial in zip(ROWS, part, strict=True):
        assert (nearly(text) in kept, partial in kept) == ((text not in held_out,) * 2)
    dropped = read_made(store, outputs.made_corpus)["ledger"]["dropped"]
    assert dropped == {"contaminated": len(held_out), "held_out": len(held_out)}


@pytest.mark.parametrize("near", ["drop", "keep", "off"])
def test_files_in_another_order_and_folder_give_the_same_datasets(tmp_path: Path, near: str) -> None:
    texts = [*ROWS, *map(nearly, ROWS), *ROWS[:10]]
    addresses = set()
    for number, order in enumerate(itertools.permutations(range(3))):
        folder = tmp_path / str(number)
        for place, part in enumerate(order):
            write(folder / "in" / f"{place}.csv", csv_of([(text, label(text)) for text in texts[part::3]]))
            write(folder / "corpus" / f"{place}.txt", "\n".join(map(nearly, texts[part::3])))
        outputs, _ = ingest(
            folder,
            corpus=[{"uri": str(folder / "corpus"), "format": "text"}],
            labelled=[{"uri": str(folder / "in")}],
            split=SPLIT,
            near_duplicates={"action": near},
        )
        addresses.add((outputs.corpus, outputs.labelled))
    assert len(addresses) == 1
