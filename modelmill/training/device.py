"""Where training runs, and what makes two runs of it alike."""

import os

import torch

from modelmill.cores import usable_cores


def prepare(seed: int) -> torch.device:
    """Seed torch, ask it for repeatable arithmetic and all cores of this process; return the device to train on."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # cuBLAS is repeatable only with a workspace of fixed size, which it reads before its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # On a GPU some kernels have no repeatable form: a warning there, an error here.
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    # Filling fresh memory with NaN finds bugs, and costs bandwidth.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_num_threads(usable_cores())
    torch.manual_seed(seed)
    return device
