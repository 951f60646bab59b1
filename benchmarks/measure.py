"""What every benchmark needs: the machine in words, a command's time and memory, and one object at the end."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from modelmill.version import git_commit

# Counting shared pages halts a process for a while, and reads them on one of the cores that are measured.
_SAMPLE_SECONDS = 1.0


Side = Callable[[Path, str, argparse.Namespace], dict[str, Any]]
"""One of the two that are measured: a folder to work in, the address of what it reads, and the options; returns its
rate, and what else there is to tell."""


def options(about: str | None) -> argparse.ArgumentParser:
    """Return the options that every benchmark of two sides has."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", action="store_true", help="the object alone, without a word on the way")
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--side", nargs=3, metavar=("SIDE", "FOLDER", "DATASET"), help=argparse.SUPPRESS)
    made.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    return made


def begin(
    given: argparse.Namespace, measure: Callable[[Path, argparse.Namespace], None], sides: Mapping[str, Side]
) -> None:
    """Run the rounds and print the figures; as a child of itself, run one side once."""
    if given.side is None:
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), given)
        return
    side, folder, dataset = given.side
    print(json.dumps(sides[side](Path(folder), dataset, given)))


@dataclass(frozen=True, kw_only=True)
class Ran:
    """One command, whole."""

    seconds: float
    peak_memory_mb: float
    """Of the process and all below it, shared pages counted once (PSS)."""
    output: dict[str, Any]
    """The object that its last line printed."""


def run(command: Sequence[str | Path], **environment: str) -> Ran:
    """Run a command that prints an object of JSON in its last line, and watch its memory.

    Raises:
        RuntimeError: it fails; the message holds what it said.
    """
    start = time.perf_counter()
    env = {**os.environ, **environment}
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as process:
        peak = [0.0]
        watcher = threading.Thread(target=_watch, args=(process.pid, peak), daemon=True)
        watcher.start()
        out, said = process.communicate()
        seconds = time.perf_counter() - start
        watcher.join()
    if process.returncode:
        raise RuntimeError(f"{command[0]}: exit code {process.returncode}\n{said.decode()[-4000:]}")
    return Ran(seconds=seconds, peak_memory_mb=round(peak[0]), output=json.loads(out.decode().splitlines()[-1]))


def _watch(pid: int, peak: list[float]) -> None:
    try:
        root = psutil.Process(pid)
        while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
            peak[0] = max(peak[0], sum(map(_memory, [root, *root.children(recursive=True)])) / 1e6)
            time.sleep(_SAMPLE_SECONDS)
    except psutil.NoSuchProcess:
        pass


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def machine() -> str:
    """Return the machine in a few words."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    memory = psutil.virtual_memory().total / 2**30
    return f"{len(os.sched_getaffinity(0))} cores of {model}, {memory:.0f} GiB, Python {platform.python_version()}"


def step_in(folder: Path, name: str) -> Any:
    """Return a step that works in a folder, with a store in it and its events beside."""
    from modelmill.events import Events
    from modelmill.step import Step
    from modelmill.store import open_store

    scratch = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder))
    events = Events(name, scratch.with_suffix(".jsonl"))
    return Step(name=name, store=open_store(str(folder / "store")), scratch=scratch, events=events)


@dataclass(kw_only=True)
class Rounds:
    """What the rounds of a benchmark gave, by side."""

    rates: dict[str, list[float]]
    losses: dict[str, list[float]]
    memory: dict[str, float]
    """Peak of the last round, in MB."""
    facts: dict[str, dict[str, Any]]
    """What each side said in the last round."""

    def figures(self) -> dict[str, Any]:
        """Return what a benchmark of training tells beside its rates."""
        return {
            "precision": {side: each["precision"] for side, each in self.facts.items()},
            "validation_loss": {side: round(statistics.median(each), 4) for side, each in self.losses.items()},
            "validation_losses": {side: [round(one, 4) for one in each] for side, each in self.losses.items()},
            "peak_memory_mb": self.memory,
        }


def alternate(module: str, arguments: Sequence[str | Path], rounds: int, sides: Sequence[str], unit: str) -> Rounds:
    """Run `python -m module --side SIDE … --seed N` for each side in turn; each prints `rate`, and what learns
    `validation_loss`.
    """
    made = Rounds(rates={side: [] for side in sides}, losses={side: [] for side in sides}, memory={}, facts={})
    for number in range(rounds):
        for side in sides:
            ran = run([sys.executable, "-m", module, "--side", side, *arguments, "--seed", str(number)])
            made.rates[side].append(ran.output["rate"])
            made.memory[side], made.facts[side] = ran.peak_memory_mb, ran.output
            told = ""
            if "validation_loss" in ran.output:
                made.losses[side].append(ran.output["validation_loss"])
                told = f", loss {made.losses[side][-1]:.4f}"
            say(f"round {number + 1}: {side} {made.rates[side][-1]:,.1f} {unit}{told}, {ran.seconds:.0f} s")
    return made


def faster_precision(module: str, side: Sequence[str | Path], unit: str) -> str:
    """Return the precision in which a peer is faster here, by a few steps in each.

    Raises:
        RuntimeError: it runs in neither.
    """
    rates, said = {}, ""
    for precision in ("fp32", "bf16"):
        command = [sys.executable, "-m", module, "--side", *side, "--steps", "2", "--precision", precision]
        try:
            rates[precision] = run(command).output["rate"]
        except RuntimeError as error:
            said = str(error)
            say(f"the peer in {precision}: does not run here ({said.splitlines()[-1]})")
            continue
        say(f"the peer in {precision}: {rates[precision]:,.0f} {unit}")
    if not rates:
        raise RuntimeError(said)
    return max(rates, key=lambda each: rates[each])


def report(name: str, *, unit: str, ours: Sequence[float], peer: Sequence[float], peer_name: str, **facts: Any) -> None:
    """Print the object that every benchmark ends with; more is better."""
    median, other = statistics.median(ours), statistics.median(peer)
    made = {
        "benchmark": name,
        "unit": unit,
        "ours": round(median, 3),
        "peer": round(other, 3),
        "ratio": round(median / other, 2),
        "runs": {"ours": [round(each, 3) for each in ours], "peer": [round(each, 3) for each in peer]},
        "peer_name": peer_name,
        **facts,
        "machine": machine(),
        "commit": git_commit(),
    }
    print(json.dumps(made))


def say(text: str) -> None:
    """Tell the person who watches how far it is."""
    print(text, file=sys.stderr, flush=True)
