"""Pictures to pixels: size, channels, statistics of the training split alone, the same bytes whatever the batches."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from components.preprocess import images
from components.preprocess.outputs import PreprocessOutputs
from components.preprocess.run import run
from components.preprocess.settings import PreprocessSettings
from modelmill.dataset import Dataset, open_dataset, read_made
from modelmill.errors import Interrupted, UserError
from modelmill.store import Store, open_store
from tests import pictures, samples


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def made_of(store: Store, tmp_path: Path, corpus: str = "", labelled: str = "", **told: Any) -> PreprocessOutputs:
    settings = PreprocessSettings.model_validate({"task": pictures.TASK, "images": told})
    return run(samples.step_of(store, tmp_path), settings, corpus, labelled, "")


def pixels_of(dataset: Dataset, split: str) -> np.ndarray:
    size, channels = dataset.meta["size"], dataset.meta["channels"]
    rows = dataset.table(split, ["pixels"])["pixels"].to_pylist()
    return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(-1, size, size, channels)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_the_right_size_are_stored_bit_for_bit(store: Store, tmp_path: Path, channels: int) -> None:
    _, made = pictures.labelled_pixels(store, tmp_path, channels)
    dataset = open_dataset(store, made.labelled)
    assert dataset.schema == pa.schema(
        [("id", pa.string()), ("pixels", pa.binary(16 * 16 * channels)), ("label", pa.int32())]
    )
    known = {name: dataset.meta[name] for name in ("kind", "labels", "size", "channels", "resize", "gray")}
    assert known == {
        "kind": "labelled-pixels",
        "labels": ["bottom", "top"],
        "size": 16,
        "channels": channels,
        "resize": "crop",
        "gray": channels == 1,
    }
    for seed, (split, rows) in enumerate(pictures.SIZES.items()):
        expected = pictures.halves(rows, seed, 16, channels)
        assert dataset.table(split)["label"].to_pylist() == [label for _, label in expected]
        stored = pixels_of(dataset, split)
        assert np.array_equal(stored, np.stack([pixels for pixels, _ in expected]).reshape(stored.shape))


def test_mean_and_deviation_are_those_of_the_training_pictures_alone(store: Store, tmp_path: Path) -> None:
    dark = [(np.full((16, 16, 3), value, dtype=np.uint8), 0) for value in (10, 20)]
    dark[0][0][:, :, 2] = 200
    bright = [(np.full((16, 16, 3), 255, dtype=np.uint8), 1)]
    address = pictures.write(store, {"train": dark, "validation": bright, "test": bright})
    dataset = open_dataset(store, made_of(store, tmp_path, labelled=address).labelled)
    train = pixels_of(dataset, "train") / 255
    assert dataset.meta["mean"] == pytest.approx(train.mean(axis=(0, 1, 2)).tolist(), abs=1e-12)
    assert dataset.meta["deviation"] == pytest.approx(train.std(axis=(0, 1, 2)).tolist(), abs=1e-12)


def test_a_channel_that_never_changes_divides_by_one(store: Store, tmp_path: Path) -> None:
    same = [(np.full((16, 16), 51, dtype=np.uint8), label) for label in (0, 1)]
    dataset = open_dataset(store, made_of(store, tmp_path, labelled=pictures.write(store, {"train": same})).labelled)
    assert (dataset.meta["mean"], dataset.meta["deviation"]) == ([0.2], [1.0])


def test_neither_batches_nor_stores_change_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses, shards = set(), set()
    for name, most in (("one", 1 << 25), ("two", 700), ("three", 1)):
        monkeypatch.setattr(images, "_BATCH_BYTES", most)
        monkeypatch.setattr(images, "_SHARD_BYTES", 25 * 256)
        store = open_store(str(tmp_path / name / "store"))
        _, made = pictures.labelled_pixels(store, tmp_path / name)
        addresses.add((made.labelled, made.made_labelled))
        shards.add(tuple(shard.rows for shard in open_dataset(store, made.labelled).splits["train"]))
    assert len(addresses) == 1
    assert shards == {(25, 25, 25, 15)}


def test_size_and_channels_are_told_by_the_training_pictures(store: Store, tmp_path: Path) -> None:
    train = [(pixels, label) for side in (12, 20, 24) for pixels, label in pictures.halves(2, side, side)]
    colour = pictures.halves(1, side=16, channels=3)
    gray = open_dataset(
        store, made_of(store, tmp_path, labelled=pictures.write(store, {"train": train, "test": colour})).labelled
    )
    # A picture in colour among the test pictures does not make the training pictures so.
    assert (gray.meta["size"], gray.meta["channels"], gray.meta["gray"]) == (20, 1, True)
    mixed = pictures.write(store, {"train": train + colour, "test": colour})
    assert open_dataset(store, made_of(store, tmp_path, labelled=mixed).labelled).meta["channels"] == 3
    made = open_dataset(store, made_of(store, tmp_path, labelled=mixed, channels=1, size=8).labelled)
    assert (made.meta["size"], made.meta["channels"], made.meta["gray"]) == (8, 1, False)


def test_each_way_of_resizing_does_what_it_says(store: Store, tmp_path: Path) -> None:
    # Left half black, right half white, twice as wide as high.
    wide = np.zeros((16, 32), dtype=np.uint8)
    wide[:, 16:] = 255
    address = pictures.write(store, {"train": [(wide, 0)]})
    made = {}
    for way in ("crop", "stretch", "pad"):
        dataset = open_dataset(store, made_of(store, tmp_path, labelled=address, size=16, resize=way).labelled)
        made[way] = pixels_of(dataset, "train")
    assert np.array_equal(made["crop"][0, :, :, 0], wide[:, 8:24])
    expected = np.asarray(Image.fromarray(wide).resize((16, 16), Image.Resampling.BILINEAR))
    assert np.array_equal(made["stretch"][0, :, :, 0], expected)
    assert not made["pad"][0, :4].any()
    assert not made["pad"][0, 12:].any()
    assert made["pad"][0, 4:12, 9:].min() == 255


def test_labelled_pictures_take_what_the_corpus_came_to(store: Store, tmp_path: Path) -> None:
    corpus = pictures.write(store, {"train": pictures.halves(20, 8, 24), "validation": []}, labels=None)
    labelled = pictures.write(store, {"train": pictures.halves(20, 9, 16)})
    made = made_of(store, tmp_path, corpus, labelled)
    first, second = open_dataset(store, made.corpus), open_dataset(store, made.labelled)
    assert (first.meta["kind"], first.schema.names) == ("corpus-pixels", ["id", "pixels"])
    assert [first.meta[name] for name in ("size", "mean", "deviation")] == [
        second.meta[name] for name in ("size", "mean", "deviation")
    ]
    assert first.meta["mean"] == pytest.approx([pixels_of(first, "train").mean() / 255])
    assert read_made(store, made.made_labelled)["report"]["rows"] == 20


def test_a_damaged_picture_is_named_with_the_way_out(store: Store, tmp_path: Path) -> None:
    good = pictures.halves(5)
    cut = pictures.encoded(good[0][0])[:-30]
    address = pictures.write(store, {"train": [*good, (cut, 0)]})
    with pytest.raises(UserError, match=r"picture [0-9a-f]{32}: .*write ingest\.images\.check: true"):
        made_of(store, tmp_path, labelled=address, size=16)


def test_no_training_pictures_and_the_wish_to_stop_leave_nothing(store: Store, tmp_path: Path) -> None:
    address = pictures.write(store, {"train": [], "test": pictures.halves(3)})
    with pytest.raises(UserError, match="0 of 3 pictures in the train split; raise"):
        made_of(store, tmp_path, labelled=address)
    step = samples.step_of(store, tmp_path)
    step.stop_signal = 15
    address = pictures.write(store, {"train": pictures.halves(3)})
    with pytest.raises(Interrupted):
        run(step, PreprocessSettings(task=pictures.TASK), "", address, "")
    assert len(list(store.keys("datasets/"))) == 2
