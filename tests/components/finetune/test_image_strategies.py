"""Which weights of a network for pictures learn, by strategy."""

from pathlib import Path
from typing import Any

import pytest
import torch

from components.finetune.run import run
from components.finetune.settings import FinetuneSettings
from modelmill.errors import UserError
from modelmill.models import image
from modelmill.models.folder import fetch_model
from modelmill.store import open_store
from tests import pictures, samples

VIT = {"family": "vit", "layers": 2, "width": 16, "heads": 2, "patch": 8}
CONVNET = {"family": "convnet", "width": 8}
FIRST, SECOND = "encoder.layers.encoder_layer_0.", "encoder.layers.encoder_layer_1."
BEHIND = ("encoder.ln.", "heads.")


def changed(tmp_path: Path, network: dict[str, Any], **told: Any) -> set[str]:
    """Return the names of the weights that are others after two epochs than after none worth the name."""
    store = open_store(str(tmp_path / "store"))
    _, made = pictures.labelled_pixels(store, tmp_path)
    folders = []
    for name, lr in (("still", 1e-12), ("moved", 1e-2)):
        settings = FinetuneSettings.model_validate(
            {
                "task": pictures.TASK, "model": network, "epochs": 2, "lr": lr, "batch_rows": 30, "precision": "fp32",
                "best": "last", "warmup": 0.0, **told,
            }
        )  # fmt: skip
        model = run(samples.step_of(store, tmp_path, name), settings, made.labelled, "", "").model
        folders.append(tmp_path / name)
        fetch_model(store, model, folders[-1])
    still, moved = (dict(image.load(folder).network.named_parameters()) for folder in folders)
    return {name for name in still if not torch.allclose(still[name], moved[name], atol=1e-6)}


@pytest.mark.parametrize(
    ("strategy", "learns"),
    [
        ("head", BEHIND),
        ({"name": "last", "layers": 1}, (SECOND, *BEHIND)),
        ({"name": "layers", "weights": ["network.encoder.layers.encoder_layer_0.mlp.*"]}, (f"{FIRST}mlp.",)),
    ],
)
def test_what_a_strategy_names_learns_and_nothing_else(tmp_path: Path, strategy: Any, learns: tuple[str, ...]) -> None:
    found = changed(tmp_path, VIT, strategy=strategy)
    assert found
    assert all(name.startswith(learns) for name in found)
    assert all(any(name.startswith(start) for name in found) for start in learns)


def test_lora_learns_the_dense_layers_and_is_merged_into_them(tmp_path: Path) -> None:
    found = changed(tmp_path, VIT, strategy={"name": "lora", "rank": 2})
    dense = {f"{layer}mlp.{place}.weight" for layer in (FIRST, SECOND) for place in (0, 3)}
    assert dense == {name for name in found if not name.startswith(BEHIND)}


def test_gradual_unfreezing_reaches_the_last_layer_in_the_second_epoch(tmp_path: Path) -> None:
    found = changed(tmp_path, VIT, gradual=True)
    assert any(name.startswith(SECOND) for name in found)
    assert not any(name.startswith(FIRST) for name in found)


def test_the_blocks_of_a_convnet_are_layers_with_rates_of_their_own(tmp_path: Path) -> None:
    assert {name.partition(".")[0] for name in changed(tmp_path, CONVNET, strategy="head")} == {"head"}
    assert {name.partition(".")[0] for name in changed(tmp_path / "b", CONVNET, layer_decay=1e-6)} == {"head"}


def test_what_a_network_has_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is the name of no dense layer under network"):
        changed(tmp_path, CONVNET, strategy="lora")
    with pytest.raises(UserError, match="3 of the 2 layers that the model has"):
        changed(tmp_path, CONVNET, strategy={"name": "last", "layers": 3})


@pytest.mark.parametrize(
    ("network", "count"),
    [({"family": "lenet"}, 4), ({"family": "resnet18"}, 8), ({"family": "convnext_tiny"}, 7), (VIT, 2), (CONVNET, 2)],
)
def test_every_family_has_layers(network: dict[str, Any], count: int) -> None:
    from modelmill.models.architecture import ImageNetwork
    from modelmill.models.image_networks import build, layers_of
    from modelmill.pictures.shape import PixelShape

    shape = PixelShape(size=32, channels=1, resize="crop", gray=True)
    with torch.device("meta"):
        made = build(ImageNetwork.model_validate(network), shape, 2, 0.0)
    assert len(layers_of(made, network["family"])) == count
