import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter
from scipy.fft import dct

from components.ingest.images import features
from components.ingest.images.decode import GRAY_SIDE
from components.ingest.images.features import ANIMATED, BLANK, BLURRY, BRIGHT, DARK, measure, perceptual_hash
from components.ingest.images.settings import Images
from tests.components.ingest.images.tools import digit, packed, photo, seen

SETTINGS = Images()


def flags(image: Image.Image, **settings: Any) -> int:
    return int(measure([seen(packed(image, "PNG", compress_level=0))], Images.model_validate(settings)).flags_N[0])


def hash_of(image: Image.Image) -> int:
    return int(measure([seen(packed(image, "PNG", compress_level=0))], SETTINGS).hash_N[0])


def as_imagehash_does(image: Image.Image) -> int:
    small = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS)).astype(float)
    low = dct(dct(small, axis=0), axis=1)[:8, :8]
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


@pytest.mark.parametrize("size", [(28, 28), (32, 32), (96, 80), (200, 31), (256, 256), (900, 600)])
def test_the_hash_is_that_of_imagehash_but_for_rounding(size: tuple[int, int]) -> None:
    for seed in range(10):
        image = photo(*size, seed=seed)
        assert (hash_of(image) ^ as_imagehash_does(image)).bit_count() <= 4


def test_half_of_the_bits_are_set() -> None:
    hashes = perceptual_hash(np.stack([np.asarray(photo(seed=seed).convert("L")) for seed in range(50)]))

    assert set(np.bitwise_count(hashes).tolist()) == {32}


def test_pictures_made_from_one_another_differ_in_few_bits_and_others_in_many() -> None:
    image = photo(400, 300)
    jpeg = Image.open(io.BytesIO(packed(image, "JPEG", quality=40)))
    same = [jpeg, image.resize((200, 150)), image.convert("L"), ImageEnhance.Contrast(image).enhance(0.8)]

    assert max((hash_of(image) ^ hash_of(each)).bit_count() for each in same) <= (SETTINGS.near_duplicates or 0)
    assert min((hash_of(image) ^ hash_of(photo(400, 300, seed))).bit_count() for seed in range(1, 20)) >= 12


def test_measures_do_not_hang_on_the_batch() -> None:
    pictures = [seen(packed(photo(40 + seed % 3, 50, seed), "PNG")) for seed in range(30)]
    together = measure(pictures, SETTINGS)

    for place, picture in enumerate(pictures):
        alone = measure([picture], SETTINGS)
        for name in ("hash_N", "brightness_N", "contrast_N", "sharpness_N", "flags_N"):
            assert getattr(alone, name)[0] == getattr(together, name)[place], name


def test_the_sums_of_a_hash_are_whole_numbers_that_double_precision_holds() -> None:
    largest = 0.0
    for side in range(1, GRAY_SIDE + 1):
        weights = features._frequencies(side)
        assert np.array_equal(weights, np.rint(weights))
        largest = max(largest, np.abs(weights).sum(axis=1).max())

    assert 255 * largest**2 < 2**53


def test_measures_are_those_of_the_textbook() -> None:
    gray = np.asarray(photo().convert("L")).astype(float)
    laplacian = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * gray[1:-1, 1:-1]

    found = measure([seen(packed(photo(), "PNG"))], SETTINGS)

    assert found.brightness_N[0] == pytest.approx(gray.mean())
    assert found.contrast_N[0] == pytest.approx(gray.std())
    assert found.sharpness_N[0] == pytest.approx(laplacian.var())


def test_a_normal_photo_and_a_digit_have_no_flag() -> None:
    assert flags(photo(400, 300)) == 0
    assert flags(Image.fromarray(digit())) == 0


def test_dark_bright_blurry_and_blank_pictures_are_flagged() -> None:
    image = photo(400, 300)
    white = Image.new("RGB", image.size, "white")

    assert flags(ImageEnhance.Brightness(image).enhance(0.15)) & DARK
    assert flags(Image.blend(image, white, 0.95)) & BRIGHT
    assert flags(image.filter(ImageFilter.GaussianBlur(8))) == BLURRY
    assert flags(Image.new("RGB", (50, 50), (120, 10, 10))) == BLANK | DARK
    assert flags(white) == BLANK | BRIGHT


def test_a_picture_without_an_inside_is_never_blurry() -> None:
    assert flags(Image.fromarray(np.array([[0, 255], [255, 0]], dtype=np.uint8))) == 0


def test_an_animation_is_flagged() -> None:
    data = packed(photo(), "GIF", save_all=True, append_images=[photo(seed=1)])

    assert measure([seen(data)], SETTINGS).flags_N[0] & ANIMATED


def test_no_pictures_have_no_measures() -> None:
    assert len(measure([], SETTINGS).hash_N) == 0
