"""Models of tables are measured from raw rows, as they are served, beside the mean and least squares."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sklearn import metrics as sklearn

from components.evaluate.run import run
from components.evaluate.settings import EvaluateSettings
from modelmill.errors import ModelmillError, UserError
from modelmill.evaluation import regression
from modelmill.evaluation.baselines import least_squares
from modelmill.evaluation.document import Report
from modelmill.models import table
from modelmill.models.architecture import TableNetwork
from modelmill.models.folder import read_files, save_model
from modelmill.models.table import TableConfig, TableModel, Target
from modelmill.step import Step
from modelmill.store import open_store
from modelmill.tables.settings import TableTransforms
from modelmill.tables.transforms import FILE, Transforms, fit_transforms
from modelmill.tables.values import Kind
from tests import samples, tables

SPLITS = tables.house_splits(200)


@pytest.fixture
def step(tmp_path: Path) -> Step:
    return samples.step_of(open_store(str(tmp_path / "store")), tmp_path, "evaluate")


def transforms() -> Transforms:
    train = SPLITS["train"]
    return fit_transforms(
        TableTransforms(), tables.HOUSES, tables.features(train), [str(each) for each in range(len(train))]
    )


def vectors_of(rows: list[tables.Row]) -> Any:
    return transforms().of_table(tables.features(rows), [str(place) for place in range(len(rows))])[0]


def save(
    step: Step,
    folder: Path,
    labels: tuple[str, ...] = (),
    *,
    weight: float | None = None,
    target: str = "price",
    **facts: Any,
) -> str:
    """Put a network with random weights, or with one value for all of them, into the store."""
    torch.manual_seed(0)
    prices = np.array([row["price"] for row in SPLITS["train"]])
    figures = None if labels else Target(name=target, mean=float(prices.mean()), deviation=float(prices.std()))
    inputs = len(transforms().names)
    shape = TableNetwork(family="linear")
    model = TableModel(TableConfig(shape=shape, inputs=inputs, outputs=len(labels) or 1, target=figures))
    if weight is not None:
        for each in model.parameters():
            torch.nn.init.constant_(each, weight)
    table.save(model, folder)
    (folder / FILE).write_text(transforms().to_json())
    told = {
        "task": "table-classification" if labels else "table-regression",
        "features": tables.HOUSES,
        "target": target,
    }
    return save_model(step.store, folder, {**told, **({"labels": list(labels)} if labels else {}), **facts})


def settings(**told: Any) -> EvaluateSettings:
    return EvaluateSettings.model_validate({"task": "table-regression", **told})


def report_of(step: Step, address: str) -> tuple[Report, dict[str, bytes]]:
    files, _ = read_files(step.store, address)
    return Report.read(files["report.json"]), files


def test_a_regression_is_measured_beside_the_mean_and_least_squares(step: Step, tmp_path: Path) -> None:
    model, labelled = save(step, tmp_path / "model"), tables.write_table(step.store, SPLITS)
    made = run(step, settings(thresholds={"r2": {"min": 0.7}}, must_beat=("linear",)), model, labelled)
    report, files = report_of(step, made.report)
    assert files.keys() == {"report.json", "report.html", "predictions.parquet"}

    kept = pq.read_table(pa.BufferReader(files["predictions.parquet"]))
    truth, predicted = kept["target"].to_numpy(), kept["predicted"].to_numpy()
    assert truth.tolist() == [row["price"] for row in SPLITS["test"]]
    assert report.metrics["test"]["r2"] == pytest.approx(sklearn.r2_score(truth, predicted), abs=1e-6)
    assert report.metrics["test"]["mae"] == pytest.approx(sklearn.mean_absolute_error(truth, predicted))

    prices = np.array([row["price"] for row in SPLITS["train"]])
    train_MF, test_NF = (vectors_of(SPLITS[split]) for split in ("train", "test"))
    assert report.metrics["mean"] == regression.score(truth, np.full(len(truth), prices.mean()))
    assert report.metrics["linear"] == regression.score(truth, least_squares(train_MF, prices, test_NF))
    assert report.metrics["linear"]["r2"] > 0.8
    assert {check.against or check.metric: check.passed for check in report.checks} == {
        "r2": False, "mean": False, "linear": False
    }  # fmt: skip
    inside = (kept["low"].to_numpy() <= truth) & (truth <= kept["high"].to_numpy())
    assert report.metrics["test"]["interval_coverage"] == pytest.approx(inside.mean())
    assert made.summary["r2"] == report.metrics["test"]["r2"]
    assert made.summary["linear_r2"] == report.metrics["linear"]["r2"]
    assert json.loads(json.dumps(made.summary)) == made.summary
    assert report.data is not None
    assert {name: split.rows for name, split in report.data.splits.items()} == {
        "train": 120,
        "validation": 40,
        "test": 40,
    }
    asked = json.loads(report.ask)
    assert set(asked) <= set(tables.HOUSES) - {"note"}


def test_the_rows_that_are_farthest_off_are_told_without_free_text(step: Step, tmp_path: Path) -> None:
    made = run(step, settings(), save(step, tmp_path / "model"), tables.write_table(step.store, SPLITS))
    told = report_of(step, made.report)[0].regression
    assert told is not None
    assert told.worst[0].text.startswith("area=")
    assert re.search(r", garden=(true|false), rooms=\d, street=", told.worst[0].text)
    assert "note" not in told.worst[0].text
    assert "house " not in told.worst[0].text


def test_classes_of_a_table_have_the_report_of_a_classifier(step: Step, tmp_path: Path) -> None:
    model = save(step, tmp_path / "model", tables.LABELS)
    labelled = tables.write_table(step.store, tables.classed(SPLITS), labels=tables.LABELS)
    made = run(step, settings(task="table-classification"), model, labelled)
    report, _ = report_of(step, made.report)
    assert set(report.metrics) == {"test", "majority"}
    assert report.regression is None
    assert report.examples[0].text.startswith("area=")
    assert json.loads(report.ask)


def test_the_folds_of_the_training_are_in_the_report(step: Step, tmp_path: Path) -> None:
    spread = {"r2": {"mean": 0.8, "deviation": 0.1, "folds": [0.7, 0.9]}}
    folds = {"folds": 2, "rows": 160, "figures": {"model": spread, "linear": spread}}
    model = save(step, tmp_path / "model", cross_validation=folds)
    made = run(step, settings(), model, tables.write_table(step.store, SPLITS))
    report, _ = report_of(step, made.report)
    assert report.cross_validation is not None
    assert report.cross_validation.model_dump(mode="json") == folds


def test_columns_of_the_model_that_the_data_lack_are_told(step: Step, tmp_path: Path) -> None:
    kinds: dict[str, Kind] = {"area": "number", "romms": "integer"}
    rows = {split: [{**row, "romms": row["rooms"]} for row in each] for split, each in SPLITS.items()}
    labelled = tables.write_table(step.store, rows, kinds)
    with pytest.raises(
        UserError, match=r"4 of the 5 columns that the model reads are not among the 2 of the data: built"
    ):
        run(step, settings(), save(step, tmp_path / "model"), labelled)


def test_a_column_that_holds_something_else_than_in_training_is_told(step: Step, tmp_path: Path) -> None:
    kinds: dict[str, Kind] = {**tables.HOUSES, "rooms": "category"}
    rows = {split: [{**row, "rooms": str(row["rooms"])} for row in each] for split, each in SPLITS.items()}
    labelled = tables.write_table(step.store, rows, kinds)
    with pytest.raises(
        UserError, match="column 'rooms' was of kind integer when the model was trained, and is of kind ca"
    ):
        run(step, settings(), save(step, tmp_path / "model"), labelled)


def test_a_whole_number_may_become_a_number(step: Step, tmp_path: Path) -> None:
    kinds: dict[str, Kind] = {**tables.HOUSES, "rooms": "number"}
    rows = {split: [{**row, "rooms": float(row["rooms"])} for row in each] for split, each in SPLITS.items()}
    assert run(step, settings(), save(step, tmp_path / "model"), tables.write_table(step.store, rows, kinds)).report


def test_another_target_than_the_models_is_refused(step: Step, tmp_path: Path) -> None:
    model = save(step, tmp_path / "model", target="rent")
    with pytest.raises(ModelmillError, match=r"the model predicts 'rent', .* has the target 'price'"):
        run(step, settings(), model, tables.write_table(step.store, SPLITS))


def test_a_model_of_texts_reads_no_table(step: Step, tmp_path: Path) -> None:
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    model = save_model(step.store, folder, {"task": "text-classification", "labels": ["a", "b"], "max_tokens": 8})
    with pytest.raises(
        UserError, match=r"a model for text-classification reads no table, and .* holds one of 6 columns"
    ):
        run(step, settings(), model, tables.write_table(step.store, SPLITS))


def test_a_diverged_model_is_named_as_one(step: Step, tmp_path: Path) -> None:
    model = save(step, tmp_path / "model", weight=float("nan"))
    with pytest.raises(ModelmillError, match="no finite number for 40 of 40 test rows"):
        run(step, settings(), model, tables.write_table(step.store, SPLITS))


def test_too_few_test_rows_are_the_users_to_mend(step: Step, tmp_path: Path) -> None:
    labelled = tables.write_table(step.store, {**SPLITS, "test": SPLITS["test"][:1]})
    with pytest.raises(UserError, match=r"1 rows in the test split, at least 2 are needed; raise ingest\.split\.test"):
        run(step, settings(), save(step, tmp_path / "model"), labelled)


def test_the_same_model_and_rows_give_the_same_report(step: Step, tmp_path: Path) -> None:
    model, labelled = save(step, tmp_path / "model"), tables.write_table(step.store, SPLITS)
    assert run(step, settings(), model, labelled).report == run(step, settings(), model, labelled).report


def test_slices_are_measured_by_a_table_s_columns(step: Step, tmp_path: Path) -> None:
    model, labelled = save(step, tmp_path / "model"), tables.write_table(step.store, SPLITS)
    asked = settings(slices=("street", "area", "garden", "built", "note"), must_beat=())
    made = run(step, asked, model, labelled)
    report, files = report_of(step, made.report)
    kept = pq.read_table(pa.BufferReader(files["predictions.parquet"]))
    for column in ("street", "area", "garden", "built", "note"):
        parts = [one for one in report.slices if one.column == column]
        assert sum(one.rows for one in parts) == 40
    south = [row["street"] == "south" for row in SPLITS["test"]]
    part = next(one for one in report.slices if one.value == "south")
    truth, predicted = kept["target"].to_numpy()[south], kept["predicted"].to_numpy()[south]
    assert part.metrics["r2"] == pytest.approx(sklearn.r2_score(truth, predicted), abs=1e-5)
    assert [value == "south" for value in kept["slice.street"].to_pylist()] == south
    assert {one.value for one in report.slices if one.column == "garden"} == {"true", "false"}


def test_a_column_that_is_not_there_makes_no_slices(step: Step, tmp_path: Path) -> None:
    model, labelled = save(step, tmp_path / "model"), tables.write_table(step.store, SPLITS)
    with pytest.raises(UserError, match=r"no column 'steet' to slice by; did you mean 'street'\?; there are: area, "):
        run(step, settings(slices=("steet",)), model, labelled)
