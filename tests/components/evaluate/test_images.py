"""A model of pictures is measured from their files, and its worst mistakes are shown."""

import io
import json
from base64 import b64decode
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from components.evaluate.run import run
from components.evaluate.settings import EvaluateSettings
from components.finetune.run import run as finetune
from components.finetune.settings import FinetuneSettings
from modelmill.dataset import open_dataset
from modelmill.errors import UserError
from modelmill.evaluation.document import Report
from modelmill.models.architecture import ImageNetwork
from modelmill.models.folder import fetch_model, read_files
from modelmill.models.predict import load_predictor
from modelmill.store import open_store
from tests import pictures, samples


def test_the_worst_mistakes_are_shown_as_pictures_beside_the_majority_class(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    labelled, made = pictures.labelled_pixels(store, tmp_path)
    told = FinetuneSettings(
        task=pictures.TASK, model=ImageNetwork(family="lenet"), epochs=1, lr=1e-9, precision="fp32", batch_rows=16
    )
    model = finetune(samples.step_of(store, tmp_path), told, made.labelled, "", "").model
    evaluated = run(samples.step_of(store, tmp_path), EvaluateSettings(task=pictures.TASK), model, labelled)
    files, _ = read_files(store, evaluated.report)
    report = Report.read(files["report.json"])
    assert report.metrics.keys() == {"test", "majority"}
    assert report.test_rows == 30

    table = pq.read_table(pa.BufferReader(files["predictions.parquet"]))
    folder = tmp_path / "served"
    fetch_model(store, model, folder)
    test = open_dataset(store, labelled).table("test")
    served = load_predictor(folder).predict(test["image"].to_pylist())
    assert np.array(table["probability"].to_pylist()) == pytest.approx(served, abs=1e-6)

    assert report.examples
    page = files["report.html"].decode()
    known = dict(zip(test["id"].to_pylist(), test["image"].to_pylist(), strict=True))
    for one in report.examples:
        with Image.open(io.BytesIO(b64decode(one.picture.partition(",")[2]))) as shown:
            assert np.array_equal(np.asarray(shown), np.asarray(Image.open(io.BytesIO(known[one.id]))))
        assert one.text == "16 x 16 pixels"
        assert page.count(f'src="{one.picture}"') == 1
    assert page.count("<img") == len(report.examples)


def test_a_damaged_test_picture_is_told(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    rows = pictures.halves(8)
    damaged = pictures.encoded(rows[0][0])[:-30]
    labelled = pictures.write(store, {"train": rows, "test": [*rows, (damaged, 0)]})
    folder = tmp_path / "model"
    from modelmill.models.folder import save_model
    from modelmill.pictures.shape import PixelShape
    from tests.modelmill.models.test_image_predictor import predictor_for

    predictor_for(folder, PixelShape(size=16, channels=1, resize="crop", gray=True))
    facts = json.loads((folder / "modelmill.json").read_text())
    model = save_model(store, folder, facts)
    with pytest.raises(UserError, match=r"picture \d of 9: .*PNG of \d+ bytes"):
        run(samples.step_of(store, tmp_path), EvaluateSettings(task=pictures.TASK), model, labelled)
