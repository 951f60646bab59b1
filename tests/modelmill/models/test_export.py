"""Models as one graph: the same answers as the model's own, whatever the batch, or a refusal with the reason."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modelmill.errors import ModelmillError, UserError
from modelmill.models.export import TOLERANCE, export, graph_of
from modelmill.models.predict import load_predictor
from tests import answering, pictures, samples, tables

ONNX = pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="needs modelmill[onnx]")
FORMATS = [pytest.param("onnx", marks=ONNX), "torchscript"]
TEXTS = [text for text, _ in samples.reviews(30, seed=9)]


def _rows(name: str) -> list[Any]:
    if name == "text":
        return TEXTS
    if name == "image":
        return [pictures.encoded(pixels) for pixels, _ in pictures.halves(9)]
    return [{column: row[column] for column in tables.HOUSES} for row in tables.houses(12, seed=4)]


def _answers(folder: Path, told: dict[str, Any], arrays: list[Any]) -> Any:
    if told["format"] == "torchscript":
        with torch.inference_mode():
            graph = torch.jit.load(str(folder / told["file"]))  # type: ignore[no-untyped-call]
            return graph(*map(torch.from_numpy, arrays)).numpy()
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / told["file"]), providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(told["inputs"], arrays, strict=True)))[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ["text", "image", "table"])
def test_a_graph_answers_batches_of_any_size_as_the_model_does(tmp_path: Path, name: str, form: str) -> None:
    made = tmp_path / "model"
    made.mkdir()
    folder = getattr(answering, f"{name}_model")(made)
    predictor = load_predictor(folder)
    rows = _rows(name)
    told = export(predictor, folder, tmp_path / "out", form, None, rows[:3])
    assert told["parity"]["largest_difference"] <= TOLERANCE
    assert told == json.loads((tmp_path / "out" / "export.json").read_text())
    arrays = graph_of(predictor, told["task"]).arrays
    for batch in (rows[:1], rows[:2], rows):
        wanted = predictor.predict(batch)
        found = _answers(tmp_path / "out", told, arrays(batch))
        np.testing.assert_allclose(found, wanted, rtol=TOLERANCE, atol=TOLERANCE)
    there = {path.name for path in (tmp_path / "out").iterdir()}
    assert "model.safetensors" not in there
    assert {"export.json", "modelmill.json", "config.json"} <= there
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_graph_that_answers_otherwise_is_not_kept(tmp_path: Path) -> None:
    made = tmp_path / "model"
    made.mkdir()
    folder = answering.table_model(made)
    predictor = load_predictor(folder)

    class Biased:
        model, transforms, labels, target = predictor.model, predictor.transforms, predictor.labels, predictor.target  # type: ignore[attr-defined]

        def predict(self, rows: Any) -> Any:
            return predictor.predict(rows) * 1.01

    from modelmill.models.table_predictor import TablePredictor

    class Both(Biased, TablePredictor):
        def __init__(self) -> None:
            pass

    with pytest.raises(ModelmillError, match="otherwise than the model"):
        export(Both(), folder, tmp_path / "out", "torchscript", None, _rows("table"))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_cannot_be_exported_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="token by token over many passes"):
        graph_of(object(), "sequence-to-sequence")
    made = tmp_path / "model"
    made.mkdir()
    folder = answering.table_model(made)
    predictor = load_predictor(folder)
    for output, form, opset, message in (
        (tmp_path / "out", "tflite", None, "there are onnx and torchscript"),
        (tmp_path / "out", "torchscript", 18, "--opset is for --format onnx"),
        (made, "torchscript", None, "is there already"),
    ):
        with pytest.raises(UserError, match=message):
            export(predictor, folder, output, form, opset, _rows("table"))
    facts = json.loads((made / "modelmill.json").read_text())
    (made / "modelmill.json").write_text(json.dumps({**facts, "quantization": {"scheme": "int8-dynamic"}}))
    with pytest.raises(UserError, match="export the model that it was made from"):
        export(predictor, made, tmp_path / "out", "torchscript", None, _rows("table"))
