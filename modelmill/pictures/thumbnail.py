"""A picture small enough to be put into a page as it is."""

import base64
import io

from PIL import Image

from modelmill.pictures.decode import decode, quiet
from modelmill.pictures.faults import Fault

_SIDE = 160


def thumbnail(data: bytes) -> str:
    """Return a picture's bytes as a PNG of at most 160 pixels a side, as a `data:` URI; '' where it is none."""
    with quiet():
        image = decode(data)
        if isinstance(image, Fault):
            return ""
        image.thumbnail((_SIDE, _SIDE), Image.Resampling.BILINEAR)
        file = io.BytesIO()
        image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
