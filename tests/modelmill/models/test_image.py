"""Networks for pictures: each family builds, learns with every weight, and comes back from its folder as it was."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from modelmill.errors import UserError
from modelmill.models import image
from modelmill.models.architecture import ImageNetwork
from modelmill.models.image_config import ImageConfig, read_config
from modelmill.pictures.shape import PixelShape

LABELS = ("cat", "dog", "newt")
FAMILIES: list[dict[str, Any]] = [
    {"family": "lenet"},
    {"family": "convnet", "width": 8},
    {"family": "resnet18"},
    {"family": "resnet50"},
    {"family": "convnext_tiny"},
    {"family": "vit", "layers": 2, "width": 24, "heads": 2, "patch": 8},
]


def config(network: dict[str, Any], size: int = 32, channels: int = 1, **changes: Any) -> ImageConfig:
    told: dict[str, Any] = {
        "network": ImageNetwork.model_validate(network),
        "pixels": PixelShape(size=size, channels=channels, resize="crop", gray=channels == 1),  # type: ignore[arg-type]
        "mean": (0.4,) * channels,
        "deviation": (0.2,) * channels,
        "labels": LABELS,
    }
    return ImageConfig.model_validate({**told, **changes})


def pixels(size: int = 32, channels: int = 1, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, size, size, channels), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize(("size", "channels"), [(32, 1), (96, 3)])
@pytest.mark.parametrize("network", FAMILIES, ids=lambda network: network["family"])
def test_every_family_learns_with_every_weight_and_comes_back_as_it_was(
    tmp_path: Path, network: dict[str, Any], size: int, channels: int
) -> None:
    torch.manual_seed(0)
    model = image.ImageModel(config(network, size, channels))
    model.train()
    logits_BL = model(pixels(size, channels))
    assert logits_BL.shape == (2, 3)
    torch.nn.functional.cross_entropy(logits_BL, torch.tensor([0, 2])).backward()  # type: ignore[no-untyped-call]
    still = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.abs().sum()]
    # The keys' bias shifts all scores alike, and softmax does not see it; it is a third of one weight.
    assert still == []
    image.save(model, tmp_path)
    again = image.load(tmp_path)
    assert again.config == model.config
    model.eval()
    again.eval()
    assert torch.equal(again(pixels(size, channels)), model(pixels(size, channels)))


def test_small_pictures_keep_more_of_themselves_in_a_resnet() -> None:
    """He et al. 2015, section 4.2: nothing is halved before the blocks."""

    def side_after_stem(size: int) -> int:
        net: Any = image.ImageModel(config({"family": "resnet18"}, size)).network
        x = torch.zeros(1, 1, size, size)
        return int(net.maxpool(net.conv1(x)).shape[-1])

    assert [side_after_stem(size) for size in (28, 64, 96)] == [28, 64, 24]


def test_pixels_are_normalised_as_the_configuration_says() -> None:
    model = image.ImageModel(config({"family": "lenet"}, channels=3, mean=(0.1, 0.5, 0.9), deviation=(0.5, 1.0, 2.0)))
    seen: list[torch.Tensor] = []
    model.network = torch.nn.Sequential()
    model.network.register_forward_hook(lambda _module, given, _out: seen.append(given[0]))
    x_BHWC = pixels(channels=3)
    model(x_BHWC)
    expected = (x_BHWC.double() / 255 - torch.tensor([0.1, 0.5, 0.9])) / torch.tensor([0.5, 1.0, 2.0])
    torch.testing.assert_close(seen[0], expected.permute(0, 3, 1, 2).float(), atol=1e-6, rtol=1e-5)


def test_a_start_keeps_the_last_layer_for_the_same_labels_and_makes_a_new_one_for_others(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = image.ImageModel(config({"family": "convnet", "width": 8}))
    image.save(model, tmp_path)
    theirs = model.network.state_dict()
    same = image.start(tmp_path, model.config.pixels, LABELS, 0.0).network.state_dict()
    assert all(torch.equal(same[name], weight) for name, weight in theirs.items())
    other = image.start(tmp_path, model.config.pixels, ("a", "b", "c"), 0.0)
    changed = [name for name, weight in other.network.state_dict().items() if not torch.equal(weight, theirs[name])]
    assert changed == ["head.weight", "head.bias"]
    assert other.config.labels == ("a", "b", "c")


def test_a_start_from_pictures_of_another_shape_is_refused_with_both(tmp_path: Path) -> None:
    image.save(image.ImageModel(config({"family": "lenet"})), tmp_path)
    cases = [
        (28, 1, "32 pixels a side, and the data's have 28; write preprocess.images.size: 32"),
        (32, 3, "1 channels, and the data's have 3; write preprocess.images.channels: 1"),
    ]
    for size, channels, message in cases:
        with pytest.raises(UserError, match=message):
            image.start(tmp_path, config({"family": "lenet"}, size, channels).pixels, LABELS, 0.0)


def test_weights_that_are_a_pickle_are_refused_unopened(tmp_path: Path) -> None:
    config({"family": "lenet"}).write(tmp_path)
    marker = tmp_path / "opened"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (marker,))

    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match=r"pytorch_model\.bin: refused: a pickle runs whatever .* model\.safetensors"):
        image.load(tmp_path)
    (tmp_path / "pytorch_model.bin").rename(tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"model\.safetensors: no safetensors"):
        image.load(tmp_path)
    assert not marker.exists()


def test_a_folder_that_lacks_something_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json: cannot be read \(No such file"):
        image.load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match=r"config\.json: not the configuration of an image model"):
        image.load(tmp_path)
    image.save(image.ImageModel(config({"family": "lenet"})), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    less = {name: weight for name, weight in weights.items() if name != "conv2.bias"}
    save_file(less, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"1 of 10 weights are missing, the first is 'conv2\.bias'"):
        image.load(tmp_path)
    save_file({**weights, "conv3.bias": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"1 weights are not known, the first is 'conv3\.bias'"):
        image.load(tmp_path)
    save_file({**weights, "fc2.bias": torch.zeros(83)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"fc2\.bias has the shape \(83,\), and config\.json describes one of \(84,\)"):
        image.load(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"1 file is missing, model\.safetensors; there is config\.json"):
        image.load(tmp_path)


def test_a_deviation_of_nothing_is_no_configuration(tmp_path: Path) -> None:
    config({"family": "lenet"}).write(tmp_path)
    told = json.loads((tmp_path / "config.json").read_text())
    for changed in ({"deviation": [0.0]}, {"mean": [0.1, 0.2]}):
        (tmp_path / "config.json").write_text(json.dumps({**told, **changed}))
        with pytest.raises(UserError, match="1 channels; each channel has one of both"):
            read_config(tmp_path)


@pytest.mark.parametrize(
    ("network", "size", "message"),
    [
        ({"family": "lenet"}, 11, "lenet needs pictures of at least 12 pixels a side, and these have 11; raise"),
        (
            {"family": "convnext_tiny"},
            15,
            "convnext_tiny needs pictures of at least 16 pixels a side",
        ),
        ({"family": "vit", "patch": 5}, 28, "5 does not divide 28, the side of the pictures in pixels"),
    ],
)
def test_pictures_that_do_not_fit_a_network_are_refused_with_both_numbers(
    network: dict[str, Any], size: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        image.ImageModel(config(network, size))
    image.ImageModel(config(network, 16 if network["family"] != "vit" else 30))


def test_a_model_that_is_loaded_has_the_order_of_memory_of_one_that_is_made(tmp_path: Path) -> None:
    made = image.ImageModel(config({"family": "convnet", "width": 8}))
    image.save(made, tmp_path)
    loaded = image.load(tmp_path)
    strides = {name: weight.stride() for name, weight in made.named_parameters()}
    assert {name: weight.stride() for name, weight in loaded.named_parameters()} == strides
