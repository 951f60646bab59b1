"""What is learned: a function of model and batch that says how wrong the model is. The loop is the same for all."""

# B batch, T tokens, K masked positions of a row at most, M masked positions of a batch
# D width, V vocabulary, C classes

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from modelmill.models.bert import encode_at
from modelmill.training.data import Batch


@dataclass(frozen=True)
class Scored:
    """A batch's loss, as a sum so that unequal batches can be averaged right."""

    loss: Tensor
    """In nats, summed; differentiable."""
    correct: Tensor
    """How many predictions were right."""
    count: int
    """How many predictions there were."""


Objective = Callable[[Any, Batch], Scored]


def masked_lm(model: Any, batch: Batch) -> Scored:
    """Predict the hidden tokens; nothing is computed for the others after the last attention."""
    hidden_BKD = encode_at(model.bert, batch.tensors["ids"], None, batch.tensors["positions"])
    logits_MV = model.cls(hidden_BKD[batch.tensors["real"]])
    return _cross_entropy(logits_MV, batch.tensors["targets"])


def classification(model: Any, batch: Batch) -> Scored:
    """Predict a row's class from its first token."""
    return _cross_entropy(
        class_logits(model, batch.tensors["ids"], batch.tensors["attention"]), batch.tensors["labels"]
    )


def class_logits(model: Any, ids_BT: Tensor, attention_BT: Tensor) -> Tensor:
    """Return a classifier's logits [B, C], as the model itself would give them."""
    first_B1 = torch.zeros((len(ids_BT), 1), dtype=torch.int64, device=ids_BT.device)
    hidden_B1D = encode_at(model.bert, ids_BT, attention_BT, first_B1)
    logits_BC: Tensor = model.classifier(model.dropout(model.bert.pooler(hidden_B1D)))
    return logits_BC


def _cross_entropy(logits_NC: Tensor, targets_N: Tensor) -> Scored:
    logits_NC = logits_NC.float()
    loss = F.cross_entropy(logits_NC, targets_N, reduction="sum")
    correct = (logits_NC.detach().argmax(dim=1) == targets_N).sum()
    return Scored(loss=loss, correct=correct, count=len(targets_N))
