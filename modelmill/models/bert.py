"""BERT (arXiv:1810.04805) with a forward pass that computes only what will be read."""

# B batch, T tokens, K positions wanted of each row, M real ones of a batch, D width, H heads, E width of a head
# V vocabulary, C classes

from typing import Any

import torch
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM, BertForQuestionAnswering, BertForSequenceClassification

from modelmill.models.architecture import Architecture
from modelmill.models.attention import attend
from modelmill.models.family import Family
from modelmill.models.padded import padded


def new_config(architecture: Architecture, vocabulary: int, max_tokens: int, pad: int) -> BertConfig:
    """Return the configuration of a model with random weights."""
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=architecture.width,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        intermediate_size=architecture.feed_forward or 4 * architecture.width,
        max_position_embeddings=max_tokens,
        pad_token_id=pad,
    )


def masked_logits(model: Any, ids_BT: Tensor, wanted_BK: Tensor, real_BK: Tensor) -> Tensor:
    """Return the vocabulary's logits [M, V] at the real ones of the wanted positions; no position is padding."""
    return padded(model.cls, encode_at(model.bert, ids_BT, None, wanted_BK)[real_BK])


def class_logits(model: Any, ids_BT: Tensor, attention_BT: Tensor, types_BT: Tensor | None = None) -> Tensor:
    """Return a classifier's logits [B, C], which it reads from the first token; without types all are 0."""
    # A traced graph keeps a shape open, and takes a length for the only one there is.
    first_B1 = torch.zeros((ids_BT.shape[0], 1), dtype=torch.int64, device=ids_BT.device)
    hidden_B1D = encode_at(model.bert, ids_BT, attention_BT, first_B1, types_BT)
    logits_BC: Tensor = model.classifier(model.dropout(model.bert.pooler(hidden_B1D)))
    return logits_BC


def span_logits(model: Any, ids_BT: Tensor, attention_BT: Tensor, segments_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Return how much each token is the first one of an answer [B, T], and the last one."""
    types_BT = segments_BT if model.config.type_vocab_size > 1 else None
    made = model(input_ids=ids_BT, attention_mask=attention_BT, token_type_ids=types_BT)
    return made.start_logits, made.end_logits


def encode_at(
    bert: Any, ids_BT: Tensor, attention_BT: Tensor | None, wanted_BK: Tensor, types_BT: Tensor | None = None
) -> Tensor:
    """Return the last layer's vectors [B, K, D] at the wanted positions, as `bert(...)` would give them there.

    All positions go through every layer but the last, where only the wanted ones ask, and only they go through its
    dense maps: with one position (a classifier's) or a sixth of them (masked tokens) that saves most of a layer.
    `attention_BT` is true at tokens and false at padding; without it no position is padding.
    """
    mask_B11T = None if attention_BT is None else attention_BT[:, None, None, :]
    # A published model may know one type alone.
    typed = types_BT is not None and bert.config.type_vocab_size > 1
    x_BTD = bert.embeddings(input_ids=ids_BT, token_type_ids=types_BT if typed else None)
    *layers, last = bert.encoder.layer
    for layer in layers:
        x_BTD = layer(x_BTD, mask_B11T)
    return _last_layer(last, x_BTD, mask_B11T, wanted_BK)


def _last_layer(layer: Any, x_BTD: Tensor, mask_B11T: Tensor | None, wanted_BK: Tensor) -> Tensor:
    attention = layer.attention.self

    def heads(y_BSD: Tensor) -> Tensor:
        batch, tokens, _ = y_BSD.shape
        return y_BSD.view(batch, tokens, attention.num_attention_heads, attention.attention_head_size).transpose(1, 2)

    x_BKD = x_BTD.gather(1, wanted_BK[:, :, None].expand(-1, -1, x_BTD.shape[2]))
    found_BHKE = attend(
        heads(attention.query(x_BKD)),
        heads(attention.key(x_BTD)),
        heads(attention.value(x_BTD)),
        mask_B11T,
        attention.dropout.p if layer.training else 0.0,
    )
    a_BKD = layer.attention.output(found_BHKE.transpose(1, 2).flatten(2), x_BKD)
    y_BKD: Tensor = layer.output(layer.intermediate(a_BKD), a_BKD)
    return y_BKD


def _unhindered(model: torch.nn.Module) -> None:
    for layer in model.base_model.encoder.layer:  # type: ignore[union-attr]
        layer.attention.self.dropout.p = 0.0


FAMILY = Family(
    masked_lm=BertForMaskedLM,
    classifier=BertForSequenceClassification,
    spans=BertForQuestionAnswering,
    heads=("cls.", "classifier.", "bert.pooler.", "qa_outputs."),
    new_config=new_config,
    masked_logits=masked_logits,
    class_logits=class_logits,
    span_logits=span_logits,
    typed=True,
    unhindered=_unhindered,
)
