"""The optimisers, one learning rate for all their weights, and their state as plain tensors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modelmill.errors import ModelmillError
from modelmill.training.divided import like, shares
from modelmill.training.settings import SGD, Adadelta, Adafactor, Adam, RMSprop, Training

# Of Adafactor: what stands for a matrix of squares.
_FACTORS = {"row_var", "col_var"}


@dataclass(frozen=True)
class Group:
    """Weights that learn at the same share of the learning rate."""

    weights: Sequence[torch.nn.Parameter]
    share: float = 1.0


def one_group(model: torch.nn.Module) -> list[Group]:
    """Return all weights that learn, at the full rate."""
    return [Group([weight for weight in model.parameters() if weight.requires_grad])]


def make(groups: Sequence[Group], settings: Training) -> torch.optim.Optimizer:
    """Return the optimiser of some weights; biases and the scales of normalisation do not decay."""
    parts = [_part(group, settings, decays) for group in groups for decays in (True, False)]
    made = _made([part for part in parts if part["params"]], settings)
    made.register_step_pre_hook(_shrink)
    return made


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Make this the learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["share"]


def penalise(optimizer: torch.optim.Optimizer, l1: float, l2: float) -> None:
    """Add to the gradients those of l1 times the sum of sizes and of l2 times half the sum of squares."""
    for group in optimizer.param_groups:
        learning = [weight for weight in group["params"] if weight.grad is not None]
        if not group["decays"] or not learning:
            continue
        weights, gradients = shares(learning), shares(weight.grad for weight in learning)
        with torch.no_grad():
            if l2:
                torch._foreach_add_(gradients, weights, alpha=l2)
            if l1:
                torch._foreach_add_(gradients, torch._foreach_sign(weights), alpha=l1)


def state_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's state as tensors named '<weight's number>.<kind>'."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{kind}": tensor
        for number, kinds in state.items()
        for kind, tensor in kinds.items()
        # SGD without momentum says that it has none.
        if tensor is not None
    }


def check_state_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Check that `state_tensors` of an optimiser of such weights could have given these.

    Raises:
        ModelmillError: a name or a shape is of other weights.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for name, tensor in tensors.items():
        number, _, kind = name.partition(".")
        if not number.isdecimal() or int(number) >= len(weights):
            raise ModelmillError(f"the optimiser's state names the weight {number!r}, and {len(weights)} learn")
        shape = tuple(weights[int(number)].shape)
        if tensor.ndim and kind not in _FACTORS and tuple(tensor.shape) != shape:
            raise ModelmillError(f"the optimiser's {name} has shape {tuple(tensor.shape)}, and the weight {shape}")


def load_state_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `state_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        place, kind = name.split(".")
        state.setdefault(int(place), {})[kind] = tensor
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for number, kinds in state.items():
        own = weights[number]
        state[number] = {kind: like(own, one) if one.shape == own.shape else one for kind, one in kinds.items()}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for weight, kept in optimizer.state.items():
        # Fused steps go through memory in one order: a tensor like a weight must lie as the weight does.
        kept.update(
            {name: torch.empty_like(weight).copy_(one) for name, one in kept.items() if one.shape == weight.shape}
        )


def _part(group: Group, settings: Training, decays: bool) -> dict[str, Any]:
    weights = [weight for weight in group.weights if (weight.ndim > 1) is decays]
    decay = settings.weight_decay if decays else 0.0
    # Of torch's own, only these two take the decay apart from the gradient.
    inside = isinstance(settings.optimizer, Adam | Adafactor)
    return {
        "params": weights,
        "share": group.share,
        "decays": decays,
        "weight_decay": decay if inside else 0.0,
        "shrink": 0.0 if inside else decay,
    }


def _made(parts: list[dict[str, Any]], settings: Training) -> torch.optim.Optimizer:
    told = settings.optimizer
    makers: dict[type, Callable[[Any], torch.optim.Optimizer]] = {
        SGD: lambda o: torch.optim.SGD(parts, lr=0.0, momentum=o.momentum, nesterov=o.nesterov),
        Adam: lambda o: torch.optim.AdamW(parts, lr=0.0, betas=(o.beta1, o.beta2), eps=o.epsilon, fused=True),
        RMSprop: lambda o: torch.optim.RMSprop(parts, lr=0.0, alpha=o.alpha, momentum=o.momentum, eps=o.epsilon),
        Adadelta: lambda o: torch.optim.Adadelta(parts, lr=0.0, rho=o.rho, eps=o.epsilon),
        Adafactor: lambda o: torch.optim.Adafactor(parts, lr=0.0, d=o.clip),
    }
    return makers[type(told)](told)


def _shrink(optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
    """Take the weight decay of optimisers that would put it into the gradient."""
    for group in optimizer.param_groups:
        weights = shares(weight for weight in group["params"] if weight.grad is not None)
        if group["shrink"] and weights:
            with torch.no_grad():
                torch._foreach_mul_(weights, 1 - group["lr"] * group["shrink"])
