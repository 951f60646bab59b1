"""Test rows are measured by the source that they come from and by columns that ingest has kept beside them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.evaluate.run import run
from components.evaluate.settings import EvaluateSettings
from modelmill.dataset import open_dataset
from modelmill.errors import UserError
from modelmill.evaluation.document import Report
from modelmill.models.folder import read_files
from modelmill.step import Step
from modelmill.store import open_store
from tests import samples
from tests.components.evaluate.test_run import save_tiny_model
from tests.components.ingest.tools import ingest, write


@pytest.fixture
def step(tmp_path: Path) -> Step:
    return samples.step_of(open_store(str(tmp_path / "store")), tmp_path, "evaluate")


def two_sources(step: Step, folder: Path) -> str:
    """Return the address of labelled texts of two sources with a year each."""
    texts = {"shop": ("weak", "great"), "web": ("dull", "moving")}
    sources: list[dict[str, Any]] = []
    for source, words in texts.items():
        lines = [
            {"text": f"the {words[number % 2]} story {number}", "label": number % 2, "year": 1990 + number % 40}
            for number in range(120 if source == "shop" else 60)
        ]
        path = write(folder / f"{source}.jsonl", "".join(f"{json.dumps(line)}\n" for line in lines))
        sources.append({"uri": str(path), "name": source})
    outputs, _ = ingest(
        folder / "ingest",
        step.store,
        labelled=sources,
        slice_columns=["year"],
        label={"bins": {"negative": [-1, 0.5], "positive": [0.5, 1]}},
        split={"train": 0.3, "validation": 0.1, "test": 0.6},
        near_duplicates={"action": "off"},
    )
    return outputs.labelled


def test_each_source_and_each_quarter_of_a_column_is_measured(step: Step, tmp_path: Path) -> None:
    labelled, model = two_sources(step, tmp_path), save_tiny_model(step.store, tmp_path / "model")
    told = EvaluateSettings(task="text-classification", must_beat=("majority",), slices=("source", "year"))
    files, _ = read_files(step.store, run(step, told, model, labelled).report)
    report = Report.read(files["report.json"])
    dataset = open_dataset(step.store, labelled).table("test")
    source = np.array([slices["source"] for slices in dataset["slices"].to_pylist()])
    predicted = pq.read_table(pa.BufferReader(files["predictions.parquet"]))
    right = predicted["predicted"].to_numpy() == predicted["label"].to_numpy()
    by_source = {one.value: one for one in report.slices if one.column == "source"}
    assert set(by_source) == {"shop", "web"}
    for name, one in by_source.items():
        assert one.rows == (source == name).sum() > 20
        assert one.metrics["accuracy"] == pytest.approx(right[source == name].mean(), abs=1e-6)
    years = [one.value for one in report.slices if one.column == "year"]
    assert len(years) == 4
    assert all(year.startswith("below ") or year.endswith(" and up") or " to below " in year for year in years)


def test_what_was_not_kept_is_told_with_the_way_out(step: Step, tmp_path: Path) -> None:
    labelled, model = two_sources(step, tmp_path), save_tiny_model(step.store, tmp_path / "model")
    told = EvaluateSettings(task="text-classification", must_beat=(), slices=("yaer",))
    with pytest.raises(UserError, match=r"no column 'yaer' to slice by; did you mean 'year'.*slice_columns"):
        run(step, told, model, labelled)
