"""Golden rows: what is kept of them, and how much an answer may differ."""

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from modelmill.dataset import Dataset, DatasetWriter, encode
from modelmill.registry.golden import Answer, differing, given, keep_golden
from modelmill.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def _dataset(store: Store, kind: str, columns: dict[str, Any]) -> Dataset:
    table = pa.table(columns)
    writer = DatasetWriter(store=store, schema=table.schema, meta={"kind": kind})
    writer.add("test", table)
    return writer.commit()


def _kept(store: Store, dataset: Dataset, predictions: dict[str, Any]) -> dict[str, Any]:
    address = keep_golden(store, dataset, "test", encode(pa.table(predictions)), {"model": "models/x", "task": "t"})
    return store.get_addressed(address) if address else {}


def test_the_first_rows_are_kept_with_the_answers_of_the_evaluation(store: Store) -> None:
    ids = [f"{row:02}" for row in range(20)]
    dataset = _dataset(store, "labelled-text", {"id": ids, "text": [f"row {row}" for row in range(20)]})
    kept = _kept(store, dataset, {"id": ids, "probability": [[0.25, 0.75]] * 20})
    assert kept["kind"] == "probability"
    assert len(kept["rows"]) == 8
    assert kept["rows"][1] == {"id": "01", "input": "row 1", "answer": [0.25, 0.75]}
    assert kept["model"] == "models/x"


def test_pictures_and_table_rows_come_back_as_what_a_predictor_is_asked(store: Store) -> None:
    picture = _dataset(store, "labelled-images", {"id": ["a"], "image": [b"\x89PNG\x00"]})
    kept = _kept(store, picture, {"id": ["a"], "probability": [[1.0]]})
    assert given(kept["rows"][0]["input"]) == b"\x89PNG\x00"
    row = {"age": float("nan"), "town": "Ulm", "seen": dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC), "old": None}
    table = _dataset(store, "labelled-table", {"id": ["a"], "features": [row]})
    kept = _kept(store, table, {"id": ["a"], "target": [1.0], "predicted": [2.5]})
    assert given(kept["rows"][0]["input"]) == {
        "age": None,
        "town": "Ulm",
        "seen": "2024-05-01T12:00:00+00:00",
        "old": None,
    }
    assert (kept["kind"], kept["rows"][0]["answer"]) == ("number", 2.5)


def test_questions_are_asked_with_their_context_and_answered_with_a_text(store: Store) -> None:
    asked = _dataset(store, "labelled-questions", {"id": ["a"], "question": ["Who?"], "context": ["Ann did."]})
    kept = _kept(store, asked, {"id": ["a"], "answer": ["Ann"], "score": [0.9]})
    assert kept["rows"] == [{"id": "a", "input": {"question": "Who?", "context": "Ann did."}, "answer": "Ann"}]


def test_rows_that_evaluation_did_not_see_or_that_are_huge_are_no_golden_ones(store: Store) -> None:
    dataset = _dataset(store, "labelled-text", {"id": ["a", "b"], "text": ["short", "x" * (1 << 19)]})
    assert len(_kept(store, dataset, {"id": ["a", "b"], "probability": [[1.0], [1.0]]})["rows"]) == 1
    assert _kept(store, dataset, {"id": ["z"], "probability": [[1.0]]}) == {}
    assert _kept(store, dataset, {"id": ["a"], "other": [1.0]}) == {}


@pytest.mark.parametrize(
    ("kind", "before", "now", "wrong"),
    [
        ("probability", [[0.25, 0.75], [0.5, 0.5]], [[0.26, 0.74], [0.5, 0.5]], 0),
        ("probability", [[0.25, 0.75], [0.5, 0.5]], [[0.75, 0.25], [0.5, 0.5]], 1),
        ("probability", [[0.25, 0.75]], [[0.25, 0.75, 0.0]], 1),
        ("probability", [[0.25, 0.75]], [[float("nan"), 0.75]], 1),
        ("number", [1000.0, 0.5], [1010.0, 0.5], 0),
        ("number", [1000.0, 0.5], [1050.0, 0.5], 1),
        ("loss", [100.0], [101.0], 0),
        ("text", ["yes", "no", "maybe"], ["yes", "no", "perhaps"], 0),
        ("text", ["yes", "no", "maybe"], ["yes", "", ""], 2),
        ("text", ["yes", "no"], ["yes"], 1),
    ],
)
def test_answers_may_differ_by_what_another_device_makes_of_them(
    kind: Answer, before: list[Any], now: list[Any], wrong: int
) -> None:
    assert len(differing(kind, before, now)) == wrong
