"""Pretraining on pictures: learned, stopped and gone on, arrived in fine-tuning, refused where it does not fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from components.finetune.run import run as finetune
from components.finetune.settings import FinetuneSettings
from components.preprocess.run import run as preprocess
from components.preprocess.settings import PreprocessSettings
from components.pretrain.pictures import RECONSTRUCTIONS_FILE
from components.pretrain.run import run
from components.pretrain.settings import PretrainSettings
from modelmill.errors import Interrupted, ModelmillError, UserError
from modelmill.models import image
from modelmill.models.folder import fetch_model
from modelmill.models.image_networks import without_head
from modelmill.store import Store, open_store
from tests import pictures, samples
from tests.samples import StopAt

VIT = {"family": "vit", "layers": 2, "width": 32, "heads": 2, "patch": 4, "pool": "mean"}
CONVNET = {"family": "convnet", "width": 8}
MODELS = {"masked-autoencoder": VIT, "simclr": CONVNET}
OBJECTIVES = list(MODELS)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def settings(objective: str, **changes: Any) -> PretrainSettings:
    told = {
        "objective": objective,
        "model": MODELS[objective],
        "decoder": {"layers": 1, "width": 16, "heads": 2},
        # The noise within a patch cannot be guessed, its brightness can.
        "normalise_patches": False,
        "projection": 16,
        "steps": 40,
        "batch_rows": 16,
        "lr": 3e-3,
        "precision": "fp32",
        **changes,
    }
    return PretrainSettings.model_validate(told)


def pixels(store: Store, folder: Path, channels: int = 1, **images: Any) -> tuple[str, str]:
    """Return the addresses of a corpus and of labelled rows, as preprocessing makes them."""
    corpus = pictures.write(
        store, {"train": pictures.halves(80, 7, 16, channels), "validation": pictures.halves(20, 8, 16, channels)}, None
    )
    labelled = pictures.write(
        store, {"train": pictures.halves(40, 1, 16, channels), "validation": pictures.halves(20, 2, 16, channels)}
    )
    told = PreprocessSettings.model_validate({"task": pictures.TASK, "images": images})
    made = preprocess(samples.step_of(store, folder, "preprocess"), told, corpus, labelled, "")
    return made.corpus, made.labelled


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_what_is_learned_arrives_in_fine_tuning(store: Store, tmp_path: Path, objective: str, channels: int) -> None:
    corpus, labelled = pixels(store, tmp_path, channels)
    made = run(samples.step_of(store, tmp_path), settings(objective), corpus, "")
    curve = [
        event["values"]["validation_loss"]
        for event in samples.figures(tmp_path / "step.jsonl")
        if "validation_loss" in event["values"]
    ]
    assert len(curve) == 4
    assert curve[-1] < 0.985 * curve[0]
    assert "validation_perplexity" not in made.summary
    assert made.summary["epochs"] == 8
    folder = tmp_path / "pretrained"
    assert fetch_model(store, made.model, folder)["task"] == objective
    told = FinetuneSettings.model_validate(
        {"task": pictures.TASK, "epochs": 1, "lr": 1e-9, "batch_rows": 16, "precision": "fp32", "strategy": "head"}
    )
    tuned = finetune(samples.step_of(store, tmp_path, "tune"), told, labelled, made.model, "")
    fetch_model(store, tuned.model, tmp_path / "tuned")
    before, after = image.load(folder), image.load(tmp_path / "tuned")
    assert (before.config.labels, after.config.labels) == ((), pictures.LABELS)
    assert before.config.network == after.config.network
    asked = torch.from_numpy(pictures_of(channels))
    without_head(after.network)
    for model in (before, after):
        model.eval()
    if objective == "masked-autoencoder":
        # Running means of batch normalisation move also where no weight does.
        assert torch.allclose(before(asked), after(asked), atol=1e-5)
    for (name, weight), other in zip(before.network.named_parameters(), after.network.parameters(), strict=True):
        # What is behind the layers learned, as slowly as can be.
        assert torch.allclose(weight, other, atol=1e-6), name


def pictures_of(channels: int) -> Any:
    return np.stack([pixels.reshape(16, 16, channels) for pixels, _ in pictures.halves(4, 9, 16, channels)])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_training_stopped_twice_ends_with_the_bits_of_an_unbroken_one(tmp_path: Path, objective: str) -> None:
    told = settings(objective, dropout=0.1 if objective == "masked-autoencoder" else 0.0)
    whole, broken = (open_store(str(tmp_path / name / "store")) for name in ("whole", "broken"))
    corpus, _ = pixels(whole, tmp_path / "whole")
    pixels(broken, tmp_path / "broken")
    expected = run(samples.step_of(whole, tmp_path / "whole"), told, corpus, "").model
    for at in (12, 27):
        step = samples.step_of(broken, tmp_path / "broken")
        step.figures_to = StopAt(step, at)
        with pytest.raises(Interrupted):
            run(step, told, corpus, "")
    assert run(samples.step_of(broken, tmp_path / "broken"), told, corpus, "").model == expected


def test_hidden_patches_are_drawn_beside_the_pictures(store: Store, tmp_path: Path) -> None:
    corpus, _ = pixels(store, tmp_path)
    made = run(samples.step_of(store, tmp_path), settings("masked-autoencoder", steps=2), corpus, "")
    assert (made.summary["patches"], made.summary["hidden_patches"]) == (16, 12)
    fetch_model(store, made.model, tmp_path / "model")
    with Image.open(tmp_path / "model" / RECONSTRUCTIONS_FILE) as drawn:
        assert (drawn.mode, drawn.size) == ("L", (8 * 16, 3 * 16))


def test_pretraining_goes_on_from_a_base_and_refuses_one_for_other_pictures(store: Store, tmp_path: Path) -> None:
    corpus, _ = pixels(store, tmp_path)
    first = run(samples.step_of(store, tmp_path), settings("masked-autoencoder", steps=2), corpus, "")
    base = tmp_path / "base"
    fetch_model(store, first.model, base)
    told = settings("masked-autoencoder", steps=1, lr=1e-9, model=None, base=str(base))
    again = run(samples.step_of(store, tmp_path), told, corpus, samples.pinned(base))
    fetch_model(store, again.model, tmp_path / "again")
    ours, theirs = image.load(tmp_path / "again").state_dict(), image.load(base).state_dict()
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, atol=1e-6, rtol=0)
    coloured, _ = pixels(store, tmp_path / "rgb", 3)
    with pytest.raises(UserError, match=r"pictures of 1 channels, and the data's have 3; write preprocess\.images"):
        run(samples.step_of(store, tmp_path), told, coloured, samples.pinned(base))
    with pytest.raises(ModelmillError, match="was given no pin of it"):
        run(samples.step_of(store, tmp_path), told, corpus, "")
    small = run(samples.step_of(store, tmp_path), settings("simclr", steps=1), corpus, "")
    fetch_model(store, small.model, tmp_path / "convnet")
    odd = settings("masked-autoencoder", model=None, base=str(tmp_path / "convnet"))
    with pytest.raises(UserError, match="which a vit can, and the base is a convnet; use simclr"):
        run(samples.step_of(store, tmp_path), odd, corpus, samples.pinned(tmp_path / "convnet"))


def test_what_does_not_fit_is_refused_with_both_numbers(store: Store, tmp_path: Path) -> None:
    corpus, labelled = pixels(store, tmp_path)
    step = samples.step_of(store, tmp_path)
    with pytest.raises(UserError, match=r"0\.75 of 1 patches hides 1 of them; at least one must be hidden and one"):
        run(step, settings("masked-autoencoder", model={**VIT, "patch": 16}), corpus, "")
    with pytest.raises(UserError, match=r"0\.01 of 16 patches hides 0 of them"):
        run(step, settings("masked-autoencoder", mask_rate=0.01), corpus, "")
    with pytest.raises(UserError, match=r"model\.patch: 5 does not divide 16"):
        run(step, settings("masked-autoencoder", model={**VIT, "patch": 5}), corpus, "")
    with pytest.raises(ModelmillError, match="holds labelled-pixels, and pretraining reads corpus-tokens or corpus-"):
        run(step, settings("simclr"), labelled, "")
    lone = pictures.write(store, {"train": pictures.halves(1, 7), "validation": pictures.halves(3, 8)}, None)
    told = PreprocessSettings(task=pictures.TASK)
    made = preprocess(samples.step_of(store, tmp_path, "lone"), told, lone, "", "")
    with pytest.raises(UserError, match="1 pictures in its train split of 4, and simclr needs 2"):
        run(step, settings("simclr"), made.corpus, "")


@pytest.mark.parametrize(
    ("objective", "changes", "said"),
    [
        ("simclr", {"batch_rows": 1}, "batch_rows: 1, and simclr compares the pictures of a batch"),
        ("simclr", {"micro_rows": 4}, "micro_rows: 4 of 16 rows at once"),
        ("masked-autoencoder", {"model": CONVNET}, "convnet cannot leave patches out; use vit"),
        ("masked-autoencoder", {"augment": {"mixup": 0.2}}, "mixup and cutmix mix labels, and there are none"),
        ("masked-autoencoder", {"decoder": {"width": 33, "heads": 2}}, "width .33. must be a multiple of heads .2."),
        ("simclr", {"model": {"family": "bert"}}, "bert cannot learn simclr"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(objective: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        settings(objective, **changes)
