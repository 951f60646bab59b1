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
    spans: Any
    """transformers' class of the encoder under scores of where an answer starts and ends."""
    heads: tuple[str, ...]
    """How the names of those weights begin that a model may lack when it starts from an encoder."""
    new_config: Callable[[Architecture, int, int, int], PreTrainedConfig] | None
    """Shape, vocabulary, most tokens of a row and the padding's id → the configuration of a new model; None where a
    model only ever starts from published weights."""
    masked_logits: Callable[[Any, Tensor, Tensor, Tensor], Tensor]
    """Language model, ids [B, T], wanted positions [B, K], which of them are real [B, K] → logits [M, V]."""
    class_logits: Callable[..., Tensor]
    """Classifier, ids [B, T], true at tokens and false at padding [B, T] → logits [B, C]; and last, where the family
    has types of tokens, those [B, T], which may be left out."""
    span_logits: Callable[[Any, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
    """Spans, ids [B, T], true at tokens [B, T], 1 at the second text and 0 elsewhere [B, T] → how much each token is
    the first one of an answer [B, T], and the last one [B, T]."""
    unhindered: Callable[[torch.nn.Module], None]
    """Takes dropout out of attention, which so takes the fused kernels, on processors too, which have none with it."""

    typed: bool = False
    """Whether tokens have types, which tell the two texts of a pair apart."""

    def classify(self, model: Any, ids_BT: Tensor, attention_BT: Tensor, segments_BT: Tensor | None = None) -> Tensor:
        """Return a classifier's logits [B, C]; `segments_BT` is 1 at the second text of a pair, and 0 elsewhere."""
        types = () if segments_BT is None or not self.typed else (segments_BT,)
        return self.class_logits(model, ids_BT, attention_BT, *types)

    def set_dropout(self, model: torch.nn.Module, share: float) -> None:
        """Drop this share of every dense map's output while training, and nothing inside attention."""
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = share
        self.unhindered(model)
