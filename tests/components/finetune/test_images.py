"""Fine-tuning of pictures: learned, stopped and gone on, started from a model, refused where it does not fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from components.finetune.run import run
from components.finetune.settings import FinetuneSettings
from modelmill.dataset import DatasetWriter, open_dataset
from modelmill.errors import Interrupted, ModelmillError, UserError
from modelmill.models import image
from modelmill.models.architecture import Architecture, ImageNetwork
from modelmill.models.folder import fetch_model
from modelmill.models.predict import load_predictor
from modelmill.store import Store, open_store
from tests import pictures, samples
from tests.samples import StopAt

NETWORK = ImageNetwork(family="convnet", width=8)
CHANGES = {"crop": 1, "flip": True, "mixup": 0.2, "cutmix": 1.0}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def settings(**changes: Any) -> FinetuneSettings:
    told = {
        "task": pictures.TASK,
        "model": NETWORK,
        "epochs": 4,
        "lr": 5e-3,
        "batch_rows": 16,
        "precision": "fp32",
        **changes,
    }
    return FinetuneSettings.model_validate(told)


def tuned(store: Store, tmp_path: Path, labelled: str, told: FinetuneSettings, base: str = "") -> tuple[Any, Path]:
    """Return what fine-tuning gave, and its model's folder."""
    made = run(samples.step_of(store, tmp_path), told, labelled, "", base)
    folder = tmp_path / made.model.replace("/", "-")
    fetch_model(store, made.model, folder)
    return made, folder


@pytest.mark.parametrize(("channels", "augment"), [(1, {}), (3, CHANGES)])
def test_a_network_learns_which_half_is_bright(
    store: Store, tmp_path: Path, channels: int, augment: dict[str, Any]
) -> None:
    _, made = pictures.labelled_pixels(store, tmp_path, channels)
    found, folder = tuned(store, tmp_path, made.labelled, settings(augment=augment, label_smoothing=0.1))
    assert found.summary["validation_accuracy"] > 0.9
    assert found.summary["steps"] == 4 * 6
    predictor = load_predictor(folder)
    test = pictures.halves(40, 77, 16, channels)
    answers = predictor.predict([pictures.encoded(pixels) for pixels, _ in test]).argmax(axis=1)
    assert np.mean(answers == [label for _, label in test]) > 0.9
    model = image.load(folder)
    meta = open_dataset(store, made.labelled).meta
    assert list(model.config.mean) == meta["mean"]
    assert list(model.config.deviation) == meta["deviation"]
    assert model.config.labels == pictures.LABELS


@pytest.mark.parametrize("network", [NETWORK, ImageNetwork(family="vit", layers=1, width=16, heads=2, patch=8)])
def test_a_stopped_training_with_every_change_of_pictures_goes_on_to_the_same_model(
    tmp_path: Path, network: ImageNetwork
) -> None:
    whole, broken = (open_store(str(tmp_path / name / "store")) for name in ("whole", "broken"))
    _, made = pictures.labelled_pixels(whole, tmp_path / "whole")
    pictures.labelled_pixels(broken, tmp_path / "broken")
    told = settings(augment=CHANGES, label_smoothing=0.1, model=network, dropout=0.2)
    expected = run(samples.step_of(whole, tmp_path / "whole"), told, made.labelled, "", "").model
    for at in (8, 15):
        step = samples.step_of(broken, tmp_path / "broken")
        step.figures_to = StopAt(step, at)
        with pytest.raises(Interrupted):
            run(step, told, made.labelled, "", "")
    assert run(samples.step_of(broken, tmp_path / "broken"), told, made.labelled, "", "").model == expected


def test_it_starts_from_a_model_of_ours_with_its_own_normalisation(store: Store, tmp_path: Path) -> None:
    _, made = pictures.labelled_pixels(store, tmp_path)
    _, folder = tuned(store, tmp_path, made.labelled, settings())
    theirs = image.load(folder)
    dark = [(pixels // 2, label) for pixels, label in pictures.halves(60, 5)]
    address = pictures.write(store, {"train": dark, "validation": dark})
    from components.preprocess.run import run as preprocess
    from components.preprocess.settings import PreprocessSettings

    base = samples.pinned(folder)
    told = PreprocessSettings(task=pictures.TASK)
    labelled = preprocess(samples.step_of(store, tmp_path, "again"), told, "", address, base).labelled
    still = settings(epochs=1, lr=1e-9, model=None)
    _, again = tuned(store, tmp_path, labelled, still, base)
    ours = image.load(again)
    assert ours.config.mean == theirs.config.mean != tuple(open_dataset(store, labelled).meta["mean"])
    for (name, weight), other in zip(ours.network.named_parameters(), theirs.network.parameters(), strict=True):
        assert torch.allclose(weight, other, atol=1e-6), name
    _, random = tuned(store, tmp_path, labelled, settings(epochs=1, lr=1e-9, model=None, start="random"), base)
    scratch = image.load(random)
    assert scratch.config.network == theirs.config.network
    assert not torch.allclose(scratch.network.head.weight, theirs.network.head.weight, atol=1e-3)  # type: ignore[union-attr, arg-type]


def test_a_base_for_other_pictures_and_a_network_for_texts_are_refused(store: Store, tmp_path: Path) -> None:
    _, made = pictures.labelled_pixels(store, tmp_path)
    _, folder = tuned(store, tmp_path, made.labelled, settings(epochs=1))
    _, larger = pictures.labelled_pixels(store, tmp_path, size=24)
    step = samples.step_of(store, tmp_path)
    with pytest.raises(UserError, match=r"of 16 pixels a side, and the data's have 24; write preprocess\.images\.size"):
        run(step, settings(model=None), larger.labelled, "", samples.pinned(folder))
    with pytest.raises(UserError, match=r"finetune\.model: bert does not look at pictures; use convnet or resnet18"):
        run(step, settings(model=Architecture()), made.labelled, "", "")


def test_a_label_out_of_range_and_an_empty_split_are_refused(store: Store, tmp_path: Path) -> None:
    _, made = pictures.labelled_pixels(store, tmp_path)
    dataset = open_dataset(store, made.labelled)
    step = samples.step_of(store, tmp_path)
    for label in (2, -1):
        writer = DatasetWriter(store, dataset.schema, dataset.meta)
        table = dataset.table("train")
        labels = table["label"].to_pylist()
        labels[3] = label
        changed = table.set_column(2, dataset.schema.field("label"), pa.array(labels, pa.int32()))
        writer.add("train", changed)
        writer.add("validation", dataset.table("validation"))
        with pytest.raises(ModelmillError, match=f"row 3 of 90 in the train split has label {label}, and there are 2"):
            run(step, settings(), writer.commit().address, "", "")
    writer = DatasetWriter(store, dataset.schema, dataset.meta)
    writer.add("train", dataset.table("train"))
    with pytest.raises(UserError, match=r"0 rows in the validation split of 90; raise ingest\.split\.validation"):
        run(step, settings(), writer.commit().address, "", "")
