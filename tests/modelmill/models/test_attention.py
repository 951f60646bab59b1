"""Attention in the arithmetic that is fastest, with the results of transformers' own."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import BertModel, LlamaConfig, LlamaModel, T5Config, T5Model

from modelmill.models import attention
from tests import samples

# B rows, H heads, T tokens, E width of a head


def _asked(tokens: int, kind: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, tokens, 8, generator=generator).to(kind) for _ in range(3)]


def _llama() -> Any:
    return LlamaConfig(
        vocab_size=90, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip


def _t5() -> Any:
    return T5Config(vocab_size=90, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, dropout_rate=0.0)


@pytest.mark.parametrize("halved", [False, True])
@pytest.mark.parametrize(
    ("kind", "config"),
    [(BertModel, samples.tiny_config), (LlamaModel, _llama), (T5Model, _t5)],
    ids=lambda v: v.__name__,
)
def test_models_compute_what_they_compute_with_attention_of_torch(kind: Any, config: Any, halved: bool) -> None:
    attention.register()
    made = {}
    ids = torch.randint(5, 20, (3, 12), generator=torch.Generator().manual_seed(1))
    real = torch.ones_like(ids)
    real[1, 9:] = 0
    told = {"decoder_input_ids": ids[:, :7]} if kind is T5Model else {}
    for name in ("sdpa", attention.NAME):
        torch.manual_seed(2)
        model = kind._from_config(config(), attn_implementation=name).eval()
        with torch.inference_mode(), torch.autocast("cpu", enabled=halved):
            made[name] = model(input_ids=ids, attention_mask=real, **told).last_hidden_state
    if halved:
        torch.testing.assert_close(made[attention.NAME], made["sdpa"], atol=0.1, rtol=0.1)
        assert not torch.equal(made[attention.NAME], made["sdpa"])
    else:
        assert torch.equal(made[attention.NAME], made["sdpa"])


@pytest.mark.parametrize("autocast", [False, True])
def test_short_rows_in_bf16_are_as_exact_as_fp32_and_come_back_in_bf16(autocast: bool) -> None:
    query, key, value = _asked(16, torch.bfloat16)
    mask = torch.ones(2, 1, 1, 16, dtype=torch.bool)
    mask[1, ..., 11:] = False
    with torch.autocast("cpu", enabled=autocast):
        found = attention.attend(query, key, value, mask)
    expected = F.scaled_dot_product_attention(query.float(), key.float(), value.float(), attn_mask=mask)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected.to(torch.bfloat16))


def test_long_rows_and_fp32_are_left_to_torch() -> None:
    for asked in (_asked(300, torch.bfloat16), _asked(16)):
        query, key, value = asked
        assert torch.equal(attention.attend(query, key, value), F.scaled_dot_product_attention(query, key, value))


def test_gradients_flow_through_what_was_widened() -> None:
    query, key, value = (tensor.requires_grad_() for tensor in _asked(16, torch.bfloat16))
    attention.attend(query, key, value).float().square().sum().backward()  # type: ignore[no-untyped-call]
    assert all(tensor.grad is not None and tensor.grad.abs().sum() > 0 for tensor in (query, key, value))


def test_nothing_of_it_is_written_into_a_model(tmp_path: Any) -> None:
    attention.register()
    BertModel._from_config(samples.tiny_config(), attn_implementation=attention.NAME).save_pretrained(tmp_path)
    assert "sdpa" not in (tmp_path / "config.json").read_text()
