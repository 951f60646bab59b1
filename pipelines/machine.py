"""What this machine has to compute with, found without torch."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from modelmill.cores import usable_cores

_MEMORY = Path("/proc/meminfo")
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_CORES = Path("/proc/cpuinfo")
_ASK_SECONDS = 20


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU, as its driver tells of it."""

    name: str
    memory: int
    """Bytes."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Cores, memory and GPUs."""

    cores: int
    memory: int | None
    """Bytes that this process may use; None where the system does not say."""
    gpus: tuple[Gpu, ...]
    bf16: str
    """What the processor has for bf16: `AMX`, `AVX512` or '' for nothing of its own."""


def this_machine() -> Machine:
    """Look at this machine."""
    flags = _CORES.read_text(errors="replace") if _CORES.is_file() else ""
    bf16 = "AMX" if "amx_bf16" in flags else "AVX512" if "avx512_bf16" in flags else ""
    return Machine(cores=usable_cores(), memory=_memory(), gpus=_gpus(), bf16=bf16)


def _memory() -> int | None:
    found = []
    if _MEMORY.is_file():
        total = next((line for line in _MEMORY.read_text().splitlines() if line.startswith("MemTotal:")), "")
        found += [int(total.split()[1]) * 1024] if total else []
    for limit in _LIMITS:
        # A container may have less than its machine; `max` is no limit.
        if limit.is_file() and (said := limit.read_text().strip()).isdecimal():
            found.append(int(said))
    return min(found, default=None)


def _gpus() -> tuple[Gpu, ...]:
    asked = shutil.which("nvidia-smi")
    if asked is None:
        return ()
    command = [asked, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_ASK_SECONDS).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    found = []
    for line in told.splitlines():
        name, _, mebibytes = line.rpartition(",")
        if mebibytes.strip().isdecimal():
            found.append(Gpu(name=name.strip(), memory=int(mebibytes) * 2**20))
    return tuple(found)
