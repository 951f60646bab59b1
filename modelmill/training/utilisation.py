"""How much of the device's arithmetic a training uses: its own operations against a plain product of matrices."""

import time
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from modelmill.training.precision import Precision, autocast

# Large enough that a product runs at full speed, small enough for a fraction of a second on one core.
_SIDE = {"cpu": 1024, "cuda": 8192}
_ROUNDS = 5


def counter() -> FlopCounterMode:
    """Return a context that counts the floating-point operations in it, as `get_total_flops()`.

    Products of matrices, convolutions and attention: torch's own formulas, and those of its attention on processors,
    which it has none for.
    """
    aten = torch.ops.aten
    return FlopCounterMode(
        display=False,
        custom_mapping={
            aten._scaled_dot_product_flash_attention_for_cpu: _attention,
            aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
        },
    )


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _attention_backward(slope: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_backward_flop_count(slope, query, key, value))  # type: ignore[no-untyped-call]


def peak(device: torch.device, precision: Precision) -> float:
    """Return the operations a second of one large product of matrices, the fastest of a few."""
    side = _SIDE[device.type]
    a = torch.ones(side, side, device=device)
    fastest = float("inf")
    with torch.no_grad(), autocast(device, precision):
        for _ in range(1 + _ROUNDS):
            start = time.perf_counter()
            product = a @ a
            # Reading one number waits for all of them.
            product[0, 0].item()
            fastest = min(fastest, time.perf_counter() - start)
    return 2 * side**3 / fastest
