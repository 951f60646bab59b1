"""Tensors that are divided over processes, and the same ones whole."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeGuard

from torch import Tensor

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def whole(tensor: Tensor) -> Tensor:
    """Return all of a tensor; of a divided one this is collective."""
    return tensor.full_tensor() if _divided(tensor) else tensor


def like(own: Tensor, tensor: Tensor) -> Tensor:
    """Return a tensor that every process has whole as another one is: where it is, and divided as it is."""
    tensor = tensor.to(own.device)
    if not _divided(own):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, own.device_mesh, own.placements, src_data_rank=None)


def shares(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return what of each tensor lies in this process: a view, for what is done to each number alike."""
    return [tensor.to_local() if _divided(tensor) else tensor for tensor in tensors]


def _divided(tensor: Tensor) -> "TypeGuard[DTensor]":
    # Its import takes a second; as long as nobody has made it, no tensor is one.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)
