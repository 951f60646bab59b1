"""ModernBERT (arXiv:2412.13663): normalised before each map, positions by rotation, gates in the dense maps.

Its classifier reads the mean over the tokens, vectors that masked language modelling has trained, and not a first token
that nothing has trained yet: so a small model, little pretrained, already gains from it.
"""

# B batch, T tokens, K positions wanted of each row, M real ones of a batch, D width, H heads, E width of a head
# V vocabulary, C classes

from typing import Any

import torch
from torch import Tensor
from transformers import (
    ModernBertConfig,
    ModernBertForMaskedLM,
    ModernBertForQuestionAnswering,
    ModernBertForSequenceClassification,
)
from transformers.models.modernbert.modeling_modernbert import apply_rotary_pos_emb

from modelmill.models.architecture import Architecture
from modelmill.models.attention import attend
from modelmill.models.family import Family
from modelmill.models.padded import padded


def new_config(architecture: Architecture, vocabulary: int, max_tokens: int, pad: int) -> ModernBertConfig:
    """Return the configuration of a model with random weights."""
    return ModernBertConfig(
        vocab_size=vocabulary,
        hidden_size=architecture.width,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        intermediate_size=architecture.feed_forward or 2 * architecture.width,
        max_position_embeddings=max_tokens,
        pad_token_id=pad,
        classifier_pooling="mean",
        # The defaults are ids of the published model's vocabulary, which lie outside of a smaller one.
        bos_token_id=None,
        eos_token_id=None,
        cls_token_id=None,
        sep_token_id=None,
    )


def masked_logits(model: Any, ids_BT: Tensor, wanted_BK: Tensor, real_BK: Tensor) -> Tensor:
    """Return the vocabulary's logits [M, V] at the real ones of the wanted positions; no position is padding."""
    return padded(lambda x_MD: model.decoder(model.head(x_MD)), encode_at(model.model, ids_BT, wanted_BK)[real_BK])


def class_logits(model: Any, ids_BT: Tensor, attention_BT: Tensor) -> Tensor:
    """Return a classifier's logits [B, C]; it reads every token, so nothing of the last layer can be saved."""
    logits_BC: Tensor = model(input_ids=ids_BT, attention_mask=attention_BT).logits
    return logits_BC


def span_logits(model: Any, ids_BT: Tensor, attention_BT: Tensor, _segments_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Return how much each token is the first one of an answer [B, T], and the last one; two texts look alike to it."""
    made = model(input_ids=ids_BT, attention_mask=attention_BT)
    return made.start_logits, made.end_logits


def encode_at(encoder: Any, ids_BT: Tensor, wanted_BK: Tensor) -> Tensor:
    """Return the last vectors [B, K, D] at the wanted positions, as `encoder(...)` would give them there.

    Of the last layer only the wanted positions are computed, but for the keys and values that they look at.
    """
    positions_1T = torch.arange(ids_BT.shape[1], device=ids_BT.device)[None]
    x_BTD = encoder.embeddings(input_ids=ids_BT)
    turns = {kind: encoder.rotary_emb(x_BTD, positions_1T, kind) for kind in set(encoder.config.layer_types)}
    *layers, last = encoder.layers
    for layer in layers:
        kind = layer.attention_type
        x_BTD = layer(x_BTD, attention_mask=_near(layer, positions_1T), position_embeddings=turns[kind])
    x_BKD = _last_layer(last, x_BTD, turns[last.attention_type], wanted_BK, _near(last, positions_1T))
    y_BKD: Tensor = encoder.final_norm(x_BKD)
    return y_BKD


def _near(layer: Any, positions_1T: Tensor) -> Tensor | None:
    """Which positions [1, 1, T, T] a layer's local attention sees, or None where it sees all."""
    window = layer.attn.sliding_window
    if window is None or positions_1T.shape[1] <= window:
        return None
    near_1TT: Tensor = (positions_1T[:, :, None] - positions_1T[:, None, :]).abs() < window
    return near_1TT[:, None]


def _last_layer(
    layer: Any, x_BTD: Tensor, turns: tuple[Tensor, Tensor], wanted_BK: Tensor, near_11TT: Tensor | None
) -> Tensor:
    attention = layer.attn
    batch, tokens, width = x_BTD.shape
    qkv_BT3HE = attention.Wqkv(layer.attn_norm(x_BTD)).view(batch, tokens, 3, -1, attention.head_dim)
    query_BHTE, key_BHTE, value_BHTE = (part.transpose(1, 2) for part in qkv_BT3HE.unbind(dim=2))
    query_BHTE, key_BHTE = apply_rotary_pos_emb(query_BHTE, key_BHTE, *turns)
    asked_BHKE = query_BHTE.gather(
        2, wanted_BK[:, None, :, None].expand(-1, query_BHTE.shape[1], -1, attention.head_dim)
    )
    seen_B1KT = None if near_11TT is None else near_11TT[0, 0][wanted_BK][:, None]
    found_BHKE = attend(asked_BHKE, key_BHTE, value_BHTE, seen_B1KT)
    x_BKD = x_BTD.gather(1, wanted_BK[:, :, None].expand(-1, -1, width))
    x_BKD = x_BKD + attention.Wo(found_BHKE.transpose(1, 2).flatten(2))
    y_BKD: Tensor = x_BKD + layer.mlp(layer.mlp_norm(x_BKD))
    return y_BKD


def _unhindered(model: torch.nn.Module) -> None:
    for layer in model.base_model.layers:  # type: ignore[union-attr]
        layer.attn.attention_dropout = 0.0
        layer.attn.out_drop = torch.nn.Identity()


FAMILY = Family(
    masked_lm=ModernBertForMaskedLM,
    classifier=ModernBertForSequenceClassification,
    spans=ModernBertForQuestionAnswering,
    heads=("head.", "decoder.", "classifier."),
    new_config=new_config,
    masked_logits=masked_logits,
    class_logits=class_logits,
    span_logits=span_logits,
    unhindered=_unhindered,
)
