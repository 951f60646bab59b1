"""Tables through preprocessing: vectors at an address of their own, by transforms of the training rows alone."""

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.preprocess.outputs import PreprocessOutputs
from components.preprocess.run import run
from components.preprocess.settings import PreprocessSettings
from modelmill.dataset import Dataset, open_dataset, read_made
from modelmill.errors import UserError
from modelmill.store import Store, open_store
from modelmill.tables.transforms import FILE, read_transforms
from tests import samples, tables

SPLITS = tables.house_splits(60)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def made(store: Store, folder: Path, labelled: str, **told: Any) -> tuple[Dataset, PreprocessOutputs]:
    task = PreprocessSettings.model_validate({"task": "table-regression", "tables": told})
    outputs = run(samples.step_of(store, folder), task, "", labelled, "")
    return open_dataset(store, outputs.labelled), outputs


def test_rows_become_vectors_with_their_target(store: Store, tmp_path: Path) -> None:
    labelled = tables.write_table(store, SPLITS)
    dataset, outputs = made(store, tmp_path, labelled)

    assert dataset.meta["kind"] == "labelled-rows"
    assert dataset.meta["names"] == [
        "area", "area=missing", "built.days", "garden", "rooms", "street=north", "street=south", "street=west",
        "street=missing",
    ]  # fmt: skip
    assert dataset.schema.field("features").type == pa.list_(pa.float32(), 9)
    prices = np.array([row["price"] for row in SPLITS["train"]])
    assert dataset.meta["target_figures"] == {
        "mean": prices.mean(), "deviation": prices.std(), "min": prices.min(), "max": prices.max()
    }  # fmt: skip
    assert dataset.table("test")["target"].to_pylist() == [row["price"] for row in SPLITS["test"]]
    train = np.array(dataset.table("train")["features"].to_pylist())
    rooms = train[:, dataset.meta["names"].index("rooms")]
    assert (rooms.mean(), rooms.std()) == (pytest.approx(0, abs=1e-6), pytest.approx(1, abs=1e-6))
    assert outputs.summary["rows"] == 60
    assert (outputs.summary["features"], outputs.summary["columns_left_out"]) == (9, 1)
    assert outputs.summary["imputed"] == sum(
        row[name] is None for rows in SPLITS.values() for row in rows for name in row
    )
    assert read_made(store, outputs.made_labelled)["report"]["left_out"] == {"note": "free text"}


def test_the_classes_of_a_table_stay_its_labels(store: Store, tmp_path: Path) -> None:
    rows = tables.classed(SPLITS)
    dataset, _ = made(store, tmp_path, tables.write_table(store, rows, labels=tables.LABELS))
    assert dataset.meta["labels"] == list(tables.LABELS)
    assert dataset.table("test")["label"].to_pylist() == [row["price"] for row in rows["test"]]


def test_serving_makes_of_a_row_what_training_saw_to_the_last_bit(store: Store, tmp_path: Path) -> None:
    labelled = tables.write_table(store, SPLITS)
    dataset, _ = made(store, tmp_path, labelled)
    dataset.fetch_attachments(tmp_path / "model")
    transforms = read_transforms(tmp_path / "model" / FILE)
    for split in SPLITS:
        raw = open_dataset(store, labelled).table(split, ["features"])["features"].to_pylist()
        stored = np.array(dataset.table(split)["features"].to_pylist(), dtype=np.float32)
        assert transforms.of_rows(raw)[0].tobytes() == stored.tobytes()


def test_equal_rows_give_an_equal_address_in_any_store(tmp_path: Path) -> None:
    addresses = set()
    for name in ("one", "two"):
        store = open_store(str(tmp_path / name / "store"))
        addresses.add(made(store, tmp_path / name, tables.write_table(store, SPLITS))[0].address)
    assert len(addresses) == 1


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(1, 10**6), split=st.sampled_from(["validation", "test"]))
def test_rows_that_are_held_out_change_nothing_of_the_transforms(
    store: Store, tmp_path: Path, seed: int, split: str
) -> None:
    labelled = tables.write_table(store, SPLITS)
    others = tables.write_table(store, {**SPLITS, split: tables.houses(12, seed)})
    before, after = made(store, tmp_path, labelled)[0], made(store, tmp_path, others)[0]
    assert before.attachments == after.attachments
    assert before.splits["train"] == after.splits["train"]
    assert before.splits[split] != after.splits[split]


def test_a_training_row_changes_them(store: Store, tmp_path: Path) -> None:
    other = {**SPLITS, "train": [{**SPLITS["train"][0], "area": 1000.0}, *SPLITS["train"][1:]]}
    addresses = [tables.write_table(store, each) for each in (SPLITS, other)]
    before, after = (made(store, tmp_path, address)[0] for address in addresses)
    assert before.attachments != after.attachments


def test_what_is_left_out_is_warned_of(store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        made(store, tmp_path, tables.write_table(store, SPLITS))
    assert "1 of 6 columns are left out: note (free text)" in caplog.text


def test_a_number_that_is_not_finite_is_named_with_its_row_or_counted(store: Store, tmp_path: Path) -> None:
    bad = {**SPLITS, "test": [*SPLITS["test"], {**SPLITS["test"][0], "area": math.inf}]}
    labelled = tables.write_table(store, bad)
    (row,) = [
        row["id"]
        for row in open_dataset(store, labelled).table("test").to_pylist()
        if row["features"]["area"] == math.inf
    ]
    with pytest.raises(UserError, match=rf"row {row}, column 'area': inf is not finite, as are 1 of 13 values; mend"):
        made(store, tmp_path, labelled)
    assert made(store, tmp_path, labelled, non_finite="impute")[1].summary["non_finite"] == 1


def test_a_table_without_training_rows_is_refused(store: Store, tmp_path: Path) -> None:
    labelled = tables.write_table(store, {"test": SPLITS["test"]})
    with pytest.raises(UserError, match=r"0 rows in the train split of 12; raise ingest\.split\.train"):
        made(store, tmp_path, labelled)
