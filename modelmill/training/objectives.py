"""What is learned: a function of model and batch that says how wrong the model is. The loop is the same for all."""

# B rows of a batch, T tokens, M positions of a batch that are predicted, N predictions, V vocabulary, C classes

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from modelmill.models.causal import next_logits
from modelmill.models.sequence import target_logits
from modelmill.models.text import family
from modelmill.training.causal_data import NOTHING
from modelmill.training.data import Batch


@dataclass(frozen=True)
class Scored:
    """A batch's loss, as a sum so that unequal batches can be averaged right."""

    loss: Tensor
    """Summed over the predictions; differentiable. In nats where a class or a token is predicted."""
    count: int
    """How many predictions there were."""
    sums: Mapping[str, Tensor]
    """Figures by name, summed over the predictions, of which validation tells the means: `accuracy`, `mse`; while a
    model learns they may be left out."""


Objective = Callable[[Any, Batch], Scored]


def masked_lm(model: Any, batch: Batch) -> Scored:
    """Predict the hidden tokens; nothing is computed for the others after the last attention."""
    tensors = batch.tensors
    logits_MV = family(model).masked_logits(model, tensors["ids"], tensors["positions"], tensors["real"])
    return _cross_entropy(logits_MV, tensors["targets"], model.training)


def causal_lm(model: Any, batch: Batch) -> Scored:
    """Predict the next token wherever there is one."""
    tensors = batch.tensors
    targets_N = tensors["targets"].flatten()
    # Rows are packed: to leave out the few positions without a next token would cost more than to compute them.
    logits_NV = next_logits(model, tensors["ids"], None, tensors.get("documents"))
    scored = _cross_entropy(logits_NV, targets_N, model.training)
    # Last: where a number is read off a tensor, what is translated (`compile`) ends.
    return replace(scored, count=_wanted(targets_N))


def target_tokens(model: Any, batch: Batch, smoothing: float = 0.0) -> Scored:
    """Predict each token of a target, and its end, from the source and the true tokens before it; smoothed as below."""
    tensors = batch.tensors
    logits_MV = target_logits(model, tensors["ids"], tensors["attention"], tensors["inputs"], tensors["wanted"])
    return _cross_entropy(logits_MV, tensors["targets"], model.training, smoothing)


def classification(model: Any, batch: Batch, smoothing: float = 0.0) -> Scored:
    """Predict a row's class; while learning, a share of the certainty goes to all classes alike."""
    return classified(class_logits(model, batch), batch, model.training, smoothing)


def class_logits(model: Any, batch: Batch) -> Tensor:
    """Return what a classifier says of a batch of texts [B, C]."""
    tensors = batch.tensors
    logits_BC: Tensor = family(model).classify(model, tensors["ids"], tensors["attention"], tensors.get("segments"))
    return logits_BC


def classified(logits_BC: Tensor, batch: Batch, learning: bool, smoothing: float = 0.0) -> Scored:
    """Score logits by the rows' labels."""
    return _cross_entropy(logits_BC, batch.tensors["labels"], learning, smoothing)


def row_classification(model: Any, batch: Batch) -> Scored:
    """Predict the class of a table's row."""
    return _cross_entropy(model(batch.tensors["features"]), batch.tensors["answers"], model.training)


def squared_error(model: Any, batch: Batch) -> Scored:
    """Predict the number of a table's row; `mse` is in the target's own unit."""
    outputs_B1 = model(batch.tensors["features"])
    loss = (outputs_B1.squeeze(1).float() - batch.tensors["answers"]).square().sum()
    return Scored(loss=loss, count=len(outputs_B1), sums={"mse": loss.detach().double() * model.config.target.unit**2})


def _cross_entropy(logits_NC: Tensor, targets_N: Tensor, learning: bool, smoothing: float = 0.0) -> Scored:
    logits_NC = logits_NC.float()
    smoothed = smoothing if learning else 0.0
    loss = F.cross_entropy(logits_NC, targets_N, reduction="sum", label_smoothing=smoothed, ignore_index=NOTHING)
    # Over a vocabulary the best of all is a tenth of a small model's step, and only validation reads it.
    sums = {} if learning else {"accuracy": (logits_NC.argmax(dim=1) == targets_N).sum()}
    return Scored(loss=loss, count=len(targets_N), sums=sums)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _wanted(targets_N: Tensor) -> int:
    """Return how many positions have a target."""
    return int((targets_N != NOTHING).sum())
