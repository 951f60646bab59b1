"""From the bytes of an image file to an upright picture of 8 bits a channel, gray or RGB, safely."""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from modelmill.pictures.convert import orientation, to_8_bits, turn
from modelmill.pictures.faults import Fault
from modelmill.pictures.formats import format_of, webp_size

MOST_PIXELS = 50_000_000
"""Of a picture whose maker is not known: 150 MB once decoded."""

# Parsers are called by themselves: Pillow's own search would try every parser that any library has registered, and its
# limit on the number of pixels comes after the parser has run. Other pictures inside a JPEG (MPO) are left alone.
PARSERS: dict[str, Callable[[io.BytesIO], Image.Image]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
}
"""By format: they read the header alone."""
_CUT_SHORT = ("truncated", "not enough", "end of file", "end of data", "no more data", "buffer is not large enough")
_MESSAGE_CHARS = 200


def decode(data: bytes, most_pixels: int = MOST_PIXELS) -> Image.Image | Fault:
    """Return a picture upright, gray (L) or RGB, or why it cannot be used; whatever the bytes are, nothing is raised.

    Ingest keeps such pictures, or stores what this makes of others: so a picture looks the same to training and, as it
    comes from outside, to a model that is asked. Called inside `quiet()`, which is not for several threads at once.
    """
    kind = format_of(data)
    if isinstance(kind, Fault):
        return kind
    try:
        # WebP's decoder reserves 8 bytes a pixel before it can be asked for the size.
        size = webp_size(data) if kind == "WEBP" else None
        fault = size and _size_fault(*size, most_pixels)
        if fault:
            return fault
        image = PARSERS[kind](io.BytesIO(data))
        fault = _size_fault(*image.size, most_pixels)
        if fault:
            return fault
        image.load()
        # TIFF's parser turns the picture while it loads, and then says so.
        way = orientation(image)
        plain = to_8_bits(image)
        return plain if isinstance(plain, Fault) else turn(plain, way)
    except Exception as error:  # noqa: BLE001 - a decoder that is fed with anything raises anything
        return fault_of(error, kind, len(data))


def mode_of(data: bytes) -> str:
    """Return L or RGB of a picture that ingest has kept, from its header; RGB where the header cannot be read."""
    kind = format_of(data)
    if isinstance(kind, Fault):
        return "RGB"
    try:
        return PARSERS[kind](io.BytesIO(data)).mode
    except Exception:  # noqa: BLE001 - as above; decoding will say what is wrong
        return "RGB"


def fault_of(error: Exception, kind: str, size: int) -> Fault:
    """Return what is wrong with a picture of a kind and a size in bytes, from what its decoder raised."""
    message = f"{kind} of {size} bytes: {str(error)[:_MESSAGE_CHARS] or type(error).__name__}"
    lowered = message.lower()
    if isinstance(error, Image.DecompressionBombError | MemoryError):
        return Fault("too_large", message)
    if isinstance(error, EOFError) or any(words in lowered for words in _CUT_SHORT):
        return Fault("truncated_image", message)
    if isinstance(error, NotImplementedError) or "unsupported" in lowered:
        return Fault("unsupported_image", message)
    return Fault("broken_image", message)


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out Pillow's warnings: what they speak of (a broken EXIF, an odd palette) does not cost the picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _size_fault(width: int, height: int, most_pixels: int) -> Fault | None:
    if width * height <= most_pixels:
        return None
    return Fault("too_large", f"{width} x {height} pixels are {width * height}, at most {most_pixels} are decoded")
