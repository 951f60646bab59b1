"""What is learned from tables: least squares by gradient descent, classes, folds, and what cannot be learned from."""

import json
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from components.finetune.folds import cross_validate, divide
from components.finetune.run import run
from components.finetune.settings import FinetuneSettings
from components.finetune.tables import vectors
from components.preprocess.run import run as preprocess
from components.preprocess.settings import PreprocessSettings
from modelmill.dataset import Dataset, DatasetWriter, open_dataset
from modelmill.errors import Interrupted, UserError
from modelmill.evaluation import regression
from modelmill.evaluation.baselines import least_squares, least_squares_weights
from modelmill.evaluation.document import CrossValidation
from modelmill.models import table
from modelmill.models.folder import fetch_model
from modelmill.models.predict import load_predictor
from modelmill.models.table_predictor import answers_of
from modelmill.settings import Task
from modelmill.step import Step
from modelmill.store import Store, open_store
from modelmill.tables.settings import TableTransforms
from modelmill.tables.transforms import fit_transforms
from modelmill.tables.values import Kind
from pipelines.recipe_file import load
from pipelines.steps import settings_of
from tests import samples, tables
from tests.samples import StopAt

RECIPES = Path(__file__).resolve().parents[3] / "pipelines" / "recipes"
BOSTON: dict[str, Kind] = dict.fromkeys(
    ("CRIM", "ZN", "INDUS", "CHAS", "NOX", "RM", "AGE", "DIS", "RAD", "TAX", "PTRATIO", "B", "LSTAT"), "number"
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def settings(**changes: Any) -> FinetuneSettings:
    told = {"task": "table-regression", "model": {"family": "mlp", "layers": 1, "width": 16}, "epochs": 30, "lr": 0.01}
    return FinetuneSettings.model_validate({**told, **changes})


def prepared(
    store: Store,
    folder: Path,
    labelled: str,
    task: Task = "table-regression",
    transforms: TableTransforms | None = None,
) -> Dataset:
    told = PreprocessSettings(task=task, tables=transforms or TableTransforms())
    outputs = preprocess(samples.step_of(store, folder), told, "", labelled, "")
    return open_dataset(store, outputs.labelled)


def houses(store: Store, folder: Path, count: int = 240) -> Dataset:
    return prepared(store, folder, tables.write_table(store, tables.house_splits(count)))


def boston(store: Store, folder: Path) -> Dataset:
    spec = find_spec("mlxtend.data")
    assert spec is not None
    assert spec.origin is not None
    rows = np.loadtxt(Path(spec.origin).parent / "data" / "boston_housing.csv", delimiter=",")
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    named = [dict(zip([*BOSTON, "price"], row, strict=True)) for row in rows.tolist()]
    splits = {"train": named[:350], "validation": named[350:400], "test": named[400:]}
    return prepared(store, folder, tables.write_table(store, splits, BOSTON))


def test_a_linear_network_by_gradient_descent_is_least_squares(store: Store, tmp_path: Path) -> None:
    """By the settings of the recipe: weights, intercept, predictions and R² to a thousandth."""
    told = FinetuneSettings.model_validate_json(settings_of(load(RECIPES / "boston_linear.yaml"))["finetune"])
    dataset = boston(store, tmp_path)
    made = run(samples.step_of(store, tmp_path), told.model_copy(update={"folds": None}), dataset.address, "", "")
    fetch_model(store, made.model, tmp_path / "model")
    model = table.load(tmp_path / "model")
    target = model.config.target
    assert target is not None

    train, test = dataset.table("train"), dataset.table("test")
    prices_N = train["target"].to_numpy()
    weights_F, intercept = least_squares_weights(vectors(train), (prices_N - target.mean) / target.unit)
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    np.testing.assert_allclose(state["layers.0.weight"][0], weights_F, atol=1e-3)
    assert state["layers.0.bias"][0] == pytest.approx(intercept, abs=1e-3)
    closed_N = least_squares(vectors(train), prices_N, vectors(test))
    found_N = answers_of(model, vectors(test))
    np.testing.assert_allclose(found_N / target.unit, closed_N / target.unit, atol=1e-3)
    truth_N = test["target"].to_numpy()
    assert regression.score(truth_N, found_N)["r2"] == pytest.approx(
        regression.score(truth_N, closed_N)["r2"], abs=1e-3
    )


def test_bostons_mlp_beats_least_squares_over_five_folds(store: Store, tmp_path: Path) -> None:
    told = FinetuneSettings.model_validate_json(settings_of(load(RECIPES / "boston.yaml"))["finetune"])
    made = run(samples.step_of(store, tmp_path), told, boston(store, tmp_path).address, "", "")
    found = folds_of(store, made.model, tmp_path / "model")
    assert found.folds == 5
    assert found.figures["model"]["r2"].mean >= found.figures["linear"]["r2"].mean + 0.05


def test_an_mlp_learns_what_houses_cost_and_answers_raw_rows(store: Store, tmp_path: Path) -> None:
    dataset = houses(store, tmp_path)
    made = run(samples.step_of(store, tmp_path), settings(), dataset.address, "", "")
    facts = fetch_model(store, made.model, tmp_path / "model")
    assert facts["features"] == tables.HOUSES
    assert (facts["target"], facts["task"]) == ("price", "table-regression")
    assert facts["lineage"]["labelled"] == dataset.address
    rows = tables.house_splits(240)["test"]
    found_N = load_predictor(tmp_path / "model").predict([{name: row[name] for name in tables.HOUSES} for row in rows])
    truth_N = np.array([row["price"] for row in rows])
    assert regression.score(truth_N, found_N)["r2"] > 0.7
    # In the target's own unit: the error of the kept weights on the validation rows.
    spread = np.var([row["price"] for row in tables.house_splits(240)["validation"]])
    assert 0 < made.summary["validation_mse"] < 0.3 * spread


def test_the_validation_error_is_that_of_the_kept_weights_in_the_targets_unit(store: Store, tmp_path: Path) -> None:
    dataset = houses(store, tmp_path, 120)
    made = run(samples.step_of(store, tmp_path), settings(epochs=5), dataset.address, "", "")
    fetch_model(store, made.model, tmp_path / "model")
    rows = dataset.table("validation")
    error_N = answers_of(table.load(tmp_path / "model"), vectors(rows)) - rows["target"].to_numpy()
    assert made.summary["validation_mse"] == pytest.approx(np.mean(error_N**2), rel=1e-4)


def test_classes_are_learned_too(store: Store, tmp_path: Path) -> None:
    rows = tables.classed(tables.house_splits(240))
    labelled = tables.write_table(store, rows, labels=tables.LABELS)
    dataset = prepared(store, tmp_path, labelled, "table-classification")
    told = settings(task="table-classification", folds=3)
    made = run(samples.step_of(store, tmp_path), told, dataset.address, "", "")
    facts = fetch_model(store, made.model, tmp_path / "model")
    assert facts["labels"] == list(tables.LABELS)
    predictor = load_predictor(tmp_path / "model")
    found = predictor.predict([{name: row[name] for name in tables.HOUSES} for row in rows["test"]]).argmax(axis=1)
    assert np.mean(found == [row["price"] for row in rows["test"]]) > 0.8
    folds = facts["cross_validation"]["figures"]
    assert folds["model"]["accuracy"]["mean"] > folds["majority"]["accuracy"]["mean"]


@pytest.mark.parametrize("family", ["linear", "mlp"])
@pytest.mark.parametrize("batch_rows", [1, 71, 500])
def test_batches_of_any_size_down_to_one_row_are_learned_from(
    store: Store, tmp_path: Path, family: str, batch_rows: int
) -> None:
    told = settings(epochs=1, batch_rows=batch_rows, model={"family": family})
    made = run(samples.step_of(store, tmp_path), told, houses(store, tmp_path, 120).address, "", "")
    assert made.summary["steps"] == -(-72 // batch_rows)
    assert math.isfinite(made.summary["validation_mse"])


def test_a_stopped_training_goes_on_to_the_same_model_and_the_same_folds(tmp_path: Path) -> None:
    whole, broken, folded = (open_store(str(tmp_path / name / "store")) for name in ("whole", "broken", "folded"))
    told = settings(epochs=10, folds=3)
    address = houses(whole, tmp_path / "whole").address
    expected = run(samples.step_of(whole, tmp_path / "whole"), told, address, "", "").model
    for store, at in ((broken, 20), (folded, 2)):
        folder = tmp_path / ("broken" if store is broken else "folded")
        assert houses(store, folder).address == address
        step = samples.step_of(store, folder)
        # Of the main training's 50 steps the 20th; or, the second fold's figures.
        step.figures_to = StopAt(step, at) if store is broken else _StopAtFold(step, at)
        with pytest.raises(Interrupted):
            run(step, told, address, "", "")
        assert run(samples.step_of(store, folder), told, address, "", "").model == expected


class _StopAtFold:
    def __init__(self, step: Step, at: int) -> None:
        self.step, self.at = step, at

    def log(self, values: Any, at: int | None) -> None:
        if "fold_r2" in values and at == self.at:
            self.step.stop_signal = 15


def folds_of(store: Store, model: str, folder: Path) -> CrossValidation:
    facts = fetch_model(store, model, folder)
    return CrossValidation.model_validate_json(json.dumps(facts["cross_validation"]))


def test_folds_tell_mean_and_deviation_of_the_model_and_of_least_squares(store: Store, tmp_path: Path) -> None:
    dataset = houses(store, tmp_path)
    step = samples.step_of(store, tmp_path)
    made = run(step, settings(folds=4), dataset.address, "", "")
    found = folds_of(store, made.model, tmp_path / "model")
    # The test rows stay out.
    assert (found.folds, found.rows) == (4, 192)
    assert set(found.figures) == {"model", "linear", "mean"}
    spread = found.figures["model"]["r2"]
    assert spread.mean == pytest.approx(np.mean(spread.folds), abs=1e-6)
    assert spread.deviation == pytest.approx(np.std(spread.folds, ddof=1), abs=1e-6)
    assert len(set(spread.folds)) == 4
    assert found.figures["linear"]["r2"].mean > 0.7
    assert abs(found.figures["mean"]["r2"].mean) < 0.2
    # The curves are those of the model, each step once; each fold tells of itself once.
    figures = samples.figures(tmp_path / "step.jsonl")
    losses = [one["at"] for one in figures if "validation_mse" in one["values"]]
    assert len(losses) == len(set(losses)) == 30
    assert [one["at"] for one in figures if "fold_r2" in one["values"]] == [1, 2, 3, 4]


def test_each_fold_has_transforms_of_its_own_training_rows(store: Store, tmp_path: Path) -> None:
    """With those of all rows, the rows that a fold is measured on would have a say in them."""
    # An indicator would take up whatever a missing value is filled with.
    by = TableTransforms(missing_indicator=False, impute="mean")
    labelled = tables.write_table(store, tables.house_splits(120))
    dataset = prepared(store, tmp_path, labelled, transforms=by)
    made = run(samples.step_of(store, tmp_path), settings(epochs=1, folds=3), dataset.address, "", "")
    found = folds_of(store, made.model, tmp_path / "model").figures["linear"]["r2"].folds
    source = open_dataset(store, dataset.meta["source"])
    rows = pa.concat_tables([source.table(split) for split in ("train", "validation")])
    fold_N, inner_N = divide(rows["group"].to_numpy(), 3, 24 / 96)
    wanted = []
    for number in range(3):
        train = rows.filter(pa.array((fold_N != number) & ~inner_N))
        held = rows.filter(pa.array(fold_N == number))
        made_of = fit_transforms(by, tables.HOUSES, train["features"], train["id"].to_pylist())
        train_MF, held_NF = (made_of.of_table(part["features"], part["id"].to_pylist())[0] for part in (train, held))
        numbers_N = least_squares(train_MF, train["target"].to_numpy(), held_NF)
        wanted.append(regression.score(held["target"].to_numpy(), numbers_N)["r2"])
    assert found == tuple(wanted)


def test_a_fold_is_the_same_whatever_was_drawn_before(store: Store, tmp_path: Path) -> None:
    dataset, found = houses(store, tmp_path, 120), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(cross_validate(samples.step_of(store, tmp_path), settings(folds=2), dataset, lambda *_: None))
    assert found[0] == found[1]


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_rows_of_a_group_never_part_between_folds(share: float) -> None:
    group_N = np.repeat(np.arange(60, dtype=np.uint64), np.arange(60) % 4 + 1)
    fold_N, inner_N = divide(group_N, 5, share)
    for group in range(60):
        assert len(set(fold_N[group_N == group])) == 1
        assert len(set(inner_N[group_N == group])) == 1
    counts = np.bincount(fold_N, minlength=5)
    assert counts.max() - counts.min() <= 4
    assert inner_N.any() == (share > 0)
    # Whatever the order of rows.
    order = np.random.default_rng(0).permutation(len(group_N))
    again = divide(group_N[order], 5, share)
    assert np.array_equal(again[0], fold_N[order])
    assert np.array_equal(again[1], inner_N[order])


def test_too_few_rows_for_the_folds_are_told(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="20 folds of 24 rows in 24 groups leave one with 1 rows, and 2 are needed"):
        run(samples.step_of(store, tmp_path), settings(epochs=1, folds=20), houses(store, tmp_path, 30).address, "", "")


def test_a_shape_that_reads_no_table_and_weights_to_start_from_are_refused(store: Store, tmp_path: Path) -> None:
    dataset, step = houses(store, tmp_path, 60), samples.step_of(store, tmp_path)
    with pytest.raises(UserError, match=r"finetune\.model: bert does not read a table's rows; the families linear and"):
        run(step, settings(model={"family": "bert", "layers": 1}), dataset.address, "", "")
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"finetune\.base: .* a table's network starts from random weights"):
        run(step, settings(), dataset.address, "", samples.pinned(base))


def test_a_network_for_tables_does_not_read_texts(store: Store, tmp_path: Path) -> None:
    labelled = samples.tokens(store, tmp_path).labelled
    told = settings(task=samples.TASK)
    with pytest.raises(UserError, match=r"finetune\.model: mlp is no encoder of texts; use bert or modernbert"):
        run(samples.step_of(store, tmp_path), told, labelled, "", "")
    told = settings(
        task=samples.TASK, model={"family": "bert", "layers": 1, "width": 32, "heads": 2}, epochs=1, folds=2
    )
    with pytest.raises(
        UserError, match=r"2 folds are asked for, and .* holds labelled-tokens; cross-validation is for"
    ):
        run(samples.step_of(store, tmp_path), told, labelled, "", "")


def rows_dataset(store: Store, answers: list[Any], value: float = 0.0, labels: tuple[str, ...] = ()) -> str:
    """Put vectors into the store that preprocessing would not have made."""
    answer = ("label", pa.int32()) if labels else ("target", pa.float64())
    schema = pa.schema([("id", pa.string()), ("features", pa.list_(pa.float32(), 2)), answer])
    meta = {"kind": "labelled-rows", "names": ["p", "q"], "features": {"p": "number", "q": "number"}, "target": "y"}
    writer = DatasetWriter(store, schema, {**meta, **({"labels": list(labels)} if labels else {})})
    for split in ("train", "validation"):
        columns = {
            "id": pa.array([f"{split}{place}" for place in range(len(answers))]),
            "features": pa.array([[1.0, 0.0], [2.0, value], [3.0, 1.0]], pa.list_(pa.float32(), 2)),
            answer[0]: pa.array(answers, answer[1]),
        }
        writer.add(split, pa.table(columns, schema=schema))
    return writer.commit().address


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_features_that_are_not_finite_are_named_by_row_and_column(store: Store, tmp_path: Path, value: float) -> None:
    address = rows_dataset(store, [1.0, 2.0, 3.0], value)
    with pytest.raises(UserError, match=r"split train, row train1: feature 'q' is (nan|inf), as are 1 of 6 values"):
        run(samples.step_of(store, tmp_path), settings(), address, "", "")


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_outside_the_range_are_told_with_both_figures(store: Store, tmp_path: Path, label: int) -> None:
    address = rows_dataset(store, [0, 1, label], labels=("a", "b"))
    told = settings(task="table-classification")
    with pytest.raises(
        UserError, match=rf"row train2: y is {label}, as wrong as 1 of 3; the classes are 0 to 1 \(a, b\): mend"
    ):
        run(samples.step_of(store, tmp_path), told, address, "", "")


def test_a_target_that_is_no_number_is_refused(store: Store, tmp_path: Path) -> None:
    address = rows_dataset(store, [1.0, math.nan, 3.0])
    with pytest.raises(UserError, match="row train1: y is nan, as wrong as 1 of 3; a number is wanted"):
        run(samples.step_of(store, tmp_path), settings(), address, "", "")


def test_targets_that_are_all_the_same_are_learned_without_dividing_by_0(store: Store, tmp_path: Path) -> None:
    address = rows_dataset(store, [5.0, 5.0, 5.0])
    assert math.isfinite(run(samples.step_of(store, tmp_path), settings(epochs=2), address, "", "").summary["steps"])


@pytest.mark.parametrize("asked", ["auto", "fp32"])
def test_these_networks_learn_in_single_precision_unless_told_otherwise(
    store: Store, tmp_path: Path, asked: str
) -> None:
    made = run(
        samples.step_of(store, tmp_path),
        settings(epochs=1, precision=asked),
        houses(store, tmp_path, 60).address,
        "",
        "",
    )
    assert made.summary["precision"] == "fp32"
