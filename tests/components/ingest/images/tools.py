"""Small pictures and archives, and ways to read them in a test."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from components.ingest.images import near
from components.ingest.images.decode import Looked, look
from components.ingest.images.pictures import Pictures
from components.ingest.images.settings import Images
from components.ingest.rows import Opened
from components.ingest.source_settings import Source
from modelmill.ledger import Rejected
from modelmill.pictures.faults import Fault
from modelmill.sources import list_files, open_raw


def photo(width: int = 96, height: int = 80, seed: int = 0) -> Image.Image:
    """Return an RGB picture with edges, smooth parts and a top that is brighter than its bottom."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int32)
    smooth[: height // 4, : width // 3] += 60
    smooth[height // 2 :: 5] -= 40
    return Image.fromarray(smooth.clip(0, 255).astype(np.uint8))


def digit(seed: int = 0, side: int = 28) -> npt.NDArray[np.uint8]:
    """Return a gray picture as small as a digit, with a light blot on black."""
    random = np.random.default_rng(seed)
    pixels = np.zeros((side, side), dtype=np.uint8)
    pixels[8:20, 10:18] = random.integers(60, 256, (12, 8))
    return pixels


def near_pairs(hash_N: near.Hashes, distance: int, wanted_N: near.Booleans | None = None) -> near.Integers:
    """Return all pairs [P, 2] that are linked."""
    links = list(near.near_links(hash_N, distance, wanted_N))
    return np.concatenate([np.zeros((0, 2), dtype=np.int64), *links])


def packed(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(data: bytes) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def seen(data: bytes, **settings: Any) -> Looked:
    """Look at a picture that is right."""
    looked = look(data, Images.model_validate(settings))
    assert isinstance(looked, Looked), looked
    return looked


def fault(data: bytes, **settings: Any) -> Fault:
    """Look at a picture that is wrong."""
    looked = look(data, Images.model_validate(settings))
    assert isinstance(looked, Fault), looked
    return looked


def opened(path: Path, **settings: Any) -> Opened:
    source = Source.model_validate({"uri": str(path), "format": "csv", **settings})
    (file,) = list_files(source.uri)
    return Opened(file=file, source=source, raw=open_raw(file), labelled=True, scratch=path.parent)


def read(
    reader: Callable[..., Iterator[Pictures]], path: Path, *arguments: Any, **settings: Any
) -> tuple[list[tuple[int, str, bytes, Any]], list[Rejected]]:
    """Return a file's pictures as (number, name, bytes, label), and those that could not be taken."""
    one = opened(path, **settings)
    batches = list(reader(one, *arguments))
    one.raw.finish()
    one.raw.close()
    return flat(batches)


def flat(batches: list[Pictures]) -> tuple[list[tuple[int, str, bytes, Any]], list[Rejected]]:
    rows = [row for each in batches for row in zip(each.numbers, each.names, each.data, each.labels, strict=True)]
    return rows, [row for each in batches for row in each.bad]


def reasons(bad: list[Rejected]) -> list[tuple[int, str]]:
    return [(row.row, row.reason) for row in bad]
