"""Runs each step of a graph in a container of its own, with kfp.local's DockerRunner, on this machine's engine."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from typing import Any

from modelmill.command import LOGS_VARIABLE
from modelmill.events import Events
from modelmill.home import home
from modelmill.images import image as image_name
from modelmill.tracking import RUN_VARIABLE
from pipelines import engine
from pipelines.recipe import Recipe
from pipelines.shared import shared
from pipelines.steps import Stage, stage_of, step_names

# As `docker run --shm-size`: data loaders and NCCL speak through it, and 64 MB, Docker's own, is known not to do.
_SHARED_MEMORY = "2g"
_LAST_LINES = 40


def check(recipe: Recipe, until: Stage) -> None:
    """Look at everything that a run in containers needs, before it starts, and remove what a killed one left.

    Raises:
        UserError: an image is missing, the engine is not one of this machine, or data lie where an image has its own.
        ModelmillError: no engine answers.
    """
    shared(recipe, os.environ)
    with engine.engine() as client:
        engine.require_images(client, [image_of(stage_of(name)) for name in step_names(recipe, until)])
        engine.sweep(client, home())


def image_of(stage: str) -> str:
    """Return the image that the component of a stage names."""
    component = getattr(import_module(f"components.{stage}.component"), stage)
    return str(component.component_spec.implementation.container.image)


def runner(recipe: Recipe) -> Any:
    """Return kfp's runner for the steps of a recipe, and make kfp start, watch and remove containers as we do.

    Raises:
        UserError: data lie where an image has its own files.
        ModelmillError: no engine answers.
        AttributeError: kfp has no such function any more.
    """
    from kfp import local

    with engine.engine() as client:
        told = client.info()
    containers = Containers(runner=engine.this_process(), accelerators="nvidia" in told.get("Runtimes", {}))
    containers.stop_on_signals()
    take_over(containers)
    return local.DockerRunner(**arguments(recipe, os.environ, told.get("SecurityOptions") or ()))


def arguments(recipe: Recipe, environment: Mapping[str, str], security: Sequence[str]) -> dict[str, Any]:
    """Return what every container of a run is started with, in docker-py's words.

    `security` is what the engine says of itself under SecurityOptions.
    """
    from docker.types import Mount

    sharing = shared(recipe, environment)
    both = {**{path: path for path in sharing.writable}, **sharing.readable}
    mounts = [
        Mount(str(place), str(here), type="bind", read_only=place not in sharing.writable)
        for place, here in sorted(both.items())
    ]
    options = {option.removeprefix("name=").partition(",")[0] for option in security}
    made: dict[str, Any] = {
        "mounts": mounts,
        "environment": dict(sharing.environment),
        # `.modelmill` is looked for where the person is, and MLflow or a bucket may be served on this machine.
        "working_dir": str(Path.cwd()),
        "network_mode": "host",
        # In a rootless engine its root is the person.
        "user": "0:0" if "rootless" in options else f"{os.getuid()}:{os.getgid()}",
        "group_add": [] if "rootless" in options else [str(group) for group in os.getgroups()],
        "labels": {engine.HOME_LABEL: str(home()), engine.RUN_LABEL: environment.get(RUN_VARIABLE, "")},
        # Python as process 1 would not hear SIGTERM before it has a handler, and bury no children.
        "init": True,
        "shm_size": _SHARED_MEMORY,
        "security_opt": ["no-new-privileges", *(["label=disable"] if "selinux" in options else [])],
        # The image's own asks for a server.
        "healthcheck": {"test": ["NONE"]},
    }
    return made | ({"userns_mode": "host"} if "userns" in options else {})


def take_over(containers: "Containers") -> None:
    """Make kfp.local run containers by us: its own loses the exit code of one that ended before it was asked.

    Raises:
        AttributeError: kfp has no such function any more.
    """
    from kfp.local import docker_task_handler as handler

    getattr(handler, "run_docker_container")  # noqa: B009 - it is to fail if absent
    handler.run_docker_container = containers.run


class Containers:
    """Starts one container after the other, and stops the one that runs when this process is asked to end."""

    def __init__(self, *, runner: str, accelerators: bool) -> None:
        self._runner = runner
        self._accelerators = accelerators
        self._stopping = Event()

    def stop_on_signals(self) -> None:
        """From now on SIGTERM and SIGINT stop the container that runs, and none is started after."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def _stop(self, _number: int, _frame: object) -> None:
        if not self._stopping.is_set():
            self._stopping.set()
            # The main thread waits for the container in the middle of a request.
            Thread(target=self._stop_all, daemon=True).start()

    def _stop_all(self) -> None:
        with engine.engine() as client:
            engine.stop_all(client, self._runner)

    def run(
        self,
        client: Any,
        image: str,
        command: list[str],
        volumes: Mapping[str, Any],  # noqa: ARG002 - kfp's folder lies in the home folder
        **told: Any,
    ) -> int:
        """Run one step to its end and return its exit code; kfp calls it."""
        step = step_of(command)
        labels = {**told.pop("labels"), engine.STEP_LABEL: step, engine.RUNNER_LABEL: self._runner}
        if self._stopping.is_set():
            return 1
        if self._gpus(image):
            told["device_requests"] = _all_gpus()
        try:
            container = client.containers.create(image, command, labels=labels, **told)
            try:
                return self._watch(container, step)
            finally:
                engine.remove(container)
        except Exception as error:
            _say(step, f"{step}: the Docker engine failed: {getattr(error, 'explanation', None) or error}")
            raise

    def _watch(self, container: Any, step: str) -> int:
        container.start()
        if self._stopping.is_set():
            # The wish came after it was looked for, and before there was anything to stop.
            container.stop(timeout=engine.STOP_SECONDS)
        code = int(container.wait()["StatusCode"])
        # What a step says goes to its log; here is what came before it had one.
        said = container.logs(tail=_LAST_LINES).decode(errors="replace")
        sys.stdout.write(said)
        if code == 0 or self._stopping.is_set():
            return code
        container.reload()
        if container.attrs["State"].get("OOMKilled"):
            _say(step, f"{step}: ended by the kernel: out of memory; free some, or ask less of the recipe")
        elif not Path(os.environ[LOGS_VARIABLE], f"{step}.log").exists():
            words = "".join(said.strip().splitlines()[-1:]) or "it said nothing"
            _say(step, f"{step}: its container ended with {code} before the step began: {words}")
        return code

    def _gpus(self, name: str) -> bool:
        return self._accelerators and name == image_name("train")


def step_of(command: Sequence[str]) -> str:
    """Return the step that a component's command runs: what `--step` says, else the component's own name."""
    if "--step" in command:
        return command[command.index("--step") + 1]
    return command[command.index("-m") + 1].rpartition(".")[2]


def _all_gpus() -> list[Any]:
    from docker.types import DeviceRequest

    return [DeviceRequest(count=-1, capabilities=[["gpu"]])]


def _say(step: str, message: str) -> None:
    """Say what a step could not say itself, as its last word."""
    Events.from_environment(step).emit("failed", exit_code=1, message=message, interrupted=False)
