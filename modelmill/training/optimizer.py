"""AdamW, its learning rate over the steps, and its state as plain tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor

# BERT, appendix A.2 (arXiv:1810.04805).
_BETAS = (0.9, 0.999)
_EPSILON = 1e-6


def adamw(model: torch.nn.Module, weight_decay: float) -> torch.optim.AdamW:
    """Return the optimiser of a model's weights; biases and the scales of normalisation do not decay."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": weight_decay},
        {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=_BETAS, eps=_EPSILON, fused=True)


def rate(step: int, steps: int, warmup: float) -> float:
    """Return the factor on the learning rate of a step counted from 0: up over a share of the steps, then down to 0."""
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return (steps - step) / max(steps - rising, 1.0)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Make this the learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def state_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's state as tensors named '<weight's number>.<kind>'."""
    state = optimizer.state_dict()["state"]
    return {f"{number}.{kind}": tensor for number, kinds in state.items() for kind, tensor in kinds.items()}


def load_state_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `state_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, kind = name.split(".")
        state.setdefault(int(number), {})[kind] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for weight, kinds in optimizer.state.items():
        # Fused steps go through memory in one order: a tensor like a weight must lie as the weight does.
        kinds.update(
            {name: torch.empty_like(weight).copy_(one) for name, one in kinds.items() if one.shape == weight.shape}
        )
