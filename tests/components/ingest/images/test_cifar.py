"""CIFAR-10 as its owner ships it: the binary version is read, the one in pickles refused."""

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest

from components.ingest.images import cifar
from components.ingest.images.cifar import read_cifar
from modelmill.dataset import open_dataset
from modelmill.errors import UserError
from tests.components.ingest.images.tools import pixels, read
from tests.components.ingest.tools import ingest

NAMES = ["airplane", "automobile", "bird"]
GENERATOR = np.random.default_rng(0)
PIXELS = GENERATOR.integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)


def record(label: int, pixels_HWC: np.ndarray) -> bytes:
    """A label, then all of red, of green, of blue."""
    return bytes([label]) + b"".join(pixels_HWC[:, :, channel].tobytes() for channel in range(3))


def batch(first: int, last: int) -> bytes:
    return b"".join(record(number % 3, PIXELS[number]) for number in range(first, last))


def test_labels_and_pixels_are_those_of_the_records(tmp_path: Path) -> None:
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(batch(0, 30))
    rows, bad = read(read_cifar, path, NAMES, format="cifar")
    assert not bad
    assert [(number, label) for number, _, _, label in rows] == [(n + 1, NAMES[n % 3]) for n in range(30)]
    assert all(np.array_equal(pixels(data), PIXELS[number - 1]) for number, _, data, _ in rows)
    assert read(read_cifar, path, [], format="cifar")[0][4][3] == 1


def test_batches_read_the_same_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(batch(0, 30))
    whole = read(read_cifar, path, NAMES, format="cifar")
    monkeypatch.setattr(cifar, "BATCH_PICTURES", 7)
    assert read(read_cifar, path, NAMES, format="cifar") == whole


def test_a_label_without_a_name_costs_its_row_and_a_cut_file_all(tmp_path: Path) -> None:
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(batch(0, 2) + record(3, PIXELS[2]) + batch(3, 4))
    rows, bad = read(read_cifar, path, NAMES, format="cifar")
    assert [number for number, *_ in rows] == [1, 2, 4]
    assert [(row.row, row.reason, row.detail) for row in bad] == [
        (3, "out_of_range", "label is 3, and there are 3, from 0")
    ]
    path.write_bytes(batch(0, 4)[:-73])
    with pytest.raises(UserError, match=r"CIFAR-10 ends in picture 4, 3000 of 3073 bytes there \(after 0 rows"):
        read(read_cifar, path, NAMES, format="cifar")
    path = tmp_path / "data_batch_1.bin.gz"
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(UserError, match="0 bytes, and a picture of CIFAR-10 takes 3073"):
        read(read_cifar, path, NAMES, format="cifar")


def owners_folder(path: Path) -> Path:
    path.mkdir()
    (path / "data_batch_1.bin").write_bytes(batch(0, 12))
    (path / "data_batch_2.bin").write_bytes(batch(12, 24))
    (path / "test_batch.bin").write_bytes(batch(24, 30))
    (path / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    (path / "readme.html").write_text("<html>CIFAR-10</html>")
    return path


def test_the_folder_is_read_as_it_is_shipped(tmp_path: Path) -> None:
    folder = owners_folder(tmp_path / "cifar-10-batches-bin")
    made, store = ingest(tmp_path, task="image-classification", labelled=[{"uri": str(folder)}])
    dataset = open_dataset(store, made.labelled)
    assert dataset.meta["labels"] == NAMES
    rows = [row for split in dataset.splits for row in dataset.table(split).to_pylist()]
    assert len(rows) == 30
    known = {PIXELS[number].tobytes(): number % 3 for number in range(30)}
    assert all(known[pixels(row["image"]).tobytes()] == row["label"] for row in rows)


@pytest.mark.parametrize("name", ["data_batch_1", "batches.meta", "weights.pkl"])
def test_the_version_in_pickles_is_refused_and_the_binary_one_named(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / name).write_bytes(pickle.dumps({b"data": 1}))
    with pytest.raises(
        UserError, match=rf"{name}: refused: a pickle .* take the binary version \(cifar-10-binary\.tar\.gz"
    ):
        ingest(tmp_path, task="image-classification", labelled=[{"uri": str(folder)}])
