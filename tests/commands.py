"""The command line as a test types it, in a process forked from one that has loaded what commands load.

To load kfp, torch and MLflow takes a process longer than most commands take to do their work. One fork server serves a
whole test session; a run forks its runner, and that its steps. Where a command is to be started as a person starts it,
`BIN` is.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkProcess, ForkServerProcess
from pathlib import Path
from typing import BinaryIO

import pytest

from pipelines import run
from pipelines.step_processes import FORKS, StepProcesses, become, loaded_for

BIN = Path(sys.executable).parent / "modelmill"
_LOADED = (
    __name__, "pipelines.compiling", "pipelines.graph", "pipelines.local_runner", "kfp.client", "kfp.local",
    "kubernetes.client",
    "modelmill.models.predict", *loaded_for("text-classification"), *loaded_for("table-regression"),
    *loaded_for("image-classification"),
)  # fmt: skip


def clean_environment() -> dict[str, str]:
    """Return the environment of a person who has told nothing."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MODELMILL_", "MLFLOW_"))}


def modelmill(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `modelmill ARGUMENTS` to its end; `env` is added to a clean environment."""
    command = [str(BIN), *arguments]
    environment = {**clean_environment(), **(env or {})}
    if not FORKS:
        return subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, input=stdin or "", check=False
        )
    multiprocessing.set_forkserver_preload(list(_LOADED))
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("stdin", "stdout", "stderr")]
        for stream in streams:
            stream.touch()
        streams[0].write_text(stdin or "")
        process = ForkServerProcess(target=_command, args=(arguments, environment, cwd, streams))
        process.start()
        process.join()
        assert process.exitcode is not None
        said = [stream.read_text() for stream in streams[1:]]
    return subprocess.CompletedProcess(command, process.exitcode, *said)


def _command(arguments: Sequence[str], environment: Mapping[str, str], cwd: Path, streams: Sequence[Path]) -> None:
    for number, stream in enumerate(streams):
        opened = os.open(stream, os.O_RDWR | os.O_APPEND)
        os.dup2(opened, number, inheritable=True)
        os.close(opened)
    # multiprocessing has put nothing in its place.
    sys.stdin = os.fdopen(0, closefd=False)
    os.chdir(cwd)
    sys.path[0] = str(BIN.parent)
    if "docker" not in arguments:
        # What its containers are made from is read as its modules are loaded.
        pytest.MonkeyPatch().setattr(run, "_start", _Runner)
    become("pipelines.cli", arguments, environment)


class _Runner:
    """A local runner that is forked from the command's process; of `subprocess.Popen`, what a run asks of it."""

    def __init__(self, arguments: Sequence[str], log: BinaryIO, environment: Mapping[str, str]) -> None:
        # Held open as long as the command's process is there.
        read, held = os.pipe()
        told = (arguments, environment, {0: read, 1: log.fileno(), 2: log.fileno()}, held)
        self._process = ForkProcess(target=_run, args=told)
        self._process.start()
        os.close(read)
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode


def _run(arguments: Sequence[str], environment: Mapping[str, str], streams: Mapping[int, int], held: int) -> None:
    os.setsid()
    os.close(held)
    for number, stream in streams.items():
        os.dup2(stream, number)
    # What the command's process is to remove at its end is its own.
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]
    patch = pytest.MonkeyPatch()
    patch.setattr(StepProcesses, "forked", ForkProcess)
    patch.setattr(StepProcesses, "started", ())
    patch.setattr(forkserver, "ensure_running", lambda: None)
    become("pipelines.local_runner", arguments, environment)
