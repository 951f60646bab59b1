"""A BERT encoder's forward pass that computes only what will be read."""

# B batch, T tokens, K positions wanted of each row, D width, H heads, E width of a head

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def encode_at(bert: Any, ids_BT: Tensor, attention_BT: Tensor | None, wanted_BK: Tensor) -> Tensor:
    """Return the last layer's vectors [B, K, D] at the wanted positions, as `bert(...)` would give them there.

    All positions go through every layer but the last, where only the wanted ones ask, and only they go through its
    dense maps: with one position (a classifier's) or a sixth of them (masked tokens) that saves most of a layer.
    `attention_BT` is true at tokens and false at padding; without it no position is padding.
    """
    mask_B11T = None if attention_BT is None else attention_BT[:, None, None, :]
    x_BTD = bert.embeddings(input_ids=ids_BT)
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
    found_BHKE = F.scaled_dot_product_attention(
        heads(attention.query(x_BKD)),
        heads(attention.key(x_BTD)),
        heads(attention.value(x_BTD)),
        attn_mask=mask_B11T,
        dropout_p=attention.dropout.p if layer.training else 0.0,
    )
    a_BKD = layer.attention.output(found_BHKE.transpose(1, 2).flatten(2), x_BKD)
    y_BKD: Tensor = layer.output(layer.intermediate(a_BKD), a_BKD)
    return y_BKD


def set_dropout(model: torch.nn.Module, share: float) -> None:
    """Drop this share of every dense map's output while training, and nothing inside attention.

    Attention without dropout takes the fused kernels, on processors too, which have none with it.
    """
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = share
    for layer in model.base_model.encoder.layer:  # type: ignore[union-attr]
        layer.attention.self.dropout.p = 0.0
