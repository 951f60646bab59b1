"""From whatever a decoder gives to an upright picture of 8 bits a channel, gray (L) or RGB.

- Rotated or mirrored by EXIF: turned upright.
- 1 bit: gray. 16 bits: scaled to 8, 65535 to 255, rounded. More bits, or floats: no known range, not supported.
- Palette: RGB, or gray if all its colours in use are gray.
- Alpha, or a transparent colour: laid on white, as most viewers do.
- CMYK and YCbCr (JPEG's YCCK comes as CMYK): RGB by the plain formula; a colour profile is not applied.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from modelmill.pictures.faults import Fault

# EXIF 3.0, section 4.6.5.1.6: the tag, and what undoes each of its values.
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BECOMES = {"1": "L", "L": "L", "RGB": "RGB", "CMYK": "RGB", "YCbCr": "RGB"}
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_MAY_BE_GRAY = ("1", "L", "LA", "La", "P", "PA")


def turn(image: Image.Image, way: int) -> Image.Image:
    """Return a picture upright, given its orientation; the same object if it is."""
    undo = _UPRIGHT.get(way)
    return image if undo is None else image.transpose(undo)


def orientation(image: Image.Image) -> int:
    """Return the orientation that EXIF gives, 1 where there is none, or where EXIF is broken."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - EXIF that cannot be read says nothing; the picture is none the worse
        return 1


def to_8_bits(image: Image.Image) -> Image.Image | Fault:
    """Return a decoded picture as L or RGB; the same object if it is."""
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format == "PPM"):
        return _from_16_bits(image)
    if mode in _WITH_ALPHA or "transparency" in image.info:
        return _on_white(image)
    if mode == "P":
        return _gray_if_gray(image.convert("RGB"))
    if mode in _BECOMES:
        return image if mode == _BECOMES[mode] else image.convert(_BECOMES[mode])
    return Fault("unsupported_image", f"{image.format}: pixels of kind {mode!r}, whose range is not known")


def _from_16_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.uint32)
    # v * 255 / 65535, rounded.
    scaled = ((values.clip(0, 65_535) + 128) // 257).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        scaled[values == transparent] = 255
    return Image.fromarray(scaled)


def _on_white(image: Image.Image) -> Image.Image:
    mode = image.mode
    if mode in ("La", "RGBa"):
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[mode])
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    flat = Image.alpha_composite(white, layer).convert("RGB")
    return _gray_if_gray(flat) if mode in _MAY_BE_GRAY else flat


def _gray_if_gray(image: Image.Image) -> Image.Image:
    pixels: npt.NDArray[np.uint8] = np.asarray(image)
    red = pixels[:, :, 0]
    if np.array_equal(red, pixels[:, :, 1]) and np.array_equal(red, pixels[:, :, 2]):
        return Image.fromarray(np.ascontiguousarray(red))
    return image
