"""Weights of pixels drawn over the picture that they are of."""

# H rows, W columns, C channels

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from modelmill.pictures.pixels import Pixels

FOR, AGAINST = (37, 99, 235), (234, 88, 12)
"""Blue and orange, which are told apart by those who take red for green."""
_SIDE = 160
# The picture stays visible below, and pale enough for colours to stand out.
_PALE = 0.55
# A few extreme pixels would leave the others without colour.
_FULL_SHARE = 99


def data_uri(pixels: Pixels) -> str:
    """Return pixels [H, W, C], of one channel or three, as a PNG of at most 160 a side, as a `data:` URI."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def overlay(pixels: Pixels, weights_HW: npt.NDArray[np.float64]) -> Pixels:
    """Return the picture in pale grey under its weights, [H, W, 3]: blue above 0, orange below, by their size."""
    grey_HW1 = _PALE * pixels.mean(axis=2, keepdims=True) + (1 - _PALE) * 127
    strength_HW = np.abs(weights_HW)
    full = float(np.percentile(strength_HW, _FULL_SHARE)) or float(strength_HW.max()) or 1.0
    share_HW1 = np.clip(strength_HW / full, 0, 1)[:, :, None]
    colour_HW3 = np.where(weights_HW[:, :, None] > 0, FOR, AGAINST)
    drawn: Pixels = np.rint(grey_HW1 * (1 - share_HW1) + colour_HW3 * share_HW1).astype(np.uint8)
    return drawn
