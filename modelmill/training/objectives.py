"""What is learned: a function of model and batch that says how wrong the model is. The loop is the same for all."""

# T tokens, M positions of a batch that are predicted, N predictions, V vocabulary, C classes

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from modelmill.models.causal import next_logits
from modelmill.models.text import family
from modelmill.training.data import Batch


@dataclass(frozen=True)
class Scored:
    """A batch's loss, as a sum so that unequal batches can be averaged right."""

    loss: Tensor
    """Summed over the predictions; differentiable. In nats where a class or a token is predicted."""
    count: int
    """How many predictions there were."""
    sums: Mapping[str, Tensor]
    """Figures by name, summed over the predictions, of which validation tells the means: `accuracy`, `mse`."""


Objective = Callable[[Any, Batch], Scored]


def masked_lm(model: Any, batch: Batch) -> Scored:
    """Predict the hidden tokens; nothing is computed for the others after the last attention."""
    tensors = batch.tensors
    logits_MV = family(model).masked_logits(model, tensors["ids"], tensors["positions"], tensors["real"])
    return _cross_entropy(logits_MV, tensors["targets"])


def causal_lm(model: Any, batch: Batch) -> Scored:
    """Predict the next token wherever there is one."""
    tensors = batch.tensors
    wanted_BT = tensors["targets"] >= 0
    logits_MV = next_logits(model, tensors["ids"], wanted_BT, tensors.get("documents"))
    return _cross_entropy(logits_MV, tensors["targets"][wanted_BT])


def classification(model: Any, batch: Batch) -> Scored:
    """Predict a row's class."""
    tensors = batch.tensors
    return _cross_entropy(family(model).class_logits(model, tensors["ids"], tensors["attention"]), tensors["labels"])


def _cross_entropy(logits_NC: Tensor, targets_N: Tensor) -> Scored:
    logits_NC = logits_NC.float()
    loss = F.cross_entropy(logits_NC, targets_N, reduction="sum")
    correct = (logits_NC.detach().argmax(dim=1) == targets_N).sum()
    return Scored(loss=loss, count=len(targets_N), sums={"accuracy": correct})
