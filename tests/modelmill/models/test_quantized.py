"""Linear layers in int8: near the weights that they were, alike after saving, independent of the rows beside them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modelmill.errors import UserError
from modelmill.models import quantized
from modelmill.models.folder import read_files, save_model
from modelmill.models.predict import load_predictor
from modelmill.models.quantize import check_task, quantize
from modelmill.scoring.golden import Golden
from modelmill.store import open_store
from tests import answering, pictures, samples, tables


def _golden(name: str, rows: int = 60) -> Golden:
    if name == "text":
        made: list[tuple[Any, Any]] = list(samples.reviews(rows, seed=9))
    elif name == "image":
        made = [(pictures.encoded(pixels), label) for pixels, label in pictures.halves(rows)]
    else:
        houses = tables.houses(rows, seed=4)
        made = [({column: row[column] for column in tables.HOUSES}, row["price"]) for row in houses]
    inputs, truth = zip(*made, strict=True)
    return Golden(source="here", inputs=inputs, truth_N=np.array(truth))


@given(outputs=st.integers(1, 9), inputs=st.integers(1, 40), seed=st.integers(0, 99), scale=st.floats(1e-6, 1e6))
def test_no_weight_moves_by_more_than_half_a_step(outputs: int, inputs: int, seed: int, scale: float) -> None:
    weight_OI = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(seed)) * scale
    narrow_OI, scale_O = quantized.quantized(weight_OI)
    error_OI = (narrow_OI.float() * scale_O[:, None] - weight_OI).abs()
    assert (error_OI <= scale_O[:, None] * 0.5001).all()
    assert narrow_OI.dtype == torch.int8


@given(rows=st.integers(0, 20), seed=st.integers(0, 99))
def test_a_layers_answer_to_a_row_is_near_and_the_same_whatever_is_beside_it(rows: int, seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    weight_OI, bias_O = torch.randn(12, 32, generator=chance), torch.randn(12, generator=chance)
    layer = quantized.Int8Linear(*quantized.quantized(weight_OI), bias_O)
    x_RI = torch.randn(rows, 32, generator=chance) * torch.logspace(-2, 2, max(rows, 1))[:rows, None]
    wanted = torch.nn.functional.linear(x_RI, weight_OI, bias_O)
    found = layer(x_RI)
    assert found.shape == wanted.shape
    size = x_RI.norm(dim=1, keepdim=True) * weight_OI.norm(dim=1)
    assert ((found - wanted).abs() <= 0.02 * size + 1e-5).all()
    for place in range(rows):
        assert torch.equal(layer(x_RI[place : place + 1]), found[place : place + 1])


@pytest.mark.parametrize("name", ["text", "image", "table"])
def test_a_quantised_model_is_smaller_answers_nearly_alike_and_says_what_it_lost(tmp_path: Path, name: str) -> None:
    (tmp_path / "model").mkdir()
    folder = getattr(answering, f"{name}_model")(tmp_path / "model")
    store = open_store(str(tmp_path / "store"))
    save_model(store, folder, {**json.loads((folder / "modelmill.json").read_text())})
    golden = _golden(name)
    report = quantize(store, folder, tmp_path / "int8", golden)
    assert report["bytes"]["after"] < report["bytes"]["before"]
    before, after = load_predictor(folder), load_predictor(tmp_path / "int8")
    layers = [module for module in quantized.network_of(after).modules() if isinstance(module, quantized.Int8Linear)]
    assert len(layers) == report["layers"] > 0
    wanted, found = before.predict(golden.inputs), after.predict(golden.inputs)
    assert 0 < np.abs(wanted - found).max() == pytest.approx(report["lost"]["largest_difference"])
    np.testing.assert_allclose(found, wanted, rtol=0.1, atol=0.1)
    truth_N = golden.truth_N
    assert truth_N is not None
    if name != "table":
        lost = (wanted.argmax(axis=1) == truth_N).mean() - (found.argmax(axis=1) == truth_N).mean()
        assert report["lost"]["value"] == pytest.approx(lost)
        assert report["metrics"]["after"]["accuracy"] == pytest.approx(
            (found.argmax(axis=1) == truth_N).mean(), abs=1e-6
        )
    files, meta = read_files(store, report["report"])
    assert json.loads(files["quantization.json"])["quantized"] == report["quantized"] == meta["model"]
    assert not (tmp_path / "int8" / "model.safetensors").exists()
    names = set(read_files(store, report["quantized"])[0])
    assert "model.int8.safetensors" in names


def test_a_quantised_model_is_not_quantised_again_and_odd_ones_are_told(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    folder = answering.table_model(tmp_path / "model")
    store = open_store(str(tmp_path / "store"))
    quantize(store, folder, tmp_path / "int8", _golden("table"))
    with pytest.raises(UserError, match="name a model that is not quantised"):
        quantize(store, tmp_path / "int8", tmp_path / "again", _golden("table"))
    with pytest.raises(UserError, match="a model for causal-lm is not quantised"):
        check_task("causal-lm")
    facts = json.loads((tmp_path / "int8" / "modelmill.json").read_text())
    facts["quantization"]["scheme"] = "int2"
    (tmp_path / "int8" / "modelmill.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match="'int8-dynamic' is read"):
        load_predictor(tmp_path / "int8")
