"""Looks at one picture: is it one, is it whole, is it of a wanted size; and what it is once upright, gray or RGB."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from PIL import Image

from components.ingest.images import png
from components.ingest.images.settings import Images
from modelmill.pictures.convert import orientation, to_8_bits, turn
from modelmill.pictures.decode import PARSERS, fault_of, quiet
from modelmill.pictures.faults import Fault
from modelmill.pictures.formats import KEPT, format_of, webp_size

ID_BYTES = 16
"""Of the SHA-256 of a picture's pixels: two pictures of 10^9 share an id with a chance of 10^-21."""
GRAY_SIDE = 256
"""Brightness, blur and likeness are measured in gray at no more than this many pixels a side, so that the thresholds
mean the same for pictures of every size."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A picture that can be used: upright, 8 bits a channel, gray or RGB."""

    data: bytes
    """As it was, or as PNG where something had to change."""
    width: int
    """In pixels, as of `height`."""
    height: int
    mode: str
    """L or RGB."""
    id: bytes
    """Of mode, width, height and pixels, so that equal pixels are equal in every file format; of `data` unchecked."""
    animated: bool = False
    """Whether it is the first of several pictures."""
    gray: bytes = b""
    """Gray levels row by row, at no more than GRAY_SIDE pixels a side; empty if nothing was decoded."""
    gray_width: int = 0
    gray_height: int = 0


def look(data: bytes, settings: Images) -> Looked | Fault:
    """Return a picture, or why it cannot be used; whatever the bytes are, nothing is raised."""
    return next(look_all((data,), settings))


def look_all(pictures: Sequence[bytes], settings: Images) -> Iterator[Looked | Fault]:
    """Yield for each picture what `look` returns; with `check` off, what its header says."""
    glance = None if settings.check else _glance
    for data in pictures:
        kind = format_of(data)
        if isinstance(kind, Fault):
            yield kind
            continue
        looked = glance(data, kind, settings) if glance else None
        yield _look(data, kind, settings) if looked is None else looked


def _look(data: bytes, kind: str, settings: Images) -> Looked | Fault:
    if kind != "PNG":
        return _look_with_pillow(data, kind, settings, exact=kind in KEPT)
    head = png.glance(data)
    if isinstance(head, Fault):
        return head
    fault = _size_fault(head.width, head.height, settings)
    if fault is not None:
        return fault
    chunks = png.read(data, head)
    if isinstance(chunks, Fault):
        return chunks
    if not chunks.plain:
        return _look_with_pillow(data, kind, settings, exact=chunks.exact)
    image = png.decode(chunks)
    return image if isinstance(image, Fault) else _finished(data, image, settings, changed=False)


def _look_with_pillow(data: bytes, kind: str, settings: Images, *, exact: bool) -> Looked | Fault:
    """Look at a picture of any kind; `exact` says that its bytes may stay if the decoded picture needs no change."""
    try:
        with quiet():
            image = _opened(data, kind, settings)
            if isinstance(image, Fault):
                return image
            several = bool(getattr(image, "is_animated", False))
            image.load()
            # TIFF's parser turns the picture while it loads, and then says so.
            way = orientation(image)
            plain = to_8_bits(image)
            if isinstance(plain, Fault):
                return plain
            upright = turn(plain, way)
            changed = upright is not image or several or not exact
            return _finished(data, upright, settings, changed=changed, animated=several)
    except Exception as error:  # noqa: BLE001 - a decoder that is fed with anything raises anything
        return fault_of(error, kind, len(data))


def _glance(data: bytes, kind: str, settings: Images) -> Looked | Fault | None:
    """Return what a picture's header says of it; None if it has to be decoded, to be told or to be changed."""
    if kind == "PNG":
        head = png.glance(data)
        if isinstance(head, Fault):
            return head
        width, height, mode = head.width, head.height, head.mode if head.plain else ""
    elif kind == "JPEG":
        try:
            with quiet():
                image = _opened(data, kind, settings)
                if isinstance(image, Fault):
                    return image
                (width, height), mode = image.size, image.mode if orientation(image) == 1 else ""
        except Exception as error:  # noqa: BLE001 - as above
            return fault_of(error, kind, len(data))
    else:
        return None
    fault = _size_fault(width, height, settings)
    if fault is not None or mode not in (("L", "RGB") if settings.mode == "keep" else (settings.mode,)):
        return fault
    return Looked(data, width, height, mode, sha256(data).digest()[:ID_BYTES])


def _finished(data: bytes, image: Image.Image, settings: Images, *, changed: bool, animated: bool = False) -> Looked:
    if settings.mode not in ("keep", image.mode):
        image, changed = image.convert(settings.mode), True
    (width, height), mode = image.size, image.mode
    pixels = image.tobytes()
    if changed:
        data = png.encode(pixels, width, height, mode)
    content = sha256(b"%b %d %d " % (mode.encode(), width, height))
    content.update(pixels)
    longest = max(width, height)
    if longest > GRAY_SIDE:
        image = image.reduce(-(-longest // GRAY_SIDE))
    gray = pixels if image.mode == "L" and longest <= GRAY_SIDE else image.convert("L").tobytes()
    return Looked(data, width, height, mode, content.digest()[:ID_BYTES], animated, gray, *image.size)


def _opened(data: bytes, kind: str, settings: Images) -> Image.Image | Fault:
    """Return a picture of which only the header was read, once its declared size is found right."""
    if kind == "WEBP" and (fault := _webp_fault(data, settings)):
        return fault
    image = PARSERS[kind](io.BytesIO(data))
    return _size_fault(*image.size, settings) or image


def _webp_fault(data: bytes, settings: Images) -> Fault | None:
    # Its decoder reserves 8 bytes a pixel before it can be asked for the size, and does not say what is wrong.
    declared = 8 + int.from_bytes(data[4:8], "little")
    if len(data) < declared:
        return Fault("truncated_image", f"WEBP of {len(data)} bytes, {declared} expected")
    size = webp_size(data)
    return size and _size_fault(*size, settings)


def _size_fault(width: int, height: int, settings: Images) -> Fault | None:
    """Return what is wrong with a size, which is known before anything is decoded."""
    short, long = (width, height) if width < height else (height, width)
    if width * height > settings.max_pixels:
        reason, detail = "too_large", f"pixels are {width * height}, max_pixels is {settings.max_pixels}"
    elif long > settings.max_side:
        reason, detail = "too_large", f"pixels, max_side is {settings.max_side}"
    elif short < settings.min_side:
        reason, detail = "too_small", f"pixels, min_side is {settings.min_side}"
    elif long > settings.max_aspect * short:
        reason, detail = "aspect", f"pixels are {long / short:.1f} to 1, max_aspect is {settings.max_aspect:g}"
    else:
        return None
    return Fault(reason, f"{width} x {height} {detail}")
