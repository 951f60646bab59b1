"""Pixels of pictures from outside: the same on one thread or many, and a reason where there are none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelmill.pictures import pixels
from modelmill.pictures.decode import decode, mode_of, quiet
from modelmill.pictures.faults import Fault
from modelmill.pictures.pixels import pixels_of
from modelmill.pictures.shape import PixelShape
from tests import pictures

SHAPE = PixelShape(size=12, channels=3, resize="crop", gray=False)
FILES = [
    pictures.encoded(np.random.default_rng(seed).integers(0, 256, (20 + seed, 31 - seed, 3), dtype=np.uint8))
    for seed in range(11)
]


def test_many_threads_make_what_one_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = pixels_of(FILES, SHAPE)
    monkeypatch.setattr(pixels, "_SHARED_BYTES", 0)
    for cores in (2, 3, 20):
        monkeypatch.setattr(pixels, "usable_cores", lambda cores=cores: cores)
        shared = pixels_of(FILES, SHAPE)
        assert isinstance(alone, np.ndarray)
        assert isinstance(shared, np.ndarray)
        assert np.array_equal(alone, shared)


@pytest.mark.parametrize("shared", [0, 1 << 30])
def test_of_several_faults_the_first_is_told(monkeypatch: pytest.MonkeyPatch, shared: int) -> None:
    monkeypatch.setattr(pixels, "_SHARED_BYTES", shared)
    monkeypatch.setattr(pixels, "usable_cores", lambda: 4)
    files = [*FILES[:3], b"", *FILES[4:9], b"x", FILES[10]]
    assert pixels_of(files, SHAPE) == (3, Fault("not_an_image", "0 bytes"))


@given(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"]), st.integers(0, 2**32), st.integers(1, 40))
def test_damaged_files_give_a_reason_or_a_picture_and_never_an_error(kind: str, seed: int, changes: int) -> None:
    chance = np.random.default_rng(seed)
    data = bytearray(pictures.encoded(chance.integers(0, 256, (9, 7, 3), dtype=np.uint8), kind))
    for place in chance.integers(0, len(data), changes):
        data[place] = chance.integers(256)
    with quiet():
        for damaged in (bytes(data), bytes(data[: len(data) // 2])):
            found = decode(damaged, most_pixels=1000)
            assert isinstance(found, Fault) or found.mode in ("L", "RGB")
            assert isinstance(mode_of(damaged), str)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_more_pixels_than_are_wanted_are_not_decoded(kind: str) -> None:
    data = pictures.encoded(np.zeros((30, 40, 3), dtype=np.uint8), kind)
    with quiet():
        found = decode(data, most_pixels=1199)
        assert found == Fault("too_large", "40 x 30 pixels are 1200, at most 1199 are decoded")
        assert not isinstance(decode(data, most_pixels=1200), Fault)
