"""Pictures and archives made to do harm, or broken: each ends in a counted reason, or in one clear error."""

import gzip
import io
import os
import struct
import tarfile
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from components.ingest.images.png import SIGNATURE
from tests.components.ingest.hostile import Case, Content, Expected, Maker, check, make
from tests.components.ingest.test_pictures import PIXELS, SPLIT, add, as_csv, as_idx, as_webdataset, encoded, folder
from tests.components.ingest.tools import write

# None of the good pictures is like it.
OTHER = encoded(255 - PIXELS[0])


def png_of(width: int, height: int) -> bytes:
    """Return a PNG that says it is of that size, and holds a few bytes of pixels."""
    parts = [SIGNATURE]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(500_000))), (b"IEND", b"")):
        parts += [struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(kind + data))]
    return b"".join(parts)


def half_jpeg() -> bytes:
    data = encoded(np.kron(PIXELS[0], np.ones((8, 8), dtype=np.uint8)), "JPEG")
    return data[: len(data) // 2]


def cmyk() -> bytes:
    file = io.BytesIO()
    Image.fromarray(255 - PIXELS[0]).convert("CMYK").save(file, "JPEG")
    return file.getvalue()


def animated() -> bytes:
    file = io.BytesIO()
    first, *others = (Image.fromarray(255 - pixels) for pixels in PIXELS[:3])
    first.save(file, "GIF", save_all=True, append_images=others)
    return file.getvalue()


def among_pictures(name: str, data: bytes) -> Maker:
    def make_folder(path: Path) -> None:
        folder(path)
        (path / "0" / name).write_bytes(data)

    return make_folder


def zip_with(name: str, data: bytes, times: int = 1, flag: int = 0) -> Maker:
    """Make a zip of good pictures and of members with that content; `flag` goes into the directory's entries."""

    def make_zip(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for number, pixels in enumerate(PIXELS):
                archive.writestr(f"{number % 3}/{number}.png", encoded(pixels))
            for number in range(times):
                archive.writestr(name.format(number), data, zipfile.ZIP_DEFLATED if len(data) > 99 else None)
                archive.filelist[-1].flag_bits |= flag

    return make_zip


def lying_zip(place: int, lie: int) -> Maker:
    """Make a zip of good pictures and another one, whose entry in the directory lies in the 4 bytes at a place."""

    def make_zip(path: Path) -> None:
        zip_with("0/other.png", OTHER)(path)
        data = bytearray(path.read_bytes())
        struct.pack_into("<I", data, data.rindex(b"PK\1\2") + place, lie)
        path.write_bytes(data)

    return make_zip


def tar_with(*others: tuple[str, bytes, bytes]) -> Maker:
    """Make a tar of good pictures and of members of other names, types and content."""

    def make_tar(path: Path) -> None:
        with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
            for number, pixels in enumerate(PIXELS):
                add(archive, f"{number % 3}/{number}.png", encoded(pixels))
            for name, kind, data in others:
                info = tarfile.TarInfo(name)
                info.type, info.linkname, info.size = kind, "0/0.png", len(data)
                archive.addfile(info, io.BytesIO(data))

    return make_tar


def tar_bomb(path: Path) -> None:
    tar_with(("0/a.bmp", tarfile.REGTYPE, bytes(1 << 28)))(path)


def samples_with(files: dict[str, bytes]) -> Maker:
    """Make a WebDataset archive of good samples and other files."""

    def make_tar(path: Path) -> None:
        as_webdataset(path)
        with tarfile.open(path, "a") as archive:
            for name, data in files.items():
                add(archive, name, data)

    return make_tar


def idx_of(count: int) -> Maker:
    """Make IDX files of which the one with the pictures says that they are so many."""

    def make_idx(path: Path) -> None:
        as_idx(path)
        file = path / "train-images-idx3-ubyte.gz"
        data = gzip.decompress(file.read_bytes())
        file.write_bytes(gzip.compress(data[:4] + count.to_bytes(4, "big") + data[8:]))

    return make_idx


def rows_with(*others: str) -> Maker:
    """Make a CSV of good pictures and other rows."""

    def make_csv(path: Path) -> None:
        as_csv(path)
        with path.open("a") as file:
            file.writelines(f"{other}\n" for other in others)

    return make_csv


def parquet_with(*others: dict[str, Any] | None) -> Maker:
    def make_parquet(path: Path) -> None:
        images = [{"bytes": encoded(pixels), "path": f"{number}.png"} for number, pixels in enumerate(PIXELS)]
        labels = [str(number % 3) for number in range(len(images) + len(others))]
        pq.write_table(pa.table({"image": [*images, *others], "label": labels}), path)

    return make_parquet


def with_names(*names: bytes) -> Maker:
    """Make a folder of good pictures, and of the same other one under several names."""

    def make_folder(path: Path) -> None:
        folder(path)
        for name in names:
            Path(os.fsdecode(os.fsencode(path) + b"/" + name)).write_bytes(OTHER)

    return make_folder


def with_pipe(path: Path) -> None:
    folder(path)
    os.mkfifo(path / "0" / "pipe.png")


def twice(path: Path) -> None:
    with warnings.catch_warnings():
        # Of the two members of one name, which are what is tested.
        warnings.simplefilter("ignore")
        zip_with("0/other.png", OTHER, times=2)(path)


def wrong_checksum() -> bytes:
    data = bytearray(OTHER)
    data[data.index(b"IDAT") + 10] ^= 255
    return bytes(data)


def large_animation() -> bytes:
    """Return an animated GIF whose header says that it has 65,000 x 65,000 pixels."""
    data = bytearray(animated())
    struct.pack_into("<HH", data, 6, 65_000, 65_000)
    return bytes(data)


def long_animation(path: Path) -> None:
    folder(path)
    first, *others = (Image.new("L", (2000, 2000), number % 2 * 255) for number in range(50))
    first.save(path / "0" / "a.gif", "GIF", save_all=True, append_images=others)


def no_picture(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for number, pixels in enumerate(PIXELS):
            add(archive, f"{number:04}.png", encoded(pixels))
            add(archive, f"{number:04}.cls", str(number % 3).encode())
        add(archive, "9999.cls", b"1")


def lying_idx(path: Path) -> None:
    path.mkdir()
    count = len(PIXELS)
    sizes = b"".join(size.to_bytes(4, "big") for size in (10**9, 12, 12))
    (path / "train-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3]) + sizes + PIXELS.tobytes())
    labels = bytes(number % 3 for number in range(count))
    (path / "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1]) + (10**9).to_bytes(4, "big") + labels)


def pixels_out_of_range(path: Path) -> None:
    rows = [[number % 3, *pixels.ravel()] for number, pixels in enumerate(PIXELS)]
    rows += [[0, 256, *[1] * 143], [0, -1, *[1] * 143], [0, 999, *[1] * 143]]
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))


IMAGES: list[Case] = [
    ("huge.png", among_pictures("a.png", png_of(100_000, 100_000)), {}, {"too_large": 1}),
    ("short.png", among_pictures("a.png", png_of(5000, 5000)), {}, {"broken_image": 1}),
    ("half.jpg", among_pictures("a.jpg", half_jpeg()), {}, {"truncated_image": 1}),
    ("text.jpg", among_pictures("a.jpg", b"a text"), {}, {"not_an_image": 1}),
    ("none.png", among_pictures("a.png", b""), {}, {"not_an_image": 1}),
    # Accepted, and made 8 bits, RGB, and the first picture.
    ("16bit.png", among_pictures("a.png", encoded(PIXELS[0].astype(np.uint16) * 200)), {}, {}),
    ("cmyk.jpg", among_pictures("a.jpg", cmyk()), {}, {}),
    ("animated.gif", among_pictures("a.gif", animated()), {}, {}),
    ("names.zip", zip_with("../../0/{}.png", OTHER), {}, {"unsafe_name": 1}),
    ("many.zip", zip_with("0/{}", b"x", times=100_000), {}, {"not_an_image": 100_000}),
    ("bomb.zip", zip_with("0/bomb-{}.bmp", bytes(1 << 26)), {}, {"packing_bomb": 1}),
    ("secret.zip", zip_with("0/secret-{}.png", OTHER, flag=1), {}, {"encrypted": 1}),
    ("checksum.png", among_pictures("a.png", wrong_checksum()), {}, {"broken_image": 1}),
    ("large.gif", among_pictures("a.gif", large_animation()), {}, {"too_large": 1}),
    ("long.gif", long_animation, {}, {}),
    (
        "svg.png",
        among_pictures("a.png", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'),
        {},
        {"unsupported_image": 1},
    ),
    ("html.png", among_pictures("a.png", b"<!DOCTYPE html><html>404 Not Found</html>"), {}, {"not_an_image": 1}),
    ("names", with_names(b"0/a.png", b"0/A.png", b"0/a\n\x1b[31mb.png"), {}, {"duplicate": 2}),
    ("no-label", with_names(b"a.png"), {}, {"missing_label": 1}),
    ("bytes", with_names(b"0/\xff.png"), {}, r"bytes: the file name b'0/\\xff\.png' is not UTF-8; rename the file"),
    ("pipe", with_pipe, {}, {}),
    ("no-files", lambda path: (path / "0").mkdir(parents=True), {}, r"no-files: 0 files there"),
    ("no-pictures", lambda path: write(path / "a.md", "a"), {}, r"0 of 1 rows kept .*not_an_ima"),
    ("size.zip", lying_zip(24, len(OTHER) + 7), {}, {"broken_member": 1}),
    ("place.zip", lying_zip(42, 2**31 - 1), {}, {"broken_member": 1}),
    ("twice.zip", twice, {}, {"duplicate": 1}),
    ("nested.zip", zip_with("0/{}.zip", b"PK\3\4" + bytes(200)), {}, {"not_an_image": 1}),
    ("none.zip", lambda path: zipfile.ZipFile(path, "w").close(), {}, r"none\.zip: 0 of 0 rows kept"),
    (
        "types.tar",
        tar_with(
            ("0/link.png", tarfile.SYMTYPE, b""),
            ("0/hard.png", tarfile.LNKTYPE, b""),
            ("0/device.png", tarfile.CHRTYPE, b""),
            ("0/pipe.png", tarfile.FIFOTYPE, b""),
        ),
        {},
        {"not_a_file": 4},
    ),
    (
        "names.tar",
        tar_with(("/0/other.png", tarfile.REGTYPE, OTHER), ("../0/other.png", tarfile.REGTYPE, OTHER)),
        {},
        {"unsafe_name": 2},
    ),
    (
        "bomb.tar.gz",
        tar_with(("0/a.bmp", tarfile.REGTYPE, bytes(1 << 28))),
        {},
        r"bomb\.tar\.gz: .* as in a decompress",
    ),
    ("zeros.tar", bytes(10_240), {}, r"zeros\.tar: 0 of 0 rows kept"),
    ("junk.tar", b"junk" * 2560, {}, r"junk\.tar: broken tar: invalid header"),
    (
        "labels.tar",
        samples_with(
            {
                "a.png": OTHER,
                "a.cls": b"\xff\xfe",
                "b.png": OTHER,
                "b.json": b"[" * 100_000,
                "c.png": OTHER,
                "c.json": b'{"label": {}}',
                "d.png": encoded(PIXELS[0] // 2),
                "d.cls": b"x" * 1_000_000,
            }
        ),
        {"format": "webdataset"},
        {"invalid_encoding": 1, "bad_json": 1, "unknown_label": 2},
    ),
    ("more.idx", idx_of(61), {"format": "idx"}, r"labels-idx1-ubyte\.gz: 60 labels, and .* holds 61 pictures; replace"),
    ("many.idx", idx_of(2**32 - 1), {}, r"60 labels, and .* holds 4294967295 pictures; replace one of them"),
    (
        "rows.csv",
        rows_with("1,2,3", "", "a" * 100, *(",".join(["1", *[each] * 144]) for each in ("1.5", "nan", ""))),
        {},
        {"ragged_row": 3, "wrong_type": 3},
    ),
    ("few.csv", b"1,2,3\n", {}, r"few\.csv: 3 columns, 2 of them pixels .* not a square number; correct label"),
    (
        "nulls.parquet",
        parquet_with({"bytes": None, "path": "a.png"}, {"bytes": b"", "path": "b.png"}, None),
        {},
        {"missing_image": 2, "not_an_image": 1},
    ),
    ("cut.zip", lambda path: path.write_bytes(b"PK\3\4" + bytes(500)), {}, r"cut\.zip: broken zip"),
    ("lying", lying_idx, {}, r"train-labels-idx1-ubyte: IDX of 1000000000 labels ends after 60"),
    ("a.tar", no_picture, {"format": "webdataset"}, {"missing_image": 1}),
    ("range.csv", pixels_out_of_range, {}, {"out_of_range": 2, "wrong_type": 1}),
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("name", "content", "source", "expected"), IMAGES, ids=[case[0] for case in IMAGES])
def test_hostile_pictures_end_in_a_counted_reason_or_one_clear_error(
    tmp_path: Path, name: str, content: Content, source: dict[str, Any], expected: Expected
) -> None:
    uri = make(tmp_path / name, content)
    task = {"task": "image-classification", "split": SPLIT, "max_bad_rows": 1.0}
    check(tmp_path / "run", expected, labelled=[{"uri": uri, **source}], **task)
