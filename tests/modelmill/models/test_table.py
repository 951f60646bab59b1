"""Networks over tables: built by their shape, whole after saving, refused where their parts do not fit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modelmill.errors import UserError
from modelmill.models import table
from modelmill.models.architecture import TableNetwork
from modelmill.models.predict import load_predictor
from modelmill.models.table import TableConfig, TableModel, Target
from modelmill.models.table_predictor import TablePredictor
from modelmill.tables.settings import TableTransforms
from modelmill.tables.transforms import FILE, fit_transforms
from tests import tables

MLP = TableNetwork(family="mlp", layers=2, width=8)
PRICE = Target(name="price", mean=300.0, deviation=100.0)


def folder_of(folder: Path, labels: tuple[str, ...] = (), shape: TableNetwork = MLP, inputs: int = 9) -> Path:
    """Write a model with random weights, and what stands before them."""
    torch.manual_seed(0)
    target = None if labels else PRICE
    table.save(TableModel(TableConfig(shape=shape, inputs=inputs, outputs=len(labels) or 1, target=target)), folder)
    train = tables.houses(50)
    transforms = fit_transforms(
        TableTransforms(), tables.HOUSES, tables.features(train), [str(place) for place in range(50)]
    )
    (folder / FILE).write_text(transforms.to_json())
    facts: dict[str, Any] = {"task": "table-classification" if labels else "table-regression"}
    facts |= {"features": tables.HOUSES, "target": "price", **({"labels": list(labels)} if labels else {})}
    (folder / "modelmill.json").write_text(json.dumps(facts))
    return folder


def test_a_linear_network_is_a_weight_for_each_number_and_an_intercept() -> None:
    model = TableModel(TableConfig(shape=TableNetwork(family="linear"), inputs=5, outputs=1, target=PRICE))
    assert {name: tuple(weight.shape) for name, weight in model.named_parameters()} == {
        "layers.0.weight": (1, 5),
        "layers.0.bias": (1,),
    }


def test_an_mlp_has_its_layers_and_its_width() -> None:
    model = TableModel(TableConfig(shape=MLP, inputs=5, outputs=3))
    weights = [tuple(weight.shape) for weight in model.parameters() if weight.ndim == 2]
    assert weights == [(8, 5), (8, 8), (3, 8)]


@pytest.mark.parametrize("family", ["linear", "mlp"])
def test_a_saved_network_answers_as_before(tmp_path: Path, family: str) -> None:
    shape = TableNetwork.model_validate({"family": family})
    torch.manual_seed(1)
    model = TableModel(TableConfig(shape=shape, inputs=4, outputs=2), dropout=0.5).eval()
    table.save(model, tmp_path)
    features_BF = torch.randn(6, 4)
    again = table.load(tmp_path)
    assert torch.equal(again(features_BF), model(features_BF))
    assert not again.training


def test_numbers_come_in_the_targets_own_unit(tmp_path: Path) -> None:
    predictor = load_predictor(folder_of(tmp_path))
    assert isinstance(predictor, TablePredictor)
    rows = tables.features(tables.houses(20, 1)).to_pylist()
    with torch.inference_mode():
        outputs_N1 = predictor.model(torch.from_numpy(predictor.transforms.of_rows(rows)[0]))
    found_N = predictor.predict(rows)
    np.testing.assert_allclose(found_N, outputs_N1.squeeze(1).numpy() * 100.0 + 300.0, rtol=1e-6)
    assert np.ptp(found_N) > 1
    assert predictor.labels == ()


def test_classes_come_with_probabilities_that_sum_to_1(tmp_path: Path) -> None:
    predictor = load_predictor(folder_of(tmp_path, ("a", "b", "c")))
    found_NL = predictor.predict(tables.features(tables.houses(20, 1)).to_pylist())
    assert found_NL.shape == (20, 3)
    np.testing.assert_allclose(found_NL.sum(axis=1), 1.0)
    assert predictor.labels == ("a", "b", "c")


def test_missing_keys_are_missing_values_and_no_rows_are_no_answers(tmp_path: Path) -> None:
    predictor = load_predictor(folder_of(tmp_path))
    nothing = dict.fromkeys(tables.HOUSES)
    assert predictor.predict([{}]).tolist() == predictor.predict([nothing]).tolist()
    assert predictor.predict([]).shape == (0,)


def test_a_wrong_type_is_told_with_column_and_value(tmp_path: Path) -> None:
    predictor = load_predictor(folder_of(tmp_path))
    with pytest.raises(UserError, match="row 2, column 'rooms': 'six' is no number"):
        predictor.predict([{"rooms": 6}, {"rooms": "six"}])
    with pytest.raises(UserError, match="row 1: 'a dull film' is no table's row"):
        predictor.predict(["a dull film"])


def test_a_folder_of_parts_that_do_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a network of 7 inputs and 1 outputs, its transforms give 9 and it is to an"):
        load_predictor(folder_of(tmp_path / "a", inputs=7))
    folder = folder_of(tmp_path / "b", ("x", "y"))
    facts = json.loads((folder / "modelmill.json").read_text())
    (folder / "modelmill.json").write_text(json.dumps({**facts, "labels": ["x", "y", "z"]}))
    with pytest.raises(UserError, match=r"a network of 9 inputs and 2 outputs.* it is to answer 3 labels"):
        load_predictor(folder)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", FILE])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"\x80\x04K\x01."])
def test_a_torn_folder_or_a_pickle_is_refused_by_name(tmp_path: Path, file: str, content: bytes | None) -> None:
    folder = folder_of(tmp_path)
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    with pytest.raises(UserError, match=str(tmp_path)):
        load_predictor(folder)


def test_weights_of_another_shape_are_not_made_to_fit(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a")
    other = folder_of(tmp_path / "b", shape=TableNetwork(family="mlp", layers=2, width=16))
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"5 of 6 weights are missing or of another shape than config\.json says"):
        load_predictor(folder)
