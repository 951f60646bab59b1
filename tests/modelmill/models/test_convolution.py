"""Convolutions of small maps as products of matrices, with the results of torch's own."""

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from modelmill.models.convolution import SmallMapConv2d, replace_convolutions

# B pictures, C channels, H rows, W columns


def _plain(side: int, stride: int, padding: int) -> nn.Conv2d:
    torch.manual_seed(3)
    return nn.Conv2d(5, 7, side, stride, padding, bias=False).to(memory_format=torch.channels_last)


def _replaced(plain: nn.Conv2d) -> nn.Module:
    holder = nn.Sequential(plain)
    replace_convolutions(holder)
    return holder[0]


def _learned(convolution: nn.Module, maps_BCHW: Tensor) -> list[Tensor]:
    """Return what is made of the maps, and the gradients of maps and weight."""
    read = maps_BCHW.clone().requires_grad_()
    convolution.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = convolution(read)
    slopes = torch.randn(made.shape, generator=torch.Generator().manual_seed(5))
    (made.float() * slopes).sum().backward()
    weight = convolution.weight.grad
    assert read.grad is not None
    assert isinstance(weight, Tensor)
    return [made.detach().float(), read.grad, weight.clone()]


@pytest.mark.parametrize("height", [3, 8])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("side", "padding"), [(1, 0), (3, 1), (3, 0), (2, 1)])
def test_maps_and_gradients_are_those_of_torch(side: int, padding: int, stride: int, height: int) -> None:
    maps_BCHW = torch.randn(4, 5, height, 6, generator=torch.Generator().manual_seed(4))
    exact = _plain(side, stride, padding)
    read = maps_BCHW.to(torch.bfloat16).float().requires_grad_()
    wanted = nn.functional.conv2d(read, exact.weight.to(torch.bfloat16).float(), None, stride, padding)
    slopes = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(5))
    (wanted * slopes).sum().backward()  # type: ignore[no-untyped-call]
    made, of_maps, of_weight = _learned(_replaced(_plain(side, stride, padding)), maps_BCHW)
    # bf16 keeps 8 bits.
    for found, right in [(made, wanted), (of_maps, read.grad), (of_weight, exact.weight.grad)]:
        assert right is not None
        near = right.detach().abs().max().item() / 64
        torch.testing.assert_close(found, right.detach(), atol=near, rtol=0)


def test_what_learned_once_learns_the_same_bits_again() -> None:
    maps_BCHW = torch.randn(4, 5, 4, 4, generator=torch.Generator().manual_seed(4))
    first, again = (_learned(_replaced(_plain(3, 1, 1)), maps_BCHW) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


@pytest.mark.parametrize(("height", "halved"), [(4, False), (9, True)])
def test_fp32_and_large_maps_are_left_to_torch(height: int, halved: bool) -> None:
    maps_BCHW = torch.randn(2, 5, height, height, generator=torch.Generator().manual_seed(4))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=halved):
        assert torch.equal(_replaced(_plain(3, 1, 1))(maps_BCHW), _plain(3, 1, 1)(maps_BCHW))


def test_a_network_keeps_the_names_of_its_weights_and_grouped_convolutions_stay() -> None:
    network, other = models.resnet18(num_classes=3), models.convnext_tiny(num_classes=3)
    names = list(network.state_dict())
    replace_convolutions(network)
    replace_convolutions(other)
    assert list(network.state_dict()) == names
    replaced = [module for module in network.modules() if isinstance(module, SmallMapConv2d)]
    assert len(replaced) == 20
    assert not any(isinstance(module, SmallMapConv2d) for module in other.modules())
