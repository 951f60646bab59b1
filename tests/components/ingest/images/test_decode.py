import io
import random
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from components.ingest.images import png
from components.ingest.images.decode import Looked, look
from components.ingest.images.settings import Images
from modelmill.pictures.faults import Fault
from tests.components.ingest.images.tools import digit, fault, packed, photo, pixels, seen


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(width: int, height: int, packed_pixels: bytes, depth: int = 8, colour: int = 0, extra: bytes = b"") -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return png.SIGNATURE + head + extra + chunk(b"IDAT", packed_pixels) + chunk(b"IEND", b"")


GRAY = photo().convert("L")


@pytest.mark.parametrize(
    ("image", "kind", "options"),
    [
        (GRAY, "PNG", {}),
        (photo(), "PNG", {}),
        (photo(300, 200), "PNG", {"compress_level": 1}),
        (GRAY, "JPEG", {}),
        (photo(), "JPEG", {"progressive": True}),
        (photo(), "WEBP", {"lossless": True}),
        (photo(), "WEBP", {"quality": 50}),
    ],
)
def test_a_gray_or_rgb_picture_stays_as_it_is(image: Image.Image, kind: str, options: dict[str, object]) -> None:
    data = packed(image, kind, **options)

    looked = seen(data)

    assert looked.data is data
    assert (looked.width, looked.height, looked.mode, looked.animated) == (*image.size, image.mode, False)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_equal_pixels_have_the_same_id_in_every_format(kind: str) -> None:
    looked = seen(packed(photo(), kind))

    assert looked.id == seen(packed(photo(), "PNG", compress_level=0)).id
    assert np.array_equal(pixels(looked.data), np.asarray(photo()))
    assert looked.id != seen(packed(photo(seed=1), kind)).id


def test_pixels_in_another_shape_have_another_id() -> None:
    flat = Image.new("L", (20, 10), 7)

    assert (
        len({seen(packed(each, "PNG")).id for each in (flat, flat.rotate(90, expand=True), flat.convert("RGB"))}) == 3
    )


@pytest.mark.parametrize(("orientation", "turn"), [(3, 180), (6, 270), (8, 90)])
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_a_picture_turned_by_exif_comes_out_upright(kind: str, orientation: int, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation

    looked = seen(packed(photo(), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {})))

    assert np.array_equal(pixels(looked.data), np.asarray(photo().rotate(turn, expand=True)))


def test_a_jpeg_turned_by_exif_comes_out_upright_and_without_further_loss() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = packed(photo(), "JPEG", exif=exif)

    looked = seen(data)

    assert (looked.width, looked.height) == (80, 96)
    assert np.array_equal(pixels(looked.data), np.rot90(pixels(data), 3))
    assert seen(looked.data).data == looked.data


def test_a_broken_exif_does_not_cost_the_picture() -> None:
    data = packed(photo(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f broken")

    assert seen(data).data == data


def test_cmyk_becomes_rgb() -> None:
    looked = seen(packed(photo().convert("CMYK"), "JPEG", quality=100))

    assert looked.mode == "RGB"
    assert np.abs(pixels(looked.data).astype(int) - np.asarray(photo())).mean() < 5


def test_transparency_is_laid_on_white() -> None:
    image = photo().convert("RGBA")
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (0, 0, 10, 10))
    image.putalpha(alpha)

    result = pixels(seen(packed(image, "PNG")).data)

    assert (result[:10, :10] == 255).all()
    assert np.array_equal(result[10:], np.asarray(photo())[10:])


def test_a_palette_becomes_rgb_and_its_transparent_colour_white() -> None:
    image = Image.new("P", (16, 16), 1)
    image.putpalette([0, 0, 0, 200, 10, 10, 10, 200, 10])
    image.paste(2, (0, 0, 4, 4))

    assert pixels(seen(packed(image, "PNG")).data)[0, 0].tolist() == [10, 200, 10]
    transparent = pixels(seen(packed(image, "PNG", transparency=2)).data)
    assert (transparent[0, 0].tolist(), transparent[9, 9].tolist()) == ([255, 255, 255], [200, 10, 10])


def test_a_palette_of_grays_becomes_gray() -> None:
    looked = seen(packed(GRAY.convert("P"), "PNG"))

    assert looked.mode == "L"
    assert np.array_equal(pixels(looked.data), np.asarray(GRAY))


def test_gray_with_a_transparent_level_becomes_gray_on_white() -> None:
    result = seen(packed(Image.fromarray(digit()), "PNG", transparency=0))

    assert result.mode == "L"
    assert np.array_equal(pixels(result.data), np.where(digit() == 0, 255, digit()))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bits_are_scaled_to_8(kind: str) -> None:
    values = np.linspace(0, 65_535, 400).astype(np.uint16).reshape(20, 20)

    looked = seen(packed(Image.fromarray(values), kind))

    assert looked.mode == "L"
    assert np.array_equal(pixels(looked.data), np.rint(values / 257).astype(np.uint8))


def test_a_transparent_level_of_16_bits_becomes_white() -> None:
    rows = b"".join(b"\0" + struct.pack(">2H", 0, 0x8000) for _ in range(2))
    data = png_of(2, 2, zlib.compress(rows), depth=16, extra=chunk(b"tRNS", struct.pack(">H", 0x8000)))

    assert pixels(seen(data).data).tolist() == [[0, 255], [0, 255]]


def test_16_bits_a_channel_of_rgb_become_8() -> None:
    rows = b"".join(b"\0" + struct.pack(">6H", 0x1234, 0xFF00, 0, 0xFFFF, 0x8000, 0x0100) for _ in range(2))

    looked = seen(png_of(2, 2, zlib.compress(rows), depth=16, colour=2))

    assert pixels(looked.data)[0].tolist() == [[0x12, 0xFF, 0], [0xFF, 0x80, 1]]


def test_1_bit_becomes_gray() -> None:
    image = Image.fromarray(digit()).point(lambda level: 255 if level else 0).convert("1")

    looked = seen(packed(image, "PNG"))

    assert (looked.mode, sorted(set(pixels(looked.data).ravel().tolist()))) == ("L", [0, 255])


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_picture_is_taken_and_flagged(kind: str) -> None:
    frames = [photo(seed=seed).quantize(32).convert("RGB") for seed in range(3)]
    options = {"lossless": True} if kind == "WEBP" else {}

    looked = seen(packed(frames[0], kind, save_all=True, append_images=frames[1:], **options))

    assert looked.animated
    assert looked.data.startswith(png.SIGNATURE)
    assert np.array_equal(pixels(looked.data), np.asarray(frames[0]))


def test_floating_point_pixels_have_no_known_range() -> None:
    data = packed(Image.fromarray(np.ones((8, 8), dtype=np.float32)), "TIFF")

    assert fault(data) == ("unsupported_image", "TIFF: pixels of kind 'F', whose range is not known")


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_all_pictures_get_the_mode_that_is_asked_for(mode: str) -> None:
    for data in (packed(photo(), "JPEG"), packed(GRAY, "PNG")):
        looked = seen(data, mode=mode)
        assert (looked.mode, Image.open(io.BytesIO(looked.data)).mode) == (mode, mode)


HOSTILE = [
    ("an empty file", b"", "not_an_image", "0 bytes"),
    ("a text called .jpg", b"this is no picture", "not_an_image", "18 bytes, beginning with b'this is '"),
    ("NUL bytes", b"\0" * 1000, "not_an_image", "1000 bytes"),
    ("text that begins like a bitmap", b"BM is short for bitmap, which this is not", "not_an_image", "41 bytes"),
    ("SVG", b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "unsupported_image", "SVG; PNG, JPEG"),
    ("AVIF", b"\0\0\0\x20ftypavif\0\0\0\0", "unsupported_image", "AVIF"),
    ("a PNG's signature", png.SIGNATURE, "truncated_image", "PNG of 8 bytes"),
    ("a JPEG's signature", b"\xff\xd8\xff\xe0", "broken_image", "JPEG of 4 bytes"),
    ("a JPEG cut in half", packed(photo(), "JPEG")[:1200], "truncated_image", "JPEG of 1200 bytes"),
    ("a PNG cut in half", packed(photo(), "PNG")[:1000], "truncated_image", "ends at byte"),
    ("a PNG without its end", packed(photo(), "PNG")[:-12], "truncated_image", "without its last chunk"),
    ("a GIF cut in half", packed(photo(), "GIF")[:2000], "truncated_image", "GIF of 2000 bytes"),
    ("a WebP cut in half", packed(photo(), "WEBP")[:300], "truncated_image", "WEBP of 300 bytes"),
    ("a TIFF cut in half", packed(photo(), "TIFF")[:9000], "truncated_image", "TIFF of 9000 bytes"),
    ("a bitmap cut in half", packed(photo(), "BMP")[:9000], "truncated_image", "BMP of 9000 bytes"),
    ("a PNG with too few rows", png_of(4, 4, zlib.compress(b"\0" * 15)), "broken_image", "15 bytes of pixels, 20"),
    ("a PNG with too many", png_of(4, 4, zlib.compress(b"\0" * 25)), "broken_image", "21 bytes of pixels, 20"),
    ("a PNG cut in its stream", png_of(4, 4, zlib.compress(b"\0" * 20)[:-5]), "truncated_image", "20 expected"),
    ("a PNG with an odd filter", png_of(4, 4, zlib.compress(b"\7" * 20)), "broken_image", "PNG: "),
    ("a PNG of noise", png_of(4, 4, b"no zlib stream"), "broken_image", "incorrect header check"),
    ("a PNG without pixels", png_of(0, 4, zlib.compress(b"")), "too_small", "0 x 4 pixels, min_side is 1"),
]


@pytest.mark.parametrize(
    ("data", "reason", "detail"), [each[1:] for each in HOSTILE], ids=[each[0] for each in HOSTILE]
)
def test_what_cannot_be_used_is_told_with_its_reason(data: bytes, reason: str, detail: str) -> None:
    found = fault(data)

    assert found.reason == reason, found
    assert detail in found.detail


@pytest.mark.parametrize("image", [GRAY, photo().convert("P")], ids=["plain", "palette"])
def test_a_png_with_a_wrong_checksum_is_broken(image: Image.Image) -> None:
    data = bytearray(packed(image, "PNG"))
    data[data.find(b"IDAT") + 20] ^= 1

    found = fault(bytes(data))

    assert found.reason == "broken_image"
    assert "PNG chunk b'IDAT' at byte" in found.detail


def test_damage_to_what_does_not_show_costs_nothing() -> None:
    damaged = chunk(b"tEXt", b"Comment\0hello")[:-1] + b"\0"
    data = png_of(4, 4, zlib.compress(b"\0" * 20), extra=damaged)

    assert seen(data).data == data


BOMBS = [
    png_of(100_000, 100_000, zlib.compress(b"\0" * 1000)),
    png_of(100_000, 100_000, zlib.compress(b"\0" * 1000), colour=6),
    b"GIF89a"
    + struct.pack("<HH3x", 65_535, 65_535)
    + b","
    + struct.pack("<4HB", 0, 0, 65_535, 65_535, 0)
    + b"\x08\1\0\0;",
    b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + (16_382).to_bytes(3, "little") * 2 + bytes(8),
    b"P5 100000 100000 255\n" + bytes(100),
    b"BM" + bytes(8) + b"\x36\0\0\0\x28\0\0\0" + struct.pack("<iiHHIIiiII", 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0),
]


@pytest.mark.parametrize("data", BOMBS, ids=["PNG", "PNG with alpha", "GIF", "WebP", "PGM", "BMP"])
def test_a_picture_that_would_fill_the_memory_is_refused_by_its_header(data: bytes) -> None:
    start = time.perf_counter()

    found = fault(data, max_side=1_000_000)

    assert time.perf_counter() - start < 0.1
    assert found.reason == "too_large"
    assert "max_pixels is 50000000" in found.detail


@pytest.mark.parametrize(
    ("settings", "reason", "detail"),
    [
        ({"max_pixels": 7679}, "too_large", "96 x 80 pixels are 7680, max_pixels is 7679"),
        ({"max_side": 95}, "too_large", "96 x 80 pixels, max_side is 95"),
        ({"min_side": 81}, "too_small", "96 x 80 pixels, min_side is 81"),
        ({"max_aspect": 1.1}, "aspect", "96 x 80 pixels are 1.2 to 1, max_aspect is 1.1"),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_limits_of_size_are_told_with_both_numbers(
    settings: dict[str, float], reason: str, detail: str, check: bool
) -> None:
    for kind in ("PNG", "JPEG", "GIF"):
        assert fault(packed(photo(), kind), check=check, **settings) == (reason, detail)


def test_without_checks_a_plain_picture_is_not_decoded_and_is_named_by_its_bytes() -> None:
    for kind in ("PNG", "JPEG"):
        data = packed(photo(), kind)
        looked, cut = seen(data, check=False), seen(data[:-100], check=False)
        assert (looked.data, looked.width, looked.height, looked.mode) == (data, 96, 80, "RGB")
        assert looked.id != cut.id
        assert looked.gray == b""


def test_without_checks_what_must_change_still_does() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6

    assert seen(packed(photo(), "JPEG", exif=exif), check=False).width == 80
    assert seen(packed(photo().convert("CMYK"), "JPEG"), check=False).mode == "RGB"
    assert seen(packed(photo().convert("RGBA"), "PNG"), check=False).mode == "RGB"
    assert seen(packed(GRAY, "PNG"), check=False, mode="RGB").mode == "RGB"
    assert fault(packed(GRAY, "BMP")[:-100], check=False).reason == "truncated_image"


WHOLE = [packed(photo(40, 30), kind) for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "PPM", "TIFF")]
WHOLE += [packed(photo(40, 30).convert("P"), "PNG"), packed(photo(40, 30), "TIFF", compression="tiff_lzw")]


@given(st.sampled_from(WHOLE), st.integers(0, 2**32))
def test_whatever_the_damage_nothing_is_raised(data: bytes, seed: int) -> None:
    numbers = random.Random(seed)
    damaged = bytearray(data[: numbers.randrange(len(data) + 1)] if seed % 2 else data)
    for _ in range(numbers.randrange(4) if damaged else 0):
        damaged[numbers.randrange(len(damaged))] = numbers.randrange(256)

    looked = look(bytes(damaged), Images(max_pixels=100_000))

    assert isinstance(looked, Looked | Fault)


def test_truncated_pictures_are_never_filled_up() -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
