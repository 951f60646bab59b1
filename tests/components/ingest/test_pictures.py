"""Pictures through the whole step: every layout gives the same dataset, with ledger, splits and near-duplicates."""

import csv
import gzip
import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from components.ingest.run import IngestOutputs
from modelmill.dataset import open_dataset, read_made
from modelmill.errors import UserError
from modelmill.store import Store
from tests.components.ingest.tools import ingest

GENERATOR = np.random.default_rng(0)
PIXELS = GENERATOR.integers(0, 256, (60, 12, 12), dtype=np.uint8)
CLASSES = ["zero", "one", "two"]
SPLIT = {"train": 0.5, "validation": 0.25, "test": 0.25}


def encoded(pixels: Any, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def label(number: int) -> str:
    return str(number % 3)


def folder(path: Path) -> None:
    for number, pixels in enumerate(PIXELS):
        file = path / label(number) / f"{number:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(pixels))


def as_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number, pixels in enumerate(PIXELS):
            archive.writestr(f"data/{label(number)}/{number}.png", encoded(pixels))


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def as_tar(path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for number, pixels in enumerate(PIXELS):
            add(archive, f"{label(number)}/{number}.png", encoded(pixels))


def as_webdataset(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for number, pixels in enumerate(PIXELS):
            add(archive, f"{number:04}.png", encoded(pixels))
            add(archive, f"{number:04}.cls", label(number).encode())


def as_idx(path: Path) -> None:
    path.mkdir()
    labels = bytes(int(label(number)) for number in range(len(PIXELS)))
    images = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in PIXELS.shape) + PIXELS.tobytes()
    (path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    (path / "train-labels-idx1-ubyte.gz").write_bytes(
        gzip.compress(bytes([0, 0, 8, 1]) + len(PIXELS).to_bytes(4, "big") + labels)
    )


def as_csv(path: Path) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([label(number), *pixels.ravel()] for number, pixels in enumerate(PIXELS))


def as_parquet(path: Path) -> None:
    images = [{"bytes": encoded(pixels), "path": f"{number}.png"} for number, pixels in enumerate(PIXELS)]
    pq.write_table(pa.table({"image": images, "label": [label(number) for number in range(len(PIXELS))]}), path)


LAYOUTS = {
    "folder": (folder, {}),
    "a.zip": (as_zip, {}),
    "a.tar.gz": (as_tar, {"format": "tar"}),
    "a.tar": (as_webdataset, {"format": "webdataset"}),
    "idx": (as_idx, {}),
    "a.csv": (as_csv, {}),
    "a.parquet": (as_parquet, {}),
}


def pictures(
    tmp_path: Path, uri: Path, source: dict[str, Any] | None = None, **recipe: Any
) -> tuple[IngestOutputs, Store]:
    labelled = [{"uri": str(uri), **(source or {})}]
    return ingest(tmp_path / "run", labelled=labelled, split=SPLIT, task="image-classification", **recipe)


def rows(outputs: IngestOutputs, store: Store) -> dict[str, list[dict[str, Any]]]:
    dataset = open_dataset(store, outputs.labelled)
    return {split: dataset.table(split).to_pylist() for split in dataset.splits}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_pictures_and_labels(tmp_path: Path, layout: str) -> None:
    make, source = LAYOUTS[layout]
    make(tmp_path / layout)

    outputs, store = pictures(tmp_path, tmp_path / layout, source)

    dataset = open_dataset(store, outputs.labelled)
    assert dataset.meta == {"kind": "labelled-images", "labels": ["0", "1", "2"]}
    found = {}
    for row in (row for split in dataset.splits for row in dataset.table(split).to_pylist()):
        pixels = np.asarray(Image.open(io.BytesIO(row["image"])))
        found[pixels.tobytes()] = dataset.meta["labels"][row["label"]]
        assert (row["height"], row["width"]) == pixels.shape
    assert found == {pixels.tobytes(): label(number) for number, pixels in enumerate(PIXELS)}
    (ledger,) = read_made(store, outputs.made_labelled)["ledger"]["files"].values()
    assert ledger == {"read": 60, "kept": 60, "dropped": {}}


def test_the_same_pixels_in_another_file_format_are_a_duplicate_and_with_another_label_a_conflict(
    tmp_path: Path,
) -> None:
    folder(tmp_path / "in")
    (tmp_path / "in" / label(0) / "again.bmp").write_bytes(encoded(PIXELS[0], "BMP"))
    (tmp_path / "in" / label(2) / "other.bmp").write_bytes(encoded(PIXELS[1], "BMP"))
    outputs, store = pictures(tmp_path, tmp_path / "in")
    made = read_made(store, outputs.made_labelled)
    assert made["ledger"]["dropped"] == {"duplicate": 1, "label_conflict": 2}


def photo(number: int) -> Image.Image:
    coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC)


def test_nearly_equal_pictures_never_straddle_two_splits(tmp_path: Path) -> None:
    for number in range(60):
        file = tmp_path / "in" / label(number) / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        photo(number).save(file)
        photo(number).resize((120, 90)).save(file.with_suffix(".jpg"), quality=60)
    outputs, store = pictures(tmp_path, tmp_path / "in", near_duplicates={"action": "keep"})
    splits = rows(outputs, store)
    assert sum(map(len, splits.values())) == 120
    sizes = [{row["width"] for row in own} for own in splits.values()]
    assert all(found == {160, 120} for found in sizes)
    again, store = ingest(
        tmp_path / "drop",
        labelled=[{"uri": str(tmp_path / "in")}],
        split=SPLIT,
        task="image-classification",
    )
    assert read_made(store, again.made_labelled)["ledger"]["dropped"] == {"near_duplicate": 60}


def test_files_that_are_no_pictures_are_counted_by_reason_with_their_names(tmp_path: Path) -> None:
    folder(tmp_path / "in")
    (tmp_path / "in" / "0" / "notes.txt").write_text("not a picture")
    (tmp_path / "in" / "0" / "cut.png").write_bytes(encoded(PIXELS[0] // 2)[:-30])
    outputs, store = pictures(tmp_path, tmp_path / "in", max_bad_rows=0.1)
    made = read_made(store, outputs.made_labelled)
    assert made["ledger"]["dropped"] == {"not_an_image": 1, "truncated_image": 1}
    table = pq.read_table(pa.BufferReader(store.get_blob(made["rejected"]["sha256"]))).to_pylist()
    assert {row["text"] for row in table} == {"0/notes.txt", "0/cut.png"}
    with pytest.raises(UserError, match=r"2 of 62 rows are bad .*not_an_image"):
        pictures(tmp_path / "b", tmp_path / "in")


def test_pictures_without_labels_make_a_corpus(tmp_path: Path) -> None:
    folder(tmp_path / "in")
    outputs, store = ingest(tmp_path / "run", corpus=[{"uri": str(tmp_path / "in")}], task="image-classification")
    dataset = open_dataset(store, outputs.corpus)
    assert dataset.meta == {"kind": "images"}
    assert sum(map(dataset.rows, dataset.splits)) == 60


def test_a_corpus_holds_no_picture_to_choose_by_or_to_measure_on_and_none_nearly_equal(tmp_path: Path) -> None:
    for number in range(60):
        file = tmp_path / "in" / label(number) / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        photo(number).save(file)
        other = tmp_path / "corpus" / f"{number}.jpg"
        other.parent.mkdir(exist_ok=True)
        if number % 2:
            photo(number).resize((120, 90)).save(other, quality=60)
        else:
            other.with_suffix(".png").write_bytes(file.read_bytes())
    outputs, store = pictures(tmp_path, tmp_path / "in", corpus=[{"uri": str(tmp_path / "corpus")}])
    held = sum(len(own) for split, own in rows(outputs, store).items() if split != "train")
    ledger = read_made(store, outputs.made_corpus)["ledger"]
    assert ledger["dropped"] == {"held_out": held}
    own, store = pictures(tmp_path / "own", tmp_path / "in", corpus=[{"labelled": "train"}])
    kept = open_dataset(store, own.corpus)
    assert sum(map(kept.rows, kept.splits)) == len(rows(own, store)["train"]) > 0


def test_two_sources_and_a_sample_take_the_same_pictures_everywhere(tmp_path: Path) -> None:
    folder(tmp_path / "in")
    as_zip(tmp_path / "a.zip")
    taken = []
    for name in ("in", "a.zip"):
        outputs, store = pictures(tmp_path / f"of-{name}", tmp_path / name, {"sample": 0.6})
        taken.append({row["id"] for own in rows(outputs, store).values() for row in own})
    assert taken[0] == taken[1]
    assert 20 < len(taken[0]) < 50
