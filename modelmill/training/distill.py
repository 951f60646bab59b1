"""Learning from a teacher (arXiv:1503.02531): a model that is larger, or knows more, says how like the classes are."""

# B rows of a batch, C classes

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from modelmill.training.data import Batch
from modelmill.training.objectives import Objective, Scored


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A classification in two: what a model says of a batch, and how wrong that is."""

    logits: Callable[[Any, Batch], Tensor]
    """Model and batch → logits [B, C]."""
    scored: Callable[[Tensor, Batch, bool], Scored]
    """Logits, batch, and whether the model is learning → loss by the labels."""


def distilled(parts: Parts, teacher: torch.nn.Module, temperature: float, weight: float) -> Objective:
    """Return the objective of labels and of a teacher's answers to the same batches; validation is by labels alone.

    The teacher's share of the loss is the divergence between both models' probabilities, their logits divided by the
    temperature, times its square, so that its gradients are as large at any temperature (section 2 of the paper).
    """

    def objective(model: Any, batch: Batch) -> Scored:
        logits_BC = parts.logits(model, batch)
        by_labels = parts.scored(logits_BC, batch, model.training)
        if not model.training:
            return by_labels
        with torch.no_grad():
            wanted_BC = (parts.logits(teacher, batch).float() / temperature).log_softmax(dim=1)
        found_BC = (logits_BC.float() / temperature).log_softmax(dim=1)
        apart = F.kl_div(found_BC, wanted_BC, reduction="sum", log_target=True) * temperature**2
        return Scored(loss=(1 - weight) * by_labels.loss + weight * apart, count=by_labels.count, sums=by_labels.sums)

    return objective
