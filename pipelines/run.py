"""Runs a recipe here: starts the local runner, follows the steps' events, and tells how it ended."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

from modelmill.command import LOGS_VARIABLE
from modelmill.errors import Interrupted, ModelmillError, UserError
from modelmill.events import EVENTS_VARIABLE, EventReader
from modelmill.home import home
from modelmill.registry.ending import Ending
from modelmill.registry.notify import notify
from modelmill.sources import nearest
from modelmill.tracking import PIPELINE_VARIABLE, RUN_VARIABLE
from pipelines.local_runner import RunnerName
from pipelines.recipe import Recipe
from pipelines.steps import Stage, step_names, steps_before

State = Literal["waiting", "running", "done", "cached", "failed", "stopped"]

_POLL_SECONDS = 0.1
# A step has 20 s to save and end after SIGTERM; what still runs after this is killed.
_STOP_SECONDS = 30
_LAST_LINES = 12


@dataclass
class StepState:
    """What is known of one step."""

    name: str
    state: State = "waiting"
    started: float | None = None
    seconds: float = 0.0
    pid: int | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    progress_started: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    message: str = ""
    exit_code: int = 0


@dataclass
class Run:
    """A run and its folder: `recipe.json`, `events.jsonl`, a log for each step, `run.json`, the report."""

    name: str
    folder: Path
    recipe: Recipe
    steps: dict[str, StepState]
    started: float = field(default_factory=time.time)
    state: State = "running"
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)

    def take(self, event: Mapping[str, Any]) -> None:
        """Bring the steps' states up to date with one event."""
        step = self.steps[event["step"]]
        kind = event["kind"]
        if kind == "started":
            step.state, step.started, step.pid = "running", event["time"], event["pid"]
            for name in steps_before(step.name, list(self.steps)):
                if self.steps[name].state == "waiting":
                    self.steps[name].state = "cached"
        elif kind == "progress":
            if step.progress.get("what") != event["what"]:
                step.progress_started = event["time"]
            step.progress = dict(event)
        elif kind == "figures":
            step.figures.update(event["values"])
        elif kind == "done":
            step.state, step.summary = "done", event["summary"]
            step.seconds = event["time"] - (step.started or event["time"])
        elif kind == "failed":
            step.state = "stopped" if event["interrupted"] else "failed"
            step.seconds = event["time"] - (step.started or event["time"])
            step.message, step.exit_code = event["message"], event["exit_code"]

    def finish(self) -> None:
        """Settle what no event says: a step that never started before one that needs it was answered from the cache."""
        for step in self.steps.values():
            if step.state == "waiting" and self.state == "done":
                # The last steps may be cached ones, when a run ends before register.
                step.state = "cached"
            if step.name in self.outputs:
                step.summary = json.loads(self.outputs[step.name]["summary"])


def nearest_runner(word: str) -> RunnerName:
    """Return the runner that a word names.

    Raises:
        UserError: it names none; the nearest is told.
    """
    runners: tuple[RunnerName, ...] = get_args(RunnerName)
    for runner in runners:
        if word == runner:
            return runner
    raise UserError(f"--runner {word}: no such runner{nearest(word, runners) or '; subprocess or docker'}")


def new_run(recipe: Recipe, until: Stage) -> Run:
    """Make a run's folder; a run of this very recipe that was stopped goes on under its old name.

    So the steps that were cut off find their MLflow runs again.
    """
    runs = home() / "runs"
    asked = {"recipe": recipe.as_data(), "until": until}
    folder = _stopped_run(runs, asked)
    if folder is None:
        stamp = datetime.now(tz=UTC).strftime("%Y%m%d-%H%M%S")
        folder = runs / f"{stamp}-{secrets.token_hex(2)}"
        folder.mkdir(parents=True)
        (folder / "recipe.json").write_text(json.dumps(asked))
    (folder / "events.jsonl").unlink(missing_ok=True)
    steps = {name: StepState(name) for name in step_names(recipe, until)}
    return Run(name=folder.name, folder=folder, recipe=recipe, steps=steps)


def _stopped_run(runs: Path, asked: Mapping[str, Any]) -> Path | None:
    for folder in sorted(runs.glob("*/"), reverse=True):
        try:
            same = json.loads((folder / "recipe.json").read_text()) == asked
            state = json.loads((folder / "run.json").read_text())["state"]
        except (OSError, ValueError, KeyError):
            continue
        if same:
            return folder if state in {"stopped", "failed"} else None
    return None


def execute(run: Run, watch: Callable[[Run], None], runner_name: RunnerName = "subprocess") -> None:
    """Run the graph to its end, calling `watch` about ten times a second; each step is a process, or a container.

    Raises:
        UserError: a step found the user's input wrong.
        Interrupted: Ctrl-C or SIGTERM came; every step was stopped cleanly.
        ModelmillError: a step failed.
    """
    reader = EventReader(run.folder / "events.jsonl")
    with _stop_signals() as stopped, (run.folder / "runner.log").open("ab") as log:
        runner = _start([str(run.folder), runner_name], log, _environment(run))
        asked_at = 0.0
        while runner.poll() is None:
            for event in reader.new():
                run.take(event)
            watch(run)
            if stopped and not asked_at:
                asked_at = time.monotonic()
                _stop(run, runner, runner_name)
            elif asked_at and (len(stopped) > 1 or time.monotonic() - asked_at > _STOP_SECONDS):
                os.killpg(runner.pid, signal.SIGKILL)
            time.sleep(_POLL_SECONDS)
        for event in reader.new():
            run.take(event)
    if runner_name == "docker":
        _sweep()
    _settle(run, code=runner.returncode, stopped=bool(stopped))
    watch(run)
    _tell(run)
    _raise_for(run)


def _start(arguments: Sequence[str], log: BinaryIO, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start the local runner."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.local_runner", *arguments],
        # Held open until this process ends, however it ends: the runner watches it.
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        # Ctrl-C is for this process alone; it stops the steps in order.
        start_new_session=True,
    )


def _environment(run: Run) -> dict[str, str]:
    return {
        **os.environ,
        EVENTS_VARIABLE: str(run.folder / "events.jsonl"),
        LOGS_VARIABLE: str(run.folder),
        RUN_VARIABLE: run.name,
        PIPELINE_VARIABLE: run.recipe.name,
        "TOKENIZERS_PARALLELISM": "true",
    }


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of being ended by them."""
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda at, _: came.append(at)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _sweep() -> None:
    """Remove the container of a runner that was killed; an engine that is gone has none."""
    from pipelines import engine

    with suppress(ModelmillError), engine.engine() as client:
        engine.sweep(client, home())


def _stop(run: Run, runner: subprocess.Popen[bytes], runner_name: RunnerName) -> None:
    if runner_name == "docker":
        # The numbers of processes in a container are its own; its runner stops it.
        os.killpg(runner.pid, signal.SIGTERM)
        return
    running = [step for step in run.steps.values() if step.state == "running" and step.pid]
    for step in running:
        assert step.pid is not None
        try:
            os.kill(step.pid, signal.SIGTERM)
        except ProcessLookupError:
            continue
    if not running:
        os.killpg(runner.pid, signal.SIGTERM)


def _settle(run: Run, *, code: int, stopped: bool) -> None:
    if code == 0:
        run.state = "done"
        run.outputs = json.loads((run.folder / "outputs.json").read_text())
    else:
        run.state = "stopped" if stopped else "failed"
        for step in run.steps.values():
            if step.state == "running":
                # No last word: killed, or out of memory.
                step.state = run.state
                step.seconds = time.time() - (step.started or time.time())
    run.finish()


def _tell(run: Run) -> None:
    """Notify of a run that finished or failed; whoever stopped one knows."""
    if run.state not in {"done", "failed"}:
        return
    register, failed = run.outputs.get("register", {}), _failed_step(run)
    told = Ending(
        recipe=run.recipe.name,
        run=run.name,
        state="done" if run.state == "done" else "failed",
        seconds=time.time() - run.started,
        step=failed.name if failed is not None else "",
        error=str(_error(run)) if run.state == "failed" else "",
        # Without a message the error has them already.
        lines=_last_lines(run.folder / f"{failed.name}.log") if failed is not None and failed.message else (),
        verdict=register.get("verdict", ""),
        version=register.get("version", ""),
        report=register.get("final_report", ""),
        cached=[step.name for step in run.steps.values() if step.state == "cached"],
    )
    notify(told.happened())


def _raise_for(run: Run) -> None:
    if run.state == "done":
        return
    raise _error(run)


def _error(run: Run) -> ModelmillError:
    """Return why a run did not end well."""
    if run.state == "stopped":
        return Interrupted("stopped; the same command goes on from here")
    failed = _failed_step(run)
    if failed is None:
        return ModelmillError(f"the run could not start:\n{_tail(run.folder / 'runner.log')}")
    log = run.folder / f"{failed.name}.log"
    if failed.message:
        error = UserError if failed.exit_code == UserError.exit_code else ModelmillError
        return error(failed.message)
    ended = "the process ended without a word (killed, or out of memory)"
    return ModelmillError(f"{failed.name}: {ended}{_last_seen(failed)}\n{_tail(log)}")


def _failed_step(run: Run) -> StepState | None:
    return next((step for step in run.steps.values() if step.state in {"failed", "stopped"}), None)


def _last_seen(step: StepState) -> str:
    """Return how far a step had come when it last told of it, '' where it never did."""
    if not step.progress:
        return ""
    what, done, total, unit = (step.progress[key] for key in ("what", "done", "total", "unit"))
    of = f" of {total:,}" if total else ""
    return f"; last seen at {done:,}{of} {unit}{'' if what == step.name else f' ({what})'}"


def _tail(log: Path) -> str:
    if not log.is_file():
        return f"(there is no {log})"
    return "\n".join(f"  | {line}" for line in _last_lines(log)) or f"(nothing is in {log})"


def _last_lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-_LAST_LINES:] if log.is_file() else []
