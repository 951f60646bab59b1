"""A model divided over processes: each holds its share of weights, gradients and optimiser, and gathers a layer's
weights when it computes with them (fully sharded data parallel, arXiv:2304.11277).
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, distributed

from modelmill.errors import UserError
from modelmill.training.data import Batch
from modelmill.training.objectives import Objective, Scored
from modelmill.training.optimizer import Group
from modelmill.training.settings import Adafactor, Training


def check(settings: Training, *, gradual: bool) -> None:
    """Check that nothing is wanted that cannot be divided.

    Raises:
        UserError: something is.
    """
    if gradual:
        raise UserError("finetune.gradual: is not for shard, which fixes what learns; leave one of them out")
    if isinstance(settings.optimizer, Adafactor):
        raise UserError("optimizer: adafactor keeps rows and columns of whole matrices; with shard use adamw")
    if settings.compile:
        raise UserError(
            "compile: is not for shard, which gathers each layer's weights in between; leave one of them out"
        )
    if settings.precision == "fp16":
        raise UserError("precision: fp16 is not for shard; use bf16, which needs no scaled loss")


def divide(model: torch.nn.Module, objective: Objective, device: torch.device) -> tuple[torch.nn.Module, Objective]:
    """Return a copy of a model, divided over all processes, and its objective; the model itself stays whole.

    Collective: all processes call it, with the same weights.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    divided = copy.deepcopy(model)
    for layer in _layers(divided):
        fully_shard(layer, mesh=mesh)
    whole = _Objective(divided, objective)
    # What is in no layer too: gathered weights that stayed would not see the running mean, or a checkpoint, put in.
    fully_shard(whole, mesh=mesh, reshard_after_forward=True)
    return divided.to(device), whole.score


def _layers(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Return the layers of each stack but its last: a family may compute the last one in parts, as it likes."""
    stacks = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.ModuleList)}
    outer = [name for name in stacks if not any(name.startswith(f"{other}.") for other in stacks)]
    return [layer for name in outer for layer in stacks[name][:-1]]


class _Objective(torch.nn.Module):
    """An objective as a module: weights that are in no layer are gathered while it runs, whatever it calls."""

    def __init__(self, model: torch.nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self._objective = objective

    def forward(self, batch: Batch) -> tuple[Tensor, int, Mapping[str, Tensor]]:
        """Return loss, count and sums: tensors that are found in a tuple, and would not be in a class of ours."""
        scored = self._objective(self.model, batch)
        return scored.loss, scored.count, scored.sums

    def score(self, _model: Any, batch: Batch) -> Scored:
        """Score a batch by the objective."""
        loss, count, sums = self(batch)
        return Scored(loss=loss, count=count, sums=sums)


def same_groups(groups: Sequence[Group], model: torch.nn.Module, divided: torch.nn.Module) -> list[Group]:
    """Return groups of a model's weights as those of its divided copy."""
    names = {id(weight): name for name, weight in model.named_parameters()}
    own = dict(divided.named_parameters())
    return [Group([own[names[id(weight)]] for weight in group.weights], group.share) for group in groups]
