"""What a model is asked goes through what its training pictures went through, to the bit."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from components.ingest.images.decode import look
from components.ingest.images.settings import Images
from modelmill.dataset import open_dataset
from modelmill.errors import UserError
from modelmill.models import image
from modelmill.models.architecture import ImageNetwork
from modelmill.models.image_config import ImageConfig
from modelmill.models.image_predictor import ImagePredictor
from modelmill.models.predict import load_predictor
from modelmill.pictures.shape import PixelShape
from modelmill.store import open_store
from tests import pictures, samples


def predictor_for(folder: Path, shape: PixelShape) -> ImagePredictor:
    """A model with random weights that looks at such pixels."""
    torch.manual_seed(0)
    values = (0.3,) * shape.channels
    config = ImageConfig(
        network=ImageNetwork(family="lenet"), pixels=shape, mean=values, deviation=values, labels=pictures.LABELS
    )
    image.save(image.ImageModel(config), folder)
    facts = {"task": pictures.TASK, "labels": list(pictures.LABELS)}
    (folder / "modelmill.json").write_text(json.dumps(facts))
    found = load_predictor(folder)
    assert isinstance(found, ImagePredictor)
    return found


def raw_files() -> list[bytes]:
    """Files as they come from outside: turned by EXIF, transparent, with a palette, of 16 bits, gray, of odd sizes."""
    chance = np.random.default_rng(5)
    colour = Image.fromarray(chance.integers(0, 256, (40, 61, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    alpha = colour.copy()
    alpha.putalpha(Image.fromarray(chance.integers(0, 256, (40, 61), dtype=np.uint8)))
    deep = Image.fromarray(chance.integers(0, 65_536, (33, 20), dtype=np.uint16))
    made = [
        (colour, "PNG", {}),
        (colour, "JPEG", {"quality": 80}),
        (colour, "JPEG", {"exif": exif}),
        (alpha, "PNG", {}),
        (colour.quantize(32), "PNG", {}),
        (colour.quantize(32), "GIF", {}),
        (deep, "PNG", {}),
        (colour.convert("L"), "PNG", {}),
        (colour.convert("CMYK"), "JPEG", {}),
        (colour, "BMP", {}),
        (colour, "WEBP", {"quality": 70}),
    ]
    files = []
    for each, kind, options in made:
        file = io.BytesIO()
        each.save(file, kind, **options)  # type: ignore[arg-type]
        files.append(file.getvalue())
    return files


@pytest.mark.parametrize("mode", ["keep", "L", "RGB"])
@pytest.mark.parametrize(("resize", "channels"), [("crop", None), ("stretch", 1), ("pad", 3)])
def test_raw_files_become_the_pixels_that_preprocessing_stored(
    tmp_path: Path, mode: str, resize: str, channels: int | None
) -> None:
    files = raw_files()
    settings = Images.model_validate({"mode": mode})
    kept = [looked.data for looked in (look(data, settings) for data in files) if not isinstance(looked, tuple)]
    assert len(kept) == len(files)
    store = open_store(str(tmp_path / "store"))
    address = pictures.write(store, {"train": [(data, 0) for data in kept]})
    from components.preprocess.run import run
    from components.preprocess.settings import PreprocessSettings

    told = PreprocessSettings.model_validate(
        {"task": pictures.TASK, "images": {"size": 28, "resize": resize, "channels": channels}}
    )
    dataset = open_dataset(store, run(samples.step_of(store, tmp_path), told, "", address, "").labelled)
    shape = PixelShape.model_validate({name: dataset.meta[name] for name in PixelShape.model_fields})
    assert shape.gray == (mode == "L")
    served = predictor_for(tmp_path / "model", shape).pixels(files)
    assert dataset.table("train")["pixels"].to_pylist() == [one.tobytes() for one in served]


SHAPE = PixelShape(size=16, channels=1, resize="crop", gray=True)


def test_answers_are_probabilities_that_do_not_depend_on_the_neighbours(tmp_path: Path) -> None:
    predictor = predictor_for(tmp_path, SHAPE)
    files = [pictures.encoded(pixels) for pixels, _ in pictures.halves(9)]
    whole = predictor.predict(files)
    assert whole.shape == (9, 2)
    np.testing.assert_allclose(whole.sum(axis=1), 1)
    assert np.ptp(whole[:, 0]) > 1e-4
    np.testing.assert_allclose(predictor.predict(files, batch_rows=2), whole, atol=1e-6)
    assert predictor.predict([]).shape == (0, 2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "picture 2 of 2: not_an_image: 0 bytes; send a PNG or a JPEG"),
        (b"a text", "picture 2 of 2: not_an_image: 6 bytes, beginning with b'a text'"),
        (pictures.encoded(np.zeros((64, 64), np.uint8))[:60], "2 of 2: (truncated|broken)_image: PNG of 60 bytes"),
        (pictures.encoded(np.zeros((7100, 7100), np.uint8)), "7100 x 7100 pixels are 50410000, at most 50000000"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_told_with_its_place(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        predictor_for(tmp_path, SHAPE).predict([pictures.encoded(pictures.halves(1)[0][0]), data])


def test_a_folder_of_two_models_is_refused(tmp_path: Path) -> None:
    predictor_for(tmp_path, SHAPE)
    (tmp_path / "modelmill.json").write_text(json.dumps({"task": pictures.TASK, "labels": ["a", "b"]}))
    with pytest.raises(UserError, match=r"config\.json knows 2 labels and modelmill\.json 2, or other ones"):
        load_predictor(tmp_path)
