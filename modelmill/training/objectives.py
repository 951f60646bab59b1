"""What is learned: a function of model and batch that says how wrong the model is. The loop is the same for all.

Those of texts are in `modelmill.training.text_objectives`: what learns pictures or rows does without transformers,
which takes seconds to load.
"""

# B rows of a batch, N predictions, C classes

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F

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


def classified(logits_BC: Tensor, batch: Batch, learning: bool, smoothing: float = 0.0) -> Scored:
    """Score logits by the rows' labels; while learning, a share of the certainty goes to all classes alike."""
    return cross_entropy(logits_BC, batch.tensors["labels"], learning, smoothing)


def row_classification(model: Any, batch: Batch) -> Scored:
    """Predict the class of a table's row."""
    return cross_entropy(model(batch.tensors["features"]), batch.tensors["answers"], model.training)


def squared_error(model: Any, batch: Batch) -> Scored:
    """Predict the number of a table's row; `mse` is in the target's own unit."""
    outputs_B1 = model(batch.tensors["features"])
    loss = (outputs_B1.squeeze(1).float() - batch.tensors["answers"]).square().sum()
    return Scored(loss=loss, count=len(outputs_B1), sums={"mse": loss.detach().double() * model.config.target.unit**2})


def cross_entropy(logits_NC: Tensor, targets_N: Tensor, learning: bool, smoothing: float = 0.0) -> Scored:
    """Score logits by the right classes, where there is one; smoothed as above."""
    logits_NC = logits_NC.float()
    smoothed = smoothing if learning else 0.0
    loss = F.cross_entropy(logits_NC, targets_N, reduction="sum", label_smoothing=smoothed, ignore_index=NOTHING)
    # Over a vocabulary the best of all is a tenth of a small model's step, and only validation reads it.
    sums = {} if learning else {"accuracy": (logits_NC.argmax(dim=1) == targets_N).sum()}
    return Scored(loss=loss, count=len(targets_N), sums=sums)
