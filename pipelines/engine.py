"""This machine's Docker engine: whether it is there and is what it says, its images, and containers left behind."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelmill.errors import ModelmillError, UserError, without_credentials

RUN_LABEL, STEP_LABEL = "modelmill/run", "modelmill/step"
HOME_LABEL = "modelmill/home"
"""The folder of local defaults that a container works for."""
RUNNER_LABEL = "modelmill/runner"
"""The process that a container ends with, as `alive` knows it."""
STOP_SECONDS = 20
"""What a step has to save and end after SIGTERM."""
_SOCKET = "/var/run/docker.sock"


@contextmanager
def engine() -> Iterator[Any]:
    """Give a client of this machine's Docker engine.

    Raises:
        ModelmillError: no engine answers, or not to this user.
        UserError: it is another machine's, or podman's.
    """
    import docker

    try:
        client = docker.from_env()
    except docker.errors.DockerException as error:
        raise _unreachable(str(error)) from error
    try:
        _check(client)
        yield client
    finally:
        client.close()


def _unreachable(said: str) -> ModelmillError:
    where = without_credentials(os.environ.get("DOCKER_HOST") or _SOCKET)
    if "PermissionError" in said:
        return ModelmillError(
            f"the Docker engine at {where} does not let this user in; `sudo usermod -aG docker $USER` and log in again"
        )
    if "FileNotFoundError" in said or "ConnectionRefusedError" in said:
        return ModelmillError(
            f"no Docker engine answers at {where}; start it (`sudo systemctl start docker`), or name it by DOCKER_HOST"
        )
    return ModelmillError(f"the Docker engine at {where} does not answer: {without_credentials(said)}")


def _check(client: Any) -> None:
    if not client.api.base_url.startswith(("http+docker://localhost", "http+docker://localnpipe")):
        address = without_credentials(os.environ.get("DOCKER_HOST") or client.api.base_url)
        raise UserError(
            f"the Docker engine at {address} is not this machine's, and would not see its files; unset DOCKER_HOST"
        )
    parts = [part["Name"] for part in client.version().get("Components") or ()]
    if any("podman" in part.lower() for part in parts):
        # Its Docker API removes a container before it tells how it ended, and failures would pass for successes.
        raise UserError(
            "what answers as the Docker engine is podman, whose Docker API loses the exit codes of steps; use Docker's "
            "own engine, or --runner subprocess"
        )


def require_images(client: Any, names: Iterable[str]) -> None:
    """Check that images are there, before anything starts.

    Raises:
        UserError: one is not; the command that makes it is told.
    """
    import docker

    for name in dict.fromkeys(names):
        try:
            client.images.get(name)
        except docker.errors.ImageNotFound:
            raise UserError(
                f"{name}: the Docker engine has no such image; `make images` in a checkout of this version builds it, "
                f"or `docker pull {name}` where it was pushed"
            ) from None


def sweep(client: Any, home: Path) -> list[str]:
    """Remove the containers that work for a home folder and whose runner is gone, and return their names."""
    gone = []
    for container in _of(client, f"{HOME_LABEL}={home}"):
        if not alive(container.labels.get(RUNNER_LABEL, "")):
            remove(container)
            gone.append(str(container.name))
    return gone


def stop_all(client: Any, runner: str) -> None:
    """Let the containers of a runner save and end; what still runs after 20 s is killed."""
    import docker

    for container in _of(client, f"{RUNNER_LABEL}={runner}"):
        try:
            container.stop(timeout=STOP_SECONDS)
        except docker.errors.NotFound:
            continue


def remove(container: Any) -> None:
    """Remove a container, running or not; one that is gone already is no matter."""
    import docker

    try:
        container.remove(force=True, v=True)
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        # Somebody else removes it at this moment.
        if error.status_code != 409:
            raise


def _of(client: Any, label: str) -> Sequence[Any]:
    # Without looking at each, which would fail for one that has just gone.
    found: Sequence[Any] = client.containers.list(all=True, filters={"label": label}, ignore_removed=True)
    return found


def this_process() -> str:
    """Return what `alive` knows this process by: its number and, since numbers are used again, when it began."""
    return f"{os.getpid()}@{_began(os.getpid())}"


def alive(process: str) -> bool:
    """Return whether a process, as `this_process` named it, still runs on this machine."""
    if not Path("/proc/self/stat").exists():
        # Without Linux' /proc it is not known, and nothing of anybody is removed.
        return True
    number, _, began = process.partition("@")
    return number.isdigit() and bool(began) and _began(int(number)) == began


def _began(process: int) -> str:
    """The start of a process in clock ticks since this boot, and the boot; '' if there is no such process."""
    try:
        # The name in parentheses may hold spaces: what follows it is counted.
        after = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    # A zombie has ended, and is only not yet buried.
    return "" if after[0] == "Z" else f"{after[19]}-{boot[:8]}"
