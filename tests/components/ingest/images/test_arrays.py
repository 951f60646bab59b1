import gzip
import struct
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from components.ingest.images import pixel_csv, png
from components.ingest.images.idx import idx_pairs, read_idx
from components.ingest.images.parquet import read_image_parquet
from components.ingest.images.pictures import Pictures
from components.ingest.images.pixel_csv import read_pixel_csv
from components.ingest.images.settings import PixelTable
from components.ingest.rows import Opened
from modelmill.errors import UserError
from modelmill.ledger import Rejected
from modelmill.sources import SourceFile
from tests.components.ingest.images.tools import digit, flat, opened, packed, photo, pixels, read, seen

DIGITS = np.stack([digit(seed) for seed in range(2500)])
LABELS = np.arange(2500, dtype=np.uint8) % 10


def idx_of(values: np.ndarray[Any, np.dtype[np.uint8]], count: int | None = None) -> bytes:
    shape = (values.shape[0] if count is None else count, *values.shape[1:])
    return bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape) + values.tobytes()


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)
    return path


def read_pair(pictures: Path, labels: Path | None) -> tuple[list[tuple[int, str, bytes, Any]], list[Rejected]]:
    one, other = opened(pictures), None if labels is None else opened(labels)
    rows = flat(list(read_idx(one, other)))
    for each in (one, other):
        if each is not None:
            each.raw.finish()
    return rows


@pytest.mark.parametrize(
    ("height", "width", "mode"), [(28, 28, "L"), (1, 9, "L"), (70, 300, "L"), (5, 4, "RGB"), (200, 150, "RGB")]
)
def test_a_png_that_was_written_is_read_back_by_pillow_and_by_us(height: int, width: int, mode: str) -> None:
    shape = (3, height, width) if mode == "L" else (3, height, width, 3)
    values = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    for data, expected in zip(png.encode_all(values), values, strict=True):
        assert np.array_equal(pixels(data), expected)
        looked = seen(data)
        assert looked.data is data
        assert looked.id == seen(packed(Image.fromarray(expected), "PNG")).id


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_gives_pictures_and_labels(tmp_path: Path, ending: str) -> None:
    images = write(tmp_path / f"train-images-idx3-ubyte{ending}", idx_of(DIGITS))
    labels = write(tmp_path / f"train-labels-idx1-ubyte{ending}", idx_of(LABELS))

    rows, bad = read_pair(images, labels)

    assert bad == []
    assert [number for number, *_ in rows] == list(range(1, 2501))
    assert [label for *_, label in rows] == LABELS.tolist()
    assert np.array_equal(np.stack([pixels(data) for _, _, data, _ in rows]), DIGITS)
    assert [label for *_, label in read_pair(images, None)[0][:3]] == [None] * 3


def test_idx_files_are_paired_by_name() -> None:
    names = [
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
        "train-images.idx3-ubyte",
        "train-labels.idx1-ubyte",
    ]
    files = [
        SourceFile(uri=f"x/{name}", name=name, bytes=1, fingerprint="") for name in [*names, "emnist-images-idx3-ubyte"]
    ]

    pairs = [(one.name, other.name if other else None) for one, other in idx_pairs(files)]

    assert pairs == [(names[0], names[1]), (names[2], names[3]), ("emnist-images-idx3-ubyte", None)]
    with pytest.raises(
        UserError, match=r"labels without pictures: none of 1 files is called 't10k-images-idx3-ubyte\.gz'"
    ):
        idx_pairs(files[1:2])


def test_idx_that_does_not_hold_what_it_says_is_refused_with_both_numbers(tmp_path: Path) -> None:
    right = write(tmp_path / "images", idx_of(DIGITS[:10]))
    labels = write(tmp_path / "labels", idx_of(LABELS[:9]))
    cases = [
        (right, labels, "9 labels, and .*images holds 10 pictures"),
        (right, write(tmp_path / "short", idx_of(LABELS[:8], 10)), "IDX of 10 labels ends after 8"),
        (
            write(tmp_path / "more", idx_of(DIGITS[:10], 11)),
            None,
            "IDX of 11 pictures ends in picture 11, 0 of 784 bytes",
        ),
        (write(tmp_path / "less", idx_of(DIGITS[:10], 9)), None, "goes on after the 9 pictures"),
        (write(tmp_path / "cut", idx_of(DIGITS[:10])[:-1]), None, "ends in picture 10, 783 of 784 bytes"),
        (labels, None, "begins with 00000801, and IDX pictures .* with 00000803"),
        (write(tmp_path / "png", packed(photo(), "PNG")), None, "begins with 89504e47"),
        (write(tmp_path / "head", idx_of(DIGITS[:1])[:9]), None, "header ends after 9 of 16 bytes"),
        (write(tmp_path / "flat", idx_of(DIGITS[:, :0])), None, "0 x 28 pixels, 1 to 65535 are possible"),
    ]
    for images, beside, message in cases:
        with pytest.raises(UserError, match=message):
            read_pair(images, beside)


def test_a_truncated_gzip_of_idx_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "images.gz", idx_of(DIGITS))
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(UserError, match="truncated gzip"):
        read_pair(path, None)


def csv_of(values: np.ndarray[Any, Any], labels: Any, first: bool = True) -> str:
    lines = []
    for label, value in zip(labels, values, strict=True):
        numbers = list(map(str, value.ravel().tolist()))
        lines.append(",".join([str(label), *numbers] if first else [*numbers, str(label)]))
    return "\n".join(lines) + "\n"


def read_csv(path: Path, text: str, **table: Any) -> tuple[list[tuple[int, str, bytes, Any]], list[Rejected]]:
    path.write_bytes(text.encode())

    def reader(one: Opened) -> Iterator[Pictures]:
        return read_pixel_csv(one, PixelTable.model_validate(table))

    return read(reader, path)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("header", ["", "label," + ",".join(f"{y}x{x}" for y in range(28) for x in range(28)) + "\r\n"])
def test_mnist_like_csv_gives_pictures_and_labels(tmp_path: Path, first: bool, header: str) -> None:
    text = header + csv_of(DIGITS, LABELS, first)

    rows, bad = read_csv(tmp_path / "a.csv", text, label="first" if first else "last")

    assert bad == []
    assert [number for number, *_ in rows] == list(range(1 + bool(header), 2501 + bool(header)))
    assert [label for *_, label in rows] == [str(label) for label in LABELS]
    assert np.array_equal(np.stack([pixels(data) for _, _, data, _ in rows]), DIGITS)


def test_quotes_blanks_windows_line_ends_and_a_last_line_without_an_end_are_fine(tmp_path: Path) -> None:
    rows, bad = read_csv(tmp_path / "a.csv", '"cat", 0, 1, 2, "255"\r\n"dog", 7, 8, 9, 10')

    assert [(label, pixels(data).tolist()) for *_, data, label in rows] == [
        ("cat", [[0, 1], [2, 255]]),
        ("dog", [[7, 8], [9, 10]]),
    ]
    assert bad == []


def test_pictures_need_not_be_square_or_labelled(tmp_path: Path) -> None:
    rows, _ = read_csv(tmp_path / "a.csv", "1,2,3,4,5,6\n", label="none", height=2, width=3)

    assert pixels(rows[0][2]).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert rows[0][3] is None


def test_a_row_that_is_no_picture_costs_that_row(tmp_path: Path) -> None:
    lines = [
        "1,0,0,0,0",
        "2,0,0,0",
        "3,0,0,256,0",
        "4,0,x,0,0",
        "5,0,1.5,0,0",
        "6,,0,0,0",
        "7,-1,0,0,0",
        "",
        "8,0,0,0,9",
        "9,0,1000,0,0",
    ]

    rows, bad = read_csv(tmp_path / "a.csv", "\n".join(lines) + "\n")

    assert [(number, label) for number, _, _, label in rows] == [(1, "1"), (9, "8")]
    assert {(row.row, row.reason): row.detail for row in bad} == {
        (2, "ragged_row"): "4 columns, 5 expected",
        (3, "out_of_range"): "pixel 3 of 4 is '256', 0 to 255 is allowed",
        (4, "wrong_type"): "pixel 2 of 4 is 'x', a whole number from 0 to 255 is expected",
        (5, "wrong_type"): "pixel 2 of 4 is '1.5', a whole number from 0 to 255 is expected",
        (6, "wrong_type"): "pixel 1 of 4 is '', a whole number from 0 to 255 is expected",
        (7, "wrong_type"): "pixel 1 of 4 is '-1', a whole number from 0 to 255 is expected",
        (8, "ragged_row"): "1 columns, 5 expected",
        (10, "wrong_type"): "pixel 2 of 4 is '1000', a whole number from 0 to 255 is expected",
    }
    assert [row.text for row in bad if row.row == 3] == ["3,0,0,256,0"]


def test_783_pixels_are_no_picture(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"784 columns, 783 of them pixels \(label: first\), which is not a square number"
    ):
        read_csv(tmp_path / "a.csv", ",".join(["0"] * 784) + "\n")
    with pytest.raises(UserError, match=r"783 of them pixels .*, which is not 28 x 28 = 784"):
        read_csv(tmp_path / "a.csv", ",".join(["0"] * 784) + "\n", height=28, width=28)


def test_a_line_without_an_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_csv, "_LINE_BYTES", 1 << 20)

    with pytest.raises(UserError, match="a line is longer than 1048576 bytes"):
        read_csv(tmp_path / "a.csv", "1,0,0,0,0\n" + "0" * (5 << 20))


@given(st.lists(st.lists(st.integers(0, 300), min_size=3, max_size=6), min_size=1, max_size=40), st.integers(1, 30))
def test_rows_are_the_same_in_blocks_of_every_size(lines: list[list[int]], block: int) -> None:
    text = "9,1,2,3,4\n" + "".join(",".join(map(str, line)) + "\n" for line in lines)
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        whole = read_csv(Path(folder) / "a.csv", text)
        patch.setattr(pixel_csv, "_BLOCK_BYTES", block)
        parts = read_csv(Path(folder) / "a.csv", text)

    assert whole[0] == parts[0]
    assert sorted(whole[1], key=lambda row: row.row) == sorted(parts[1], key=lambda row: row.row)
    right = [n for n, line in enumerate(lines, 2) if len(line) == 5 and max(line[1:]) <= 255]
    assert [number for number, *_ in whole[0]] == [1, *right]


PICTURES = [packed(photo(seed=seed), "PNG") for seed in range(5)]


def table_of(path: Path, image: Any, **columns: Any) -> Path:
    pq.write_table(pa.table({"image": image, **columns}), path)
    return path


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_a_parquet_column_of_image_files_is_read(tmp_path: Path, kind: pa.DataType) -> None:
    path = table_of(tmp_path / "a.parquet", pa.array([*PICTURES, None], kind), label=[*range(5), 5])

    rows, bad = read(read_image_parquet, path)

    assert rows == [(number, "", data, number - 1) for number, data in enumerate(PICTURES, 1)]
    assert [(row.row, row.reason, row.detail) for row in bad] == [(6, "missing_image", "null")]
    assert [each.name for each in tmp_path.iterdir()] == ["a.parquet"]


def test_the_images_and_class_names_of_hugging_face_datasets_are_read(tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    values = [{"bytes": PICTURES[0], "path": "1.png"}, {"bytes": None, "path": "/data/2.png"}, None]
    names = '{"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}'
    table = pa.table({"image": pa.array(values, kind), "label": [1, 0, 0]}).replace_schema_metadata(
        {"huggingface": names}
    )
    pq.write_table(table, tmp_path / "a.parquet")

    rows, bad = read(read_image_parquet, tmp_path / "a.parquet")

    assert rows == [(1, "1.png", PICTURES[0], "dog")]
    assert [(row.row, row.reason, row.detail) for row in bad] == [
        (2, "missing_image", "null, and only the path '/data/2.png'"),
        (3, "missing_image", "null"),
    ]


def test_a_parquet_file_without_pictures_is_refused(tmp_path: Path) -> None:
    path = table_of(tmp_path / "a.parquet", ["text"], label=[1])

    with pytest.raises(UserError, match="column 'image' holds string, and not the bytes of image files"):
        read(read_image_parquet, path)
    with pytest.raises(UserError, match="no column 'img'; its 2 columns are 'image', 'label'"):
        read(read_image_parquet, path, "img")
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match="broken Parquet"):
        read(read_image_parquet, path)


def test_labels_are_left_alone_where_none_is_wanted(tmp_path: Path) -> None:
    path = table_of(tmp_path / "a.parquet", PICTURES)

    assert [label for *_, label in read(read_image_parquet, path, "image", None)[0]] == [None] * 5
