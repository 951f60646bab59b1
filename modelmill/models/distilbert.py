"""DistilBERT (arXiv:1910.01108): BERT with half the layers, distilled from it; it starts from published weights."""

# B batch, T tokens, K positions wanted of each row, M real ones of a batch, D width, V vocabulary, C classes

from typing import Any

import torch
from torch import Tensor
from transformers import DistilBertForMaskedLM, DistilBertForQuestionAnswering, DistilBertForSequenceClassification

from modelmill.models.family import Family
from modelmill.models.padded import padded
from modelmill.models.roberta import span_logits


def masked_logits(model: Any, ids_BT: Tensor, wanted_BK: Tensor, real_BK: Tensor) -> Tensor:
    """Return the vocabulary's logits [M, V] at the real ones of the wanted positions; no position is padding."""
    x_BTD = model.distilbert(input_ids=ids_BT).last_hidden_state
    x_MD = x_BTD.gather(1, wanted_BK[:, :, None].expand(-1, -1, x_BTD.shape[2]))[real_BK]
    return padded(
        lambda y_MD: model.vocab_projector(model.vocab_layer_norm(model.activation(model.vocab_transform(y_MD)))), x_MD
    )


def class_logits(model: Any, ids_BT: Tensor, attention_BT: Tensor) -> Tensor:
    """Return a classifier's logits [B, C], which it reads from the first token."""
    logits_BC: Tensor = model(input_ids=ids_BT, attention_mask=attention_BT).logits
    return logits_BC


def _unhindered(model: torch.nn.Module) -> None:
    for layer in model.base_model.transformer.layer:  # type: ignore[union-attr]
        layer.attention.dropout.p = 0.0


FAMILY = Family(
    masked_lm=DistilBertForMaskedLM,
    classifier=DistilBertForSequenceClassification,
    spans=DistilBertForQuestionAnswering,
    heads=("vocab_", "pre_classifier.", "classifier.", "qa_outputs."),
    new_config=None,
    masked_logits=masked_logits,
    class_logits=class_logits,
    span_logits=span_logits,
    unhindered=_unhindered,
)
