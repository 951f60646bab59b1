"""Convolution of small maps as a product of matrices, where a processor is faster so.

oneDNN computes in bf16 slowly where a map has few positions. Of 512 channels over maps of 4 x 4 of 64 pictures, on two
cores with matrix units: forward 17 ms and not 7, the gradient of the maps 24 ms and not 9, of the weights 55 ms and not
9. Of 256 channels over 8 x 8 the gradient of the weights took 21 ms and not 11, the others were no slower than the
product; over 16 x 16 the product has too much to copy.
"""

# B batch, C channels read, O channels made, H rows, W columns, K side of a kernel
# P = B * H * W positions, N = K * K * C numbers that a position reads

import itertools
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Positions of a picture's map up to which the product is faster: for the gradient of the weights, and for all.
_SMALL, _TINY = 64, 16


class SmallMapConv2d(nn.Conv2d):
    """A convolution that computes small maps in bf16 on a processor as a product; elsewhere it is torch's own."""

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        """Return the maps made [B, O, H, W] of those read [B, C, H, W]."""
        if not _halved(maps_BCHW) or not self._small(maps_BCHW.shape[2:]):
            return super().forward(maps_BCHW)
        with torch.autocast("cpu", enabled=False):
            found = _Product.apply(maps_BCHW.bfloat16(), self.weight.bfloat16(), self.stride[0], self.padding[0])
        return cast(Tensor, found)

    def _small(self, sides: torch.Size) -> bool:
        padding = cast(tuple[int, ...], self.padding)
        high, wide = (_positions(side, self.kernel_size[0], self.stride[0], padding[0]) for side in sides)
        return 0 < high * wide <= _SMALL


def replace_convolutions(network: nn.Module) -> None:
    """Let a network's plain convolutions compute small maps so; names and weights stay."""
    for name, module in list(network.named_modules()):
        if type(module) is nn.Conv2d and _is_plain(module):
            network.set_submodule(name, _like(module))


def _is_plain(module: nn.Conv2d) -> bool:
    square = all(len(set(pair)) == 1 for pair in (module.kernel_size, module.stride, module.padding))
    whole = module.groups == 1 and set(module.dilation) == {1} and module.bias is None
    return whole and square and not isinstance(module.padding, str) and module.padding_mode == "zeros"


def _like(module: nn.Conv2d) -> SmallMapConv2d:
    made = SmallMapConv2d(
        module.in_channels,
        module.out_channels,
        cast(tuple[int, int], module.kernel_size),
        cast(tuple[int, int], module.stride),
        cast(tuple[int, int], module.padding),
        bias=False,
        device="meta",
    )
    made.weight = module.weight
    return made.train(module.training)


def _halved(maps_BCHW: Tensor) -> bool:
    if maps_BCHW.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps_BCHW: Tensor, weight_OCKK: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(maps_BCHW, weight_OCKK)
        ctx.stride, ctx.padding = stride, padding
        side = weight_OCKK.shape[2]
        high, wide = (_positions(length, side, stride, padding) for length in maps_BCHW.shape[2:])
        if high * wide > _TINY:
            return F.conv2d(maps_BCHW, weight_OCKK, None, stride, padding)
        made_PO = _columns(maps_BCHW, side, stride, padding) @ _kernels(weight_OCKK).t()
        return made_PO.view(len(maps_BCHW), high, wide, -1).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        slope_BOHW = slopes[0].contiguous(memory_format=torch.channels_last)
        maps_BCHW, weight_OCKK = ctx.saved_tensors
        of_maps = of_weight = None
        if ctx.needs_input_grad[0]:
            of_maps = _slope_of_maps(slope_BOHW, maps_BCHW, weight_OCKK, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            channels, side = weight_OCKK.shape[1:3]
            columns_PN = _columns(maps_BCHW, side, ctx.stride, ctx.padding)
            of_weight = (_rows(slope_BOHW).t() @ columns_PN).view(-1, side, side, channels).permute(0, 3, 1, 2)
        return of_maps, of_weight, None, None


def _slope_of_maps(slope_BOHW: Tensor, maps_BCHW: Tensor, weight_OCKK: Tensor, stride: int, padding: int) -> Tensor:
    batch, _, high, wide = slope_BOHW.shape
    if high * wide > _TINY:
        told = [[stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, [True, False, False]]
        found = torch.ops.aten.convolution_backward(slope_BOHW, maps_BCHW, weight_OCKK, None, *told)
        return cast(Tensor, found[0])
    channels, side = weight_OCKK.shape[1:3]
    columns_BHWKKC = (_rows(slope_BOHW) @ _kernels(weight_OCKK)).view(batch, high, wide, side, side, channels)
    rows, columns = (length + 2 * padding for length in maps_BCHW.shape[2:])
    # What overlaps is added in fp32, as within a product.
    sums_BHWC = torch.zeros(batch, rows, columns, channels)
    for down, across in itertools.product(range(side), range(side)):
        read = sums_BHWC[:, down : down + stride * high : stride, across : across + stride * wide : stride]
        read[:, :high, :wide] += columns_BHWKKC[:, :, :, down, across]
    inner = sums_BHWC[:, padding : rows - padding, padding : columns - padding]
    return inner.to(maps_BCHW.dtype).permute(0, 3, 1, 2)


def _columns(maps_BCHW: Tensor, side: int, stride: int, padding: int) -> Tensor:
    """Return what each position of the made maps reads [P, N], as kernels hold it: rows, columns, channels."""
    maps_BHWC = F.pad(maps_BCHW.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding)).contiguous()
    batch, high, wide, channels = maps_BHWC.shape
    read = maps_BHWC.as_strided(
        (batch, (high - side) // stride + 1, (wide - side) // stride + 1, side, side * channels),
        (high * wide * channels, stride * wide * channels, stride * channels, wide * channels, 1),
    )
    return read.reshape(-1, side * side * channels)


def _rows(maps_BCHW: Tensor) -> Tensor:
    """Return a row of channels for each position [P, C]."""
    return maps_BCHW.permute(0, 2, 3, 1).reshape(-1, maps_BCHW.shape[1])


def _kernels(weight_OCKK: Tensor) -> Tensor:
    """Return a row for each kernel [O, N]: rows, columns, channels."""
    return weight_OCKK.permute(0, 2, 3, 1).flatten(1)


def _positions(length: int, side: int, stride: int, padding: int) -> int:
    return (length + 2 * padding - side) // stride + 1
