"""Tensors that are divided over processes, and the same ones whole."""

from collections.abc import Iterable

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def whole(tensor: Tensor) -> Tensor:
    """Return all of a tensor; of a divided one this is collective."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(own: Tensor, tensor: Tensor) -> Tensor:
    """Return a tensor that every process has whole as another one is: where it is, and divided as it is."""
    tensor = tensor.to(own.device)
    if not isinstance(own, DTensor):
        return tensor
    return distribute_tensor(tensor, own.device_mesh, own.placements, src_data_rank=None)


def shares(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return what of each tensor lies in this process: a view, for what is done to each number alike."""
    return [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors]
