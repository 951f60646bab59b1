"""Splits by group, by label and by time, through the whole step."""

import itertools
import random
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from modelmill.dataset import open_dataset, read_made
from modelmill.errors import UserError
from tests.components.ingest.tools import ingest, write

CHANCE = random.Random(2)
# Number, label, user, day of a row; one in ten is of the class that is rare.
ROWS = [
    (n, "rare" if n % 10 == 0 else "common", f"user {CHANCE.randrange(60)}", CHANCE.randrange(1, 29))
    for n in range(600)
]
SPLIT = {"train": 0.6, "validation": 0.2, "test": 0.2}


def text(number: int) -> str:
    return f"row number {number} says {number * 7919} times {number * 104729}"


def source(folder: Path, rows: list[tuple[int, str, str, int]], **columns: str) -> list[dict[str, Any]]:
    lines = [f"{text(number)},{label},{user},2024-02-{day:02}T10:00:00\n" for number, label, user, day in rows]
    path = write(folder / "rows.csv", "text,label,user,day\n" + "".join(lines))
    return [{"uri": str(path), "columns": columns}]


def numbers_by_split(
    folder: Path, rows: list[tuple[int, str, str, int]], by: str, **columns: str
) -> dict[str, set[int]]:
    outputs, store = ingest(folder, labelled=source(folder, rows, **columns), split={**SPLIT, "by": by})
    dataset = open_dataset(store, outputs.labelled)
    return {
        split: {int(row["text"].split()[2]) for row in dataset.table(split).to_pylist()} for split in dataset.splits
    }


@pytest.mark.parametrize("by", ["hash", "label", "time"])
def test_the_rows_of_one_user_are_in_one_split(tmp_path: Path, by: str) -> None:
    splits = numbers_by_split(tmp_path, ROWS, by, group="user", time="day")
    assert sum(map(len, splits.values())) == 600
    users = {split: {ROWS[number][2] for number in numbers} for split, numbers in splits.items()}
    for one, other in itertools.combinations(users.values(), 2):
        assert not one & other


def test_without_the_group_key_users_do_straddle(tmp_path: Path) -> None:
    splits = numbers_by_split(tmp_path, ROWS, "hash")
    users = [{ROWS[number][2] for number in numbers} for numbers in splits.values()]
    assert users[0] & users[1]


def test_each_class_has_the_same_shares_to_the_row(tmp_path: Path) -> None:
    splits = numbers_by_split(tmp_path, ROWS, "label")
    for label, total in (("rare", 60), ("common", 540)):
        counts = {split: sum(ROWS[number][1] == label for number in numbers) for split, numbers in splits.items()}
        assert counts == {split: pytest.approx(share * total, abs=1) for split, share in SPLIT.items()}


def test_the_oldest_rows_train_and_the_newest_test(tmp_path: Path) -> None:
    splits = numbers_by_split(tmp_path, ROWS, "time", time="day")
    days = {split: [ROWS[number][3] for number in numbers] for split, numbers in splits.items()}
    assert max(days["train"]) <= min(days["validation"])
    assert max(days["validation"]) <= min(days["test"])
    assert {split: len(numbers) for split, numbers in splits.items()} == {"train": 360, "validation": 120, "test": 120}


@pytest.mark.parametrize("by", ["hash", "label", "time"])
def test_the_order_of_rows_changes_nothing(tmp_path: Path, by: str) -> None:
    # Users with rows of both classes: whose class a group has must not hang on which row is read first.
    shuffled = random.Random(7).sample(ROWS, len(ROWS))
    first = numbers_by_split(tmp_path / "a", ROWS, by, group="user", time="day")
    assert numbers_by_split(tmp_path / "b", shuffled, by, group="user", time="day") == first


def test_a_row_whose_time_cannot_be_read_is_bad_and_counted(tmp_path: Path) -> None:
    rows = "".join(f"{text(number)},{'xy'[number % 2]},{number}\n" for number in range(300))
    path = write(tmp_path / "rows.csv", "text,label,day\n" + rows + "one more,x,yesterday\n")
    labelled = [{"uri": str(path), "columns": {"time": "day"}}]
    outputs, store = ingest(tmp_path / "a", labelled=labelled, split={**SPLIT, "by": "time"})
    assert read_made(store, outputs.made_labelled)["ledger"]["dropped"] == {"bad_time": 1}
    with pytest.raises(UserError, match=r"row 302: bad_time, 'yesterday' is no time of ISO 8601, and no number"):
        ingest(tmp_path / "b", labelled=labelled, split={**SPLIT, "by": "time"}, max_bad_rows=0.0)


def test_a_split_by_time_needs_a_column_of_times(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"split\.by is time, and .*rows\.csv has no columns\.time"):
        numbers_by_split(tmp_path, ROWS, "time")


def test_the_corpus_loses_what_belongs_to_a_held_out_group(tmp_path: Path) -> None:
    lines = [
        f'{{"text": "an aside of {user} about {number * 31}", "user": "{user}"}}\n' for number, _, user, _ in ROWS[:200]
    ]
    corpus = write(tmp_path / "corpus.jsonl", "".join(lines))
    outputs, store = ingest(
        tmp_path,
        corpus=[{"uri": str(corpus), "columns": {"group": "user"}}],
        labelled=source(tmp_path, ROWS, group="user"),
        split=SPLIT,
    )
    dataset, kept = open_dataset(store, outputs.labelled), open_dataset(store, outputs.corpus)
    held_out = {
        ROWS[int(row["text"].split()[2])][2]
        for split in ("validation", "test")
        for row in dataset.table(split).to_pylist()
    }
    there = {" ".join(row["text"].split()[3:5]) for split in kept.splits for row in kept.table(split).to_pylist()}
    assert there
    assert not there & held_out
