import io
from base64 import b64decode

import numpy as np
from PIL import Image

from modelmill.pictures.thumbnail import thumbnail
from tests import pictures


def test_a_thumbnail_is_a_small_png_whatever_the_picture_is() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (500, 1000, 3), dtype=np.uint8)
    for kind in ("JPEG", "WEBP", "BMP"):
        head, _, data = thumbnail(pictures.encoded(photo, kind)).partition(",")
        assert head == "data:image/png;base64"
        with Image.open(io.BytesIO(b64decode(data))) as shown:
            assert (shown.format, shown.size) == ("PNG", (160, 80))
    assert thumbnail(b"no picture") == ""
