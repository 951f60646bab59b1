"""Exporting and quantising from the command line: which rows a model is tried with, and what is told."""

import json
from pathlib import Path

import pytest

from modelmill.models.folder import save_model
from modelmill.models.interface import interface
from modelmill.scoring.golden import Wanted, golden_rows
from modelmill.store import open_store
from tests import answering, pictures
from tests.commands import modelmill


@pytest.fixture(scope="module")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a store in it, and the address of a model that learned from pictures of the store."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "model").mkdir()
    store = open_store(str(folder / ".modelmill" / "store"))
    raw, made = pictures.labelled_pixels(store, folder)
    model = answering.image_model(folder / "model")
    facts = json.loads((model / "modelmill.json").read_text())
    assert raw.startswith("datasets/")
    return folder, save_model(store, model, {**facts, "lineage": {"labelled": made.labelled}})


def test_a_model_is_tried_with_test_rows_of_the_dataset_that_it_learned_from(image_model: tuple[Path, str]) -> None:
    folder, address = image_model
    done = modelmill("models", "quantize", address, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["measured_on"].startswith("test split of datasets/")
    assert report["rows"] == pictures.SIZES["test"]
    assert set(report["metrics"]) == {"before", "after"}
    assert report["lost"]["metric"] == "accuracy"
    (folder / "one.png").write_bytes(pictures.encoded(pictures.halves(1)[0][0]))
    answered = modelmill("predict", report["quantized"], "one.png", "--json", cwd=folder)
    assert answered.returncode == 0, answered.stderr
    text = modelmill("models", "quantize", address, "--output", "int8", cwd=folder)
    assert "linear layers in int8" in text.stdout, text.stderr
    assert (folder / "int8" / "model.int8.safetensors").is_file()
    exported = modelmill("models", "export", address, "graph", "--format", "torchscript", "--json", cwd=folder)
    assert exported.returncode == 0, exported.stderr
    told = json.loads(exported.stdout)
    assert told["rows"].startswith("test split of datasets/")
    assert told["parity"]["rows"] == pictures.SIZES["test"]
    assert (folder / "graph" / "model.pt").is_file()


def test_rows_of_a_file_are_read_with_their_truth(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    model = answering.text_model(tmp_path / "model")
    facts = json.loads((model / "modelmill.json").read_text())
    (tmp_path / "rows.csv").write_text("review,mood\na fine film,good\ndull,bad\nweak,bad\n")
    store = open_store(str(tmp_path / "store"))
    wanted = Wanted(rows=str(tmp_path / "rows.csv"), columns={"text": "review"}, label="mood", most=2, truth=True)
    golden = golden_rows(wanted, store, model, facts, interface(facts))
    assert golden.inputs == ["a fine film", "dull"]
    assert golden.truth_N is not None
    assert golden.truth_N.tolist() == [2, 0]
    done = modelmill(
        "models", "quantize", "model", "--rows", "rows.csv", "--column", "text=review", "--label", "mood", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "on 3 rows" in done.stdout


@pytest.mark.slow
def test_rows_that_cannot_be_had_are_told_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    answering.text_model(tmp_path / "model")
    (tmp_path / "rows.csv").write_text("text,mood\na fine film,goood\n")
    (tmp_path / "empty.csv").write_text("text,mood\n,good\n")
    for arguments, message in (
        (["quantize", "model"], "give --rows FILE and --label COLUMN"),
        (["quantize", "model", "--rows", "rows.csv"], "--label (left out): no such column"),
        (
            ["quantize", "model", "--rows", "rows.csv", "--label", "mood"],
            "'goood' is none of the 3 labels; did you mean",
        ),
        (["quantize", "model", "--rows", "empty.csv", "--label", "mood"], "empty.csv, row 2: no 'text'"),
        (["export", "model", "out"], "0 rows to try the model with"),
        (["export", "model", "out", "--rows", "rows.csv", "--format", "tflite"], "there are onnx and torchscript"),
    ):
        done = modelmill("models", *arguments, cwd=tmp_path)
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
        assert "Traceback" not in done.stderr
