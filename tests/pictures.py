"""Small pictures whose class can be seen, and their datasets, for the tests of the model stages."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from components.preprocess.outputs import PreprocessOutputs
from components.preprocess.run import run as preprocess
from components.preprocess.settings import PreprocessSettings
from modelmill.dataset import DatasetWriter
from modelmill.digest import sha256_hex
from modelmill.settings import Task
from modelmill.store import Store
from tests import samples

LABELS = ("bottom", "top")
TASK: Task = "image-classification"
Picture = npt.NDArray[np.uint8]


def halves(count: int, seed: int = 0, side: int = 16, channels: int = 1) -> list[tuple[Picture, int]]:
    """Return pictures of noise, each with the class that its brighter half gives away."""
    chance = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        label = int(chance.integers(2))
        pixels = chance.integers(0, 120, (side, side, channels), dtype=np.uint8)
        half = slice(0, side // 2) if label else slice(side // 2, side)
        pixels[half] += 100
        made.append((pixels[:, :, 0] if channels == 1 else pixels, label))
    return made


def encoded(pixels: Picture, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def write(
    store: Store,
    splits: Mapping[str, Sequence[tuple[Picture | bytes, int]]],
    labels: Sequence[str] | None = LABELS,
) -> str:
    """Put pictures into the store as ingest does, with labels or as a corpus; return the dataset's address."""
    columns = [("id", pa.string()), ("image", pa.binary()), ("width", pa.int32()), ("height", pa.int32())]
    schema = pa.schema(columns + ([("label", pa.int32())] if labels else []))
    named = {"kind": "labelled-images", "labels": list(labels)} if labels else {"kind": "images"}
    writer = DatasetWriter(store, schema, named)
    for split, pictures in splits.items():
        writer.add(split, pa.Table.from_pylist([_row(*each) for each in pictures], schema=schema))
    return writer.commit().address


def _row(picture: Picture | bytes, label: int) -> dict[str, Any]:
    data = picture if isinstance(picture, bytes) else encoded(picture)
    height, width = (1, 1) if isinstance(picture, bytes) else picture.shape[:2]
    return {"id": sha256_hex(data)[:32], "image": data, "width": width, "height": height, "label": label}


def labelled_pixels(store: Store, folder: Path, channels: int = 1, **images: Any) -> tuple[str, PreprocessOutputs]:
    """Return the address of labelled pictures, 16 pixels a side, and what preprocessing makes of them."""
    address = write(store, {name: halves(rows, seed, 16, channels) for seed, (name, rows) in enumerate(SIZES.items())})
    told = PreprocessSettings.model_validate({"task": TASK, "images": images})
    return address, preprocess(samples.step_of(store, folder, "preprocess"), told, "", address, "")


SIZES = {"train": 90, "validation": 30, "test": 30}
