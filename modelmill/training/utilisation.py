"""How much of the device's arithmetic a training uses: its own operations against a plain product of matrices."""

import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from modelmill.training.precision import Precision, autocast

# Large enough that a product runs at full speed, small enough for a fraction of a second on one core.
_SIDE = {"cpu": 1024, "cuda": 8192}
_ROUNDS = 5


def counter() -> FlopCounterMode:
    """Return a context that counts the floating-point operations in it, as `get_total_flops()`."""
    return FlopCounterMode(display=False)


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
