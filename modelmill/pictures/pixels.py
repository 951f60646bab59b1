"""From pictures to the square arrays of pixels that a network looks at: one way for preprocessing and for serving.

What is done is said by `PixelShape`, which preprocessing finds out, the dataset carries and the model keeps.
"""

# N pictures, H rows, W columns, C channels

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from PIL import Image

from modelmill.cores import usable_cores
from modelmill.pictures.decode import decode, quiet
from modelmill.pictures.faults import Fault
from modelmill.pictures.shape import PixelShape

Pixels = npt.NDArray[np.uint8]
MODES = {1: "L", 3: "RGB"}
"""Pillow's name of so many channels."""
# Fewer bytes are decoded sooner than they are handed to another thread.
_SHARED_BYTES = 1 << 20


def pixels_of(pictures: Sequence[bytes], shape: PixelShape) -> Pixels | tuple[int, Fault]:
    """Return the pixels of pictures as they come from outside, [N, H, W, C]; or the first that is none, and why."""
    made_NHWC = np.empty((len(pictures), shape.size, shape.size, shape.channels), dtype=np.uint8)

    def fill(rows: range) -> tuple[int, Fault] | None:
        for row in rows:
            found = _pixels(pictures[row], shape)
            if isinstance(found, Fault):
                return row, found
            made_NHWC[row] = found
        return None

    with quiet():
        faults = _share(fill, len(pictures), sum(map(len, pictures)))
    return min(faults, key=lambda one: one[0]) if faults else made_NHWC


def _share(fill: Callable[[range], tuple[int, Fault] | None], rows: int, size: int) -> list[tuple[int, Fault]]:
    """Give the rows to all cores, which Pillow's decoders can use at once, where there is enough to do."""
    parts = min(usable_cores(), rows) if size > _SHARED_BYTES else 1
    if parts == 1:
        found = [fill(range(rows))]
    else:
        ends = [rows * part // parts for part in range(parts + 1)]
        with ThreadPoolExecutor(parts) as pool:
            found = list(pool.map(fill, map(range, ends, ends[1:])))
    return [fault for fault in found if fault is not None]


def _pixels(data: bytes, shape: PixelShape) -> Pixels | Fault:
    """Return one picture's pixels, [H, W, C]."""
    image = decode(data)
    if isinstance(image, Fault):
        return image
    if shape.gray and image.mode != "L":
        image = image.convert("L")
    if image.mode != MODES[shape.channels]:
        image = image.convert(MODES[shape.channels])
    made: Pixels = np.asarray(_resized(image, shape)).reshape(shape.size, shape.size, shape.channels)
    return made


def _resized(image: Image.Image, shape: PixelShape) -> Image.Image:
    """Return a square picture; Pillow's bilinear filter widens with the factor, so that nothing is skipped."""
    side, (width, height) = shape.size, image.size
    if (width, height) == (side, side):
        return image
    if shape.resize == "stretch":
        return image.resize((side, side), Image.Resampling.BILINEAR)
    if shape.resize == "crop":
        cut = min(width, height)
        left, top = (width - cut) / 2, (height - cut) / 2
        return image.resize((side, side), Image.Resampling.BILINEAR, box=(left, top, left + cut, top + cut))
    longest = max(width, height)
    fitted = max(1, round(width * side / longest)), max(1, round(height * side / longest))
    whole = Image.new(image.mode, (side, side))
    whole.paste(image.resize(fitted, Image.Resampling.BILINEAR), ((side - fitted[0]) // 2, (side - fitted[1]) // 2))
    return whole
