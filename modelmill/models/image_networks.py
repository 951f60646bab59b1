"""The networks that look at pictures, by family: ours are here, the others are torchvision's."""

# B batch, C channels, H rows, W columns

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from modelmill.errors import UserError
from modelmill.models.architecture import ImageNetwork
from modelmill.pictures.shape import PixelShape

SMALL_SIDE = 64
"""Pictures up to this side, in pixels, get a first layer that keeps more of them."""
HEADS = ("head.", "fc.", "classifier.2.", "heads.")
"""How the names of the last layer's weights begin."""
_LAST = ("head", "fc", "classifier.2", "heads")
"""Names of the last layer."""
_LAYERS = {
    "lenet": r"conv[12]|fc[12]",
    "convnet": r"block[12]",
    "resnet18": r"layer\d\.\d+",
    "resnet50": r"layer\d\.\d+",
    "convnext_tiny": r"features\.[1-7]",
    "vit": r"encoder\.layers\.\w+",
}
"""How the layers of each family are called: of a ResNet its blocks, of a ConvNeXt its stages and what is between."""
_Make = Callable[[ImageNetwork, PixelShape, int, float], nn.Module]


def build(network: ImageNetwork, pixels: PixelShape, classes: int, dropout: float) -> nn.Module:
    """Return a network with random weights: normalised pixels [B, C, H, W] to logits [B, classes].

    Raises:
        UserError: the pictures are too small for it, or no whole number of patches.
    """
    return _FAMILIES[network.family](network, pixels, classes, dropout)


def without_head(network: nn.Module) -> None:
    """Let a network end in what its last layer reads: features [B, width]."""
    names = {name for name, _ in network.named_modules()}
    network.set_submodule(next(name for name in _LAST if name in names), nn.Identity())


def layers_of(network: nn.Module, family: str) -> list[str]:
    """Return the names of a network's layers from the first to the last, its last dense layer left out."""
    names = [name for name, _ in network.named_modules()]
    return [name for name in names if re.fullmatch(_LAYERS[family], name)]


def _lenet(_network: ImageNetwork, pixels: PixelShape, classes: int, dropout: float) -> nn.Module:
    """LeNet-5 of LeCun et al. 1998 (doi:10.1109/5.726791), figure 2, in the variant that is usual today: ReLU for
    tanh, maximum for trained averages, all maps connected, a softmax for the distances. It pads 28 pixels to 32.
    """
    side = ((pixels.size // 2) - 4) // 2
    if side < 1:
        raise _too_small("lenet", pixels, 12)
    return _Named(
        conv1=nn.Conv2d(pixels.channels, 6, 5, padding=2),
        relu1=nn.ReLU(inplace=True),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(6, 16, 5),
        relu2=nn.ReLU(inplace=True),
        pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        fc1=nn.Linear(16 * side * side, 120),
        relu3=nn.ReLU(inplace=True),
        fc2=nn.Linear(120, 84),
        relu4=nn.ReLU(inplace=True),
        dropout=nn.Dropout(dropout),
        head=nn.Linear(84, classes),
    )


class _Named(nn.Sequential):
    """Layers in a row, by name."""

    def __init__(self, **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)


def _convnet(network: ImageNetwork, pixels: PixelShape, classes: int, dropout: float) -> nn.Module:
    """Two blocks of two 3 x 3 convolutions with batch normalisation, each halved; the second twice as wide."""
    if pixels.size < 8:
        raise _too_small("convnet", pixels, 8)
    width = network.width or 32
    return _Named(
        block1=nn.Sequential(*_convolution(pixels.channels, width), *_convolution(width, width), nn.MaxPool2d(2)),
        block2=nn.Sequential(*_convolution(width, 2 * width), *_convolution(2 * width, 2 * width), nn.MaxPool2d(2)),
        # Of large pictures the dense layer would be nearly all of the network.
        pool=nn.Identity() if pixels.size <= SMALL_SIDE else nn.AdaptiveAvgPool2d(SMALL_SIDE // 4),
        flatten=nn.Flatten(),
        dropout=nn.Dropout(dropout),
        head=nn.Linear(2 * width * (min(pixels.size, SMALL_SIDE) // 4) ** 2, classes),
    )


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    # Normalisation has a shift of its own.
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _resnet(network: ImageNetwork, pixels: PixelShape, classes: int, _dropout: float) -> nn.Module:
    """He et al. 2015; on small pictures with the first layer of section 4.2 (arXiv:1512.03385), for CIFAR-10: 3 x 3
    in steps of 1, and nothing halved before the blocks.
    """
    from torchvision import models

    net: nn.Module = getattr(models, network.family)(num_classes=classes)
    if pixels.size <= SMALL_SIDE:
        net.conv1 = nn.Conv2d(pixels.channels, 64, 3, padding=1, bias=False)
        net.maxpool = nn.Identity()
    elif pixels.channels != 3:
        net.conv1 = nn.Conv2d(pixels.channels, 64, 7, stride=2, padding=3, bias=False)
    if isinstance(net.conv1, nn.Conv2d):
        nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
    return net


def _convnext(_network: ImageNetwork, pixels: PixelShape, classes: int, _dropout: float) -> nn.Module:
    """Liu et al. 2022 (arXiv:2201.03545); small pictures are cut into patches of 2 x 2 and not of 4 x 4."""
    from torchvision import models

    patch = 2 if pixels.size <= SMALL_SIDE else 4
    if pixels.size < 8 * patch:
        raise _too_small("convnext_tiny", pixels, 8 * patch)
    net: Any = models.convnext_tiny(num_classes=classes)
    stem = nn.Conv2d(pixels.channels, 96, patch, stride=patch)
    nn.init.trunc_normal_(stem.weight, std=0.02)
    assert stem.bias is not None
    nn.init.zeros_(stem.bias)
    net.features[0][0] = stem
    made: nn.Module = net
    return made


def _vit(network: ImageNetwork, pixels: PixelShape, classes: int, dropout: float) -> nn.Module:
    """Dosovitskiy et al. 2021 (arXiv:2010.11929), by its sizes."""
    from modelmill.models.vit import VisionTransformer

    patch, width = network.patch or 4, network.width or 192
    if pixels.size % patch:
        raise UserError(
            f"model.patch: {patch} does not divide {pixels.size}, the side of the pictures in pixels; take "
            "one that does, or another preprocess.images.size"
        )
    net = VisionTransformer(
        pool=network.pool or "class",
        image_size=pixels.size,
        patch_size=patch,
        num_layers=network.layers or 6,
        num_heads=network.heads or 3,
        hidden_dim=width,
        mlp_dim=4 * width,
        dropout=dropout,
        num_classes=classes,
    )
    if pixels.channels != 3:
        projection = nn.Conv2d(pixels.channels, width, patch, stride=patch)
        nn.init.trunc_normal_(projection.weight, std=(1 / (pixels.channels * patch * patch)) ** 0.5)
        assert projection.bias is not None
        nn.init.zeros_(projection.bias)
        net.conv_proj = projection
    # torchvision begins with zeros, with which the first step teaches nothing but the last layer.
    nn.init.trunc_normal_(net.heads.head.weight, std=0.02)
    return net


def _too_small(family: str, pixels: PixelShape, least: int) -> UserError:
    return UserError(
        f"finetune.model: {family} needs pictures of at least {least} pixels a side, and these have {pixels.size}; "
        "raise preprocess.images.size"
    )


_FAMILIES: Mapping[str, _Make] = {
    "lenet": _lenet,
    "convnet": _convnet,
    "resnet18": _resnet,
    "resnet50": _resnet,
    "convnext_tiny": _convnext,
    "vit": _vit,
}


class Normalised(nn.Module):
    """A network with what stands before it: bytes of pixels become numbers of mean 0 and deviation 1."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, network: nn.Module, mean: tuple[float, ...], deviation: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        mean_C, deviation_C = torch.tensor(mean, dtype=torch.float64), torch.tensor(deviation, dtype=torch.float64)
        # (x / 255 - mean) / deviation, as one product and one sum. The configuration holds them, not the weights.
        self.register_buffer("scale", (1 / (255 * deviation_C)).float().view(-1, 1, 1), persistent=False)
        self.register_buffer("shift", (-mean_C / deviation_C).float().view(-1, 1, 1), persistent=False)

    def normalised(self, pixels_BHWC: torch.Tensor) -> torch.Tensor:
        """Return bytes of pixels as numbers of mean 0 and deviation 1 [B, C, H, W]."""
        # The view is in the order that convolutions are fastest in ("channels last"), and stays so.
        pixels_BCHW = pixels_BHWC.permute(0, 3, 1, 2).float()
        return pixels_BCHW.mul_(self.scale).add_(self.shift)

    def forward(self, pixels_BHWC: torch.Tensor) -> torch.Tensor:
        """Return logits [B, classes] of pixels, 0 to 255."""
        logits: torch.Tensor = self.network(self.normalised(pixels_BHWC))
        return logits
