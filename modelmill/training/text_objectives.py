"""What is learned from texts."""

# B rows of a batch, M positions of a batch that are predicted, N predictions, V vocabulary, C classes

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from modelmill.models.causal import next_logits
from modelmill.models.sequence import target_logits
from modelmill.models.text import family
from modelmill.training.causal_data import NOTHING
from modelmill.training.data import Batch
from modelmill.training.objectives import Scored, classified, cross_entropy


def masked_lm(model: Any, batch: Batch) -> Scored:
    """Predict the hidden tokens; nothing is computed for the others after the last attention."""
    tensors = batch.tensors
    logits_MV = family(model).masked_logits(model, tensors["ids"], tensors["positions"], tensors["real"])
    return cross_entropy(logits_MV, tensors["targets"], model.training)


def causal_lm(model: Any, batch: Batch) -> Scored:
    """Predict the next token wherever there is one."""
    tensors = batch.tensors
    targets_N = tensors["targets"].flatten()
    # Rows are packed: to leave out the few positions without a next token would cost more than to compute them.
    logits_NV = next_logits(model, tensors["ids"], None, tensors.get("documents"))
    scored = cross_entropy(logits_NV, targets_N, model.training)
    # Last: where a number is read off a tensor, what is translated (`compile`) ends.
    return replace(scored, count=_wanted(targets_N))


def target_tokens(model: Any, batch: Batch, smoothing: float = 0.0) -> Scored:
    """Predict each token of a target, and its end, from the source and the true tokens before it.

    While the model learns, a share of the certainty goes to all tokens alike.
    """
    tensors = batch.tensors
    logits_MV = target_logits(model, tensors["ids"], tensors["attention"], tensors["inputs"], tensors["wanted"])
    return cross_entropy(logits_MV, tensors["targets"], model.training, smoothing)


def classification(model: Any, batch: Batch, smoothing: float = 0.0) -> Scored:
    """Predict a row's class; while learning, a share of the certainty goes to all classes alike."""
    return classified(class_logits(model, batch), batch, model.training, smoothing)


def class_logits(model: Any, batch: Batch) -> Tensor:
    """Return what a classifier says of a batch of texts [B, C]."""
    tensors = batch.tensors
    logits_BC: Tensor = family(model).classify(model, tensors["ids"], tensors["attention"], tensors.get("segments"))
    return logits_BC


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _wanted(targets_N: Tensor) -> int:
    """Return how many positions have a target."""
    return int((targets_N != NOTHING).sum())
