"""Which arithmetic to train in: what is faster here, if it runs here at all."""

import faulthandler
import logging
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Literal, cast

import torch

from modelmill.errors import UserError

log = logging.getLogger(__name__)

Precision = Literal["fp32", "bf16", "fp16"]
_HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}

# Below this bfloat16 is not worth its rounding.
WORTHWHILE = 1.1
_ROUNDS = 3
# On a machine with neighbours one batch may take twice as long as the next: where they are quick, more are timed.
_MOST_ROUNDS, _TIMING_SECONDS = 12, 3.0
# Rows and columns: a product of such matrices takes 3 ms on two cores.
_PRODUCT = 512
_PROBE_SECONDS = 20.0


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[None]:
    """Return the context that a forward pass runs in; weights and optimiser stay in fp32."""
    half = _HALVES.get(precision)
    context = torch.autocast(device.type, dtype=half or torch.bfloat16, enabled=half is not None)
    return cast(AbstractContextManager[None], context)


def scaler(device: torch.device, precision: Precision) -> torch.amp.GradScaler:
    """Return what keeps small gradients of fp16 from becoming 0 (arXiv:1710.03740); it does nothing in the others."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def choose(
    wanted: Literal["auto", Precision], device: torch.device, run: Callable[[Precision, int], None]
) -> tuple[Precision, dict[str, float]]:
    """Return the precision to train in, and the figures that it was chosen by.

    `run` does the work of a batch, by its number, in a precision. For `auto` both are timed.

    Raises:
        UserError: bf16 or fp16 is wanted and this device cannot run it.
    """
    if wanted == "fp32":
        return "fp32", {}
    if wanted == "fp16":
        if device.type != "cuda":
            raise UserError(f"precision: fp16 needs a GPU, and this is a {device.type}; write auto, bf16 or fp32")
        return "fp16", {}
    runs = bf16_runs(device)
    if wanted == "bf16":
        if not runs:
            raise UserError(f"precision: bf16 does not run on this {device.type}; write auto or fp32")
        return "bf16", {}
    speedup = product_speedup(device) if runs else 0.0
    if speedup >= 1:
        speedup = bf16_speedup(device, run)
    log.info("on this %s bf16 %s", device.type, f"is {speedup:.2f} times as fast as fp32" if runs else "does not run")
    return "bf16" if speedup >= WORTHWHILE else "fp32", {"bf16_speedup": speedup}


def product_speedup(device: torch.device) -> float:
    """Return how many times as fast a product of matrices is in bf16: a glance, as a batch may take minutes."""
    fastest = {}
    for kind in (torch.float32, torch.bfloat16):
        a = torch.ones(_PRODUCT, _PRODUCT, dtype=kind, device=device)
        fastest[kind] = min(_timed(device, lambda a=a: (a @ a).sum().item()) for _ in range(_ROUNDS))  # type: ignore[misc]
    return fastest[torch.float32] / fastest[torch.bfloat16]


def bf16_speedup(device: torch.device, run: Callable[[Precision, int], None]) -> float:
    """Return how many times as fast bf16 is: both do the same few batches in turn, and the fastest of each count."""
    both: tuple[Precision, ...] = ("fp32", "bf16")
    fastest = dict.fromkeys(both, float("inf"))
    spent = 0.0
    # The first round warms up and is not counted.
    for number in range(1 + _MOST_ROUNDS):
        if number > _ROUNDS and spent > _TIMING_SECONDS:
            break
        for precision in both:
            seconds = _timed(device, partial(run, precision, number))
            if number:
                fastest[precision] = min(fastest[precision], seconds)
                spent += seconds
    return fastest["fp32"] / fastest["bf16"]


def bf16_runs(device: torch.device) -> bool:
    """Return whether a product of bfloat16 matrices can be computed on a device.

    Some virtual machines announce matrix units (AMX) that oneDNN then cannot use, and the process dies of an illegal
    instruction. So the first product is left to a child process.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if not sys.platform.startswith("linux"):
        return True
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Python 3.12 warns of threads; the child uses none of them, and computes on its own one.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _probe()
    return _exit_status(child) == 0


def _probe() -> None:
    """Compute one product and leave the child process."""
    code = 1
    try:
        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        torch.set_num_threads(1)
        a = torch.ones(64, 64, dtype=torch.bfloat16)
        code = 0 if torch.nn.functional.linear(a, a).sum().item() == 64.0**3 else 1
    finally:
        os._exit(code)


def _exit_status(child: int) -> int:
    deadline = time.monotonic() + _PROBE_SECONDS
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def _timed(device: torch.device, work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
