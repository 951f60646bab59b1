"""What a family of encoders must answer, so that training and prediction are the same code for all."""

# B batch, T tokens, K positions of a row, M real ones of a batch, V vocabulary, C classes

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from modelmill.models.architecture import Architecture


@dataclass(frozen=True, kw_only=True)
class Family:
    """One way of building the layers."""

    masked_lm: Any
    """transformers' class of the encoder under a masked-language-model head."""
    classifier: Any
    """transformers' class of the encoder under a classifier."""
    heads: tuple[str, ...]
    """How the names of those weights begin that a model may lack when it starts from an encoder."""
    new_config: Callable[[Architecture, int, int, int], PreTrainedConfig] | None
    """Shape, vocabulary, most tokens of a row and the padding's id → the configuration of a new model; None where a
    model only ever starts from published weights."""
    masked_logits: Callable[[Any, Tensor, Tensor, Tensor], Tensor]
    """Language model, ids [B, T], wanted positions [B, K], which of them are real [B, K] → logits [M, V]."""
    class_logits: Callable[[Any, Tensor, Tensor], Tensor]
    """Classifier, ids [B, T], true at tokens and false at padding [B, T] → logits [B, C]."""
    unhindered: Callable[[torch.nn.Module], None]
    """Takes dropout out of attention, which so takes the fused kernels, on processors too, which have none with it."""

    def set_dropout(self, model: torch.nn.Module, share: float) -> None:
        """Drop this share of every dense map's output while training, and nothing inside attention."""
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = share
        self.unhindered(model)
