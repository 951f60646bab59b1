"""How much memory a computation holds at most: bytes of all tensors that are alive, without any of their numbers.

Under torch's fake tensors (shapes and types, nothing in them) the project's own models, objectives and optimisers run
as they will run, and no formula of a layer has to be kept in step with them.
"""

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_aten = torch.ops.aten


class Peak(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it lasts counts what is allocated and freed; where a number would be read off a fake tensor, says 1.

    So a mask that picks out of a tensor is taken as true everywhere: the most that it can pick. Whether any is true is
    answered by no: what is drawn again until nothing lies outside is drawn once.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        """Bytes alive now, of what was made while counting."""
        self.most = 0
        """The most that there were at once since the last `begin`."""
        self._known: set[int] = set()
        self._none: set[int] = set()
        """Storages of answers to whether any is true."""

    def begin(self) -> int:
        """Count the most from now on; return the bytes alive now."""
        self.most = self.live
        return self.live

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run one operation, and count what it made."""
        if func is _aten._local_scalar_dense.default:
            return 0 if args[0].untyped_storage()._cdata in self._none else 1
        instead = _INSTEAD.get(func)
        made = instead(args) if instead is not None else None
        if made is None:
            made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self._note(leaf)
        if func is _aten.any.default:
            self._none.add(made.untyped_storage()._cdata)
        return made

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes()
        self._known.add(key)
        self.live += size
        self.most = max(self.most, self.live)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._none.discard(key)
        self.live -= size


def _picked(args: Sequence[Any]) -> Tensor | None:
    """Return what a mask of truths picks: everything; None where no mask picks."""
    tensor, places = args[0], args[1]
    mask = _mask(places)
    if mask is None:
        return None
    picked: Tensor = tensor.new_empty((mask.numel(), *tensor.shape[mask.ndim :]))
    return picked


def _put(args: Sequence[Any]) -> Tensor | None:
    """Return a tensor after values were put where a mask of truths says."""
    return torch.empty_like(args[0]) if _mask(args[1]) is not None else None


def _mask(places: Sequence[Tensor | None]) -> Tensor | None:
    first = places[0] if len(places) == 1 else None
    return first if first is not None and first.dtype == torch.bool else None


_INSTEAD: Mapping[Any, Callable[[Sequence[Any]], Any]] = {
    _aten.index.Tensor: _picked,
    _aten.index_put.default: _put,
    _aten._unsafe_index_put.default: _put,
}
"""Picking by a mask, which would need its numbers."""
