"""The processes of a run's steps here, forked from one that has loaded what they all need.

To load torch, transformers and MLflow takes a process longer than most steps of a small recipe take to run. `resolve`
and `ingest` begin as any process does, so that what is wrong with the data is told at once; while they run, a fork
server loads for those after them.
"""

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import get_args

from modelmill.settings import Task
from pipelines.steps import Stage

Environment = Mapping[str, str]

_STARTED = ("components.resolve", "components.ingest")
# What the steps up to each stage use, and what training and measuring use of each task beside. A module that is missing
# here costs seconds, and one that is not needed memory that the steps share.
_ALL = ("pipelines.recipe", "mlflow.store.tracking.sqlalchemy_store", "modelmill.tracking")
_STAGES: tuple[Stage, ...] = get_args(Stage)
_PICTURES = ("components.pretrain.pictures", "components.finetune.images", "modelmill.models.image_predictor")
_TABLES = ("components.finetune.tables", "modelmill.models.table_predictor")
_TEXT = ("components.pretrain.language", "components.finetune.text")
_TASKS: Mapping[Task, tuple[str, ...]] = {
    "image-classification": _PICTURES,
    "table-classification": _TABLES,
    "table-regression": _TABLES,
}
# On Apple's systems a forked process may not use the system's frameworks, and no process may use CUDA after a fork.
FORKS = sys.platform == "linux" and not Path("/dev/nvidiactl").exists()


def loaded_for(task: Task, until: Stage = "register") -> tuple[str, ...]:
    """Return the modules that forked steps of a task's recipe load, up to and with a stage; none for no such step."""
    stages = _STAGES[1 : _STAGES.index(until) + 1]
    if not stages:
        return ()
    models = _TASKS.get(task, _TEXT) if len(stages) > 1 else ()
    return (*_ALL, *(f"components.{stage}.run" for stage in stages), *models)


class StepProcesses:
    """Runs the steps of one run, one after the other; `modules` are what those that are forked load."""

    started: tuple[str, ...] = _STARTED
    """Modules whose steps are not forked."""
    forked: type[BaseProcess] = ForkServerProcess
    """What the other steps are."""

    def __init__(self, modules: Sequence[str]) -> None:
        if FORKS and modules:
            multiprocessing.set_forkserver_preload(list(modules))
            forkserver.ensure_running()

    def run(self, command: Sequence[str], env: Environment | None = None) -> int:
        """Run a step's command to its end and return its exit code, which is negative after a signal."""
        environment = {**os.environ, **(env or {})}
        module = _module(command)
        if FORKS and module and module not in self.started:
            return self._forked(module, command[3:], environment)
        return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False).returncode

    def _forked(self, module: str, arguments: Sequence[str], environment: Environment) -> int:
        process = self.forked(target=_step, args=(module, list(arguments), dict(environment)))
        process.start()
        process.join()
        assert process.exitcode is not None
        return process.exitcode


def _module(command: Sequence[str]) -> str:
    """Return the module that a command runs with this interpreter, '' where it is another kind of command."""
    return command[2] if command[:2] == [sys.executable, "-m"] else ""


def _step(module: str, arguments: list[str], environment: dict[str, str]) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    become(module, arguments, environment)


def become(module: str, arguments: Sequence[str], environment: Environment) -> None:
    """Be, in a forked process, what `python -m MODULE ARGUMENTS` is, but for the standard streams, which are kept."""
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        # multiprocessing ends a process without them.
        atexit._run_exitfuncs()
