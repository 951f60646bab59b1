"""Scaled dot-product attention in the arithmetic that is fastest for the length of the rows.

On a processor torch's fused attention packs every block anew in bf16, and short rows fill no block. Forward and
backward on two cores with matrix units: 32 rows of 32 tokens in 12 heads of 32 took 20 ms in bf16 and 2.4 ms in fp32,
8 rows of 128 in 4 heads of 64 took 13 and 7 ms; from 256 tokens on bf16 was as fast.
"""

# B batch, H heads, Q positions that ask, T tokens, E width of a head

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "modelmill-sdpa"
"""What transformers' models call it, as their `attn_implementation`; `register` tells them of it."""

# Tokens of a row from which on bf16 is as fast.
_LONG = 256


def attend(
    query_BHQE: Tensor, key_BHTE: Tensor, value_BHTE: Tensor, mask: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    """Return what each asking position finds [B, H, Q, E]; the mask is true where it may look."""
    if not _short(query_BHQE, key_BHTE):
        return F.scaled_dot_product_attention(query_BHQE, key_BHTE, value_BHTE, attn_mask=mask, dropout_p=dropout)
    with _as_it_is(query_BHQE):
        found_BHQE = F.scaled_dot_product_attention(
            query_BHQE.float(), key_BHTE.float(), value_BHTE.float(), attn_mask=mask, dropout_p=dropout
        )
        return found_BHQE.to(query_BHQE.dtype)


def register() -> None:
    """Tell transformers' models of this attention; again is harmless."""
    AttentionInterface.register(NAME, _forward)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def _forward(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **told: Any
) -> tuple[Tensor, None]:
    """Do as transformers' own function for models with `attn_implementation="sdpa"` does."""
    if not _short(query, key):
        plain: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **told)
        return plain
    half = query.dtype
    biases = {name: tensor.float() for name, tensor in told.items() if name == "position_bias" and tensor is not None}
    if attention_mask is not None and attention_mask.is_floating_point():
        attention_mask = attention_mask.float()
    with _as_it_is(query):
        found, nothing = sdpa_attention_forward(
            module, query.float(), key.float(), value.float(), attention_mask, **{**told, **biases}
        )
    return found.to(half), nothing


def _short(query_BHQE: Tensor, key_BHTE: Tensor) -> bool:
    halved = query_BHQE.dtype == torch.bfloat16 or torch.is_autocast_enabled(query_BHQE.device.type)
    return query_BHQE.device.type == "cpu" and halved and key_BHTE.shape[2] < _LONG


def _as_it_is(tensor: Tensor) -> AbstractContextManager[Any]:
    """Keep autocast from narrowing what was widened."""
    kind = tensor.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()
