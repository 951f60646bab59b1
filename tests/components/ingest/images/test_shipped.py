"""CIFAR-10 and ImageNet in the archives in which their owners ship them."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelmill.dataset import open_dataset, read_made
from modelmill.errors import UserError
from tests.components.ingest.images.test_archives import tar_of
from tests.components.ingest.images.tools import packed, photo
from tests.components.ingest.tools import ingest

CHANCE = np.random.default_rng(0)
RECORDS = CHANCE.integers(0, 256, (30, 3073), dtype=np.uint8)
RECORDS[:, 0] %= 10
NAMES = [
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
]  # fmt: skip
# In the order of the archive that is shipped: the names stand behind the first pictures.
CIFAR = {
    "cifar-10-batches-bin/data_batch_1.bin": RECORDS[:20].tobytes(),
    "cifar-10-batches-bin/batches.meta.txt": ("\n".join(NAMES) + "\n\n").encode(),
    "cifar-10-batches-bin/readme.html": b"<html></html>",
    "cifar-10-batches-bin/test_batch.bin": RECORDS[20:].tobytes(),
}
SYNSETS = ["n02119789", "n01440764", "n02100735"]


def labels(folder: Path, *sources: Mapping[str, Any]) -> dict[bytes, str]:
    """Return the label of each picture's pixels, after the whole step."""
    split = {"train": 0.8, "validation": 0.1, "test": 0.1}
    outputs, store = ingest(folder, labelled=[*sources], split=split, task="image-classification")
    dataset = open_dataset(store, outputs.labelled)
    rows = [row for name in dataset.splits for row in dataset.table(name).to_pylist()]
    assert read_made(store, outputs.made_labelled)["ledger"]["dropped"] == {}
    return {
        np.asarray(Image.open(io.BytesIO(row["image"]))).tobytes(): dataset.meta["labels"][row["label"]] for row in rows
    }


@pytest.mark.parametrize("source", [{"uri": "cifar-10-binary.tar.gz"}, {"uri": "mine.tar.gz", "format": "cifar"}])
def test_cifar_10_is_read_in_its_archive(tmp_path: Path, source: dict[str, str]) -> None:
    path = tar_of(tmp_path / source["uri"], CIFAR, "gz")
    found = labels(tmp_path / "run", {**source, "uri": str(path)})
    expected = {
        np.ascontiguousarray(row[1:].reshape(3, 32, 32).transpose(1, 2, 0)).tobytes(): NAMES[row[0]] for row in RECORDS
    }
    assert found == expected


@pytest.mark.parametrize("name", ["cifar-10-python.tar.gz", "mine.tar.gz"])
def test_the_python_version_of_cifar_10_is_refused(tmp_path: Path, name: str) -> None:
    members = {"cifar-10-batches-py/data_batch_1": b"\x80\x02}q\x00.", "cifar-10-batches-py/batches.meta": b"\x80\x02."}
    path = tar_of(tmp_path / name, members, "gz")
    with pytest.raises(UserError, match=r"refused: a pickle runs .* version \(cifar-10-binary\.tar\.gz"):
        labels(tmp_path / "run", {"uri": str(path)})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cifar-10-batches-bin/test_batch.bin": RECORDS[20:].tobytes()[:-5]}, r"test_batch\.bin holds 30725 bytes"),
        ({"cifar-10-batches-bin/data_batch_1": b"\x80\x02."}, "refused: a pickle"),
    ],
)
def test_a_damaged_archive_of_cifar_10_is_refused(tmp_path: Path, changes: dict[str, bytes], said: str) -> None:
    path = tar_of(tmp_path / "cifar-10-binary.tar.gz", {**CIFAR, **changes}, "gz")
    with pytest.raises(UserError, match=said):
        labels(tmp_path / "run", {"uri": str(path)})


def test_an_archive_without_batches_is_refused(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "cifar-10-binary.tar.gz", {"a.txt": b"a"}, "gz")
    with pytest.raises(UserError, match=r"0 members are called data_batch_1\.bin"):
        labels(tmp_path / "run", {"uri": str(path)})


def jpeg(seed: int) -> bytes:
    return packed(photo(seed=seed), "JPEG")


def pixels_of(data: bytes) -> bytes:
    return np.asarray(Image.open(io.BytesIO(data))).tobytes()


def train_tar(path: Path) -> dict[bytes, str]:
    """Write a tar of a tar for each synset, as ILSVRC2012_img_train.tar is; return each picture's synset."""
    inner: dict[str, bytes] = {}
    truth: dict[bytes, str] = {}
    for number, synset in enumerate(SYNSETS[:2]):
        made = {f"{synset}_{seed}.JPEG": jpeg(100 * number + seed) for seed in range(12)}
        truth |= {pixels_of(data): synset for data in made.values()}
        inner[f"{synset}.tar"] = tar_of(path.parent / f"{synset}.inner", made).read_bytes()
        (path.parent / f"{synset}.inner").unlink()
    tar_of(path, inner)
    return truth


def validation(folder: Path, packed_up: bool) -> dict[bytes, str]:
    """Write flat validation pictures, in a folder or as ILSVRC2012_img_val.tar; return each picture's synset."""
    made = {f"ILSVRC2012_val_{number:08}.JPEG": jpeg(1000 + number) for number in range(1, 13)}
    if packed_up:
        tar_of(folder / "ILSVRC2012_img_val.tar", made)
    else:
        for name, data in made.items():
            (folder / name).write_bytes(data)
    return {pixels_of(data): SYNSETS[number % 3] for number, data in enumerate(made.values(), 1)}


@pytest.mark.parametrize("packed_up", [True, False])
@pytest.mark.parametrize("listed", ["kaggle", "numbers"])
def test_imagenet_is_read_as_it_is_shipped(tmp_path: Path, listed: str, packed_up: bool) -> None:
    folder = tmp_path / "imagenet"
    folder.mkdir()
    truth = train_tar(folder / "ILSVRC2012_img_train.tar") | validation(folder, packed_up)
    if listed == "kaggle":
        rows = [f"ILSVRC2012_val_{number:08},{SYNSETS[number % 3]} 1 2 3 4 " for number in range(12, 0, -1)]
        (folder / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *rows]) + "\n")
    else:
        numbers = "".join(f"{number % 3 + 1}\n" for number in range(1, 13))
        (folder / "ILSVRC2012_validation_ground_truth.txt").write_text(numbers)
        (folder / "synsets.txt").write_text("".join(f"{synset} a, b\n" for synset in SYNSETS))
    assert labels(tmp_path / "run", {"uri": str(folder)}) == truth


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"ILSVRC2012_validation_ground_truth.txt": "1\n"}, r"nothing here says which: put synsets\.txt"),
        (
            {"ILSVRC2012_validation_ground_truth.txt": "1\n3\n", "synsets.txt": "n1\nn2\n"},
            r"ground_truth\.txt:2: '3' is no number from 1 to 2",
        ),
        ({"LOC_val_solution.csv": "name,label\n"}, "not with ImageId,PredictionString"),
        (
            {"LOC_val_solution.csv": "ImageId,PredictionString\na,\n"},
            r"LOC_val_solution\.csv:2: 2 values, and",
        ),
    ],
)
def test_lists_of_labels_that_are_not_as_shipped_are_refused(tmp_path: Path, files: dict[str, str], said: str) -> None:
    folder = tmp_path / "imagenet"
    folder.mkdir()
    validation(folder, packed_up=False)
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(UserError, match=said):
        labels(tmp_path / "run", {"uri": str(folder)})


def test_a_damaged_tar_within_a_tar_is_an_error_and_not_the_end(tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "inner", {"1.JPEG": jpeg(1), "2.JPEG": jpeg(2)}).read_bytes()
    bad = bytearray(whole)
    second = bad.index(b"2.JPEG")
    bad[second : second + 4] = b"\xff\xff\xff\xff"
    path = tar_of(tmp_path / "ILSVRC2012_img_train.tar", {"n01440764.tar": bytes(bad)})
    assert tarfile.is_tarfile(path)
    with pytest.raises(UserError, match="broken tar"):
        labels(tmp_path / "run", {"uri": str(path)})
