"""Where training runs, and what makes two runs of it alike."""

import os

import torch

from modelmill.cores import usable_cores


def prepare(seed: int) -> torch.device:
    """Seed torch, ask it for repeatable arithmetic and this process's cores; return the device to train on."""
    # As torchrun numbers the processes of this machine: each has a GPU of its own.
    place, beside = (
        int(os.environ.get(name, default)) for name, default in (("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1))
    )
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", place % torch.cuda.device_count())
        torch.cuda.set_device(device)
    # cuBLAS is repeatable only with a workspace of fixed size, which it reads before its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # On a GPU some kernels have no repeatable form: a warning there, an error here.
    # Not by use_deterministic_algorithms, which loads the compiler: a second of every start.
    torch.set_deterministic_debug_mode("warn" if device.type == "cuda" else "error")
    # Filling fresh memory with NaN finds bugs, and costs bandwidth.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_num_threads(max(1, usable_cores() // beside))
    torch.manual_seed(seed)
    return device
