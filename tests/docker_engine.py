"""A real Docker engine (Debian's dockerd, tools/install-debian) in a folder of its own, and a base image without a
registry.

MODELMILL_TEST_DOCKER names a folder that keeps the engine's images, so that a second run of the tests builds less.
Where MODELMILL_TEST_DOCKER_MUST is set, as where the tests run for every change, an engine that cannot start is a
failure; elsewhere its tests are skipped.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import free_ports, running

BASE = "localhost/python:3.11-slim"
ROOT = Path(__file__).resolve().parents[1]
_PROGRAMS = ("dockerd", "docker", "mmdebstrap", "docker-registry")
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


@contextlib.contextmanager
def engine() -> Iterator[dict[str, str]]:
    """Run an engine that has the base image while the block lasts, and yield the environment of who speaks to it."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        _cannot(
            f"no Docker engine can start: {f'no {missing[0]}' if missing else 'not root'}; see tools/install-debian"
        )
    kept = os.environ.get("MODELMILL_TEST_DOCKER")
    # A short path: a socket's may have some hundred characters at most.
    with tempfile.TemporaryDirectory(prefix="dockerd-") as name:
        folder = Path(name)
        data = Path(kept or folder / "data")
        env = {"DOCKER_HOST": f"unix://{folder}/docker.sock", "DOCKER_CONFIG": str(folder)}
        command = ["dockerd", "--host", env["DOCKER_HOST"], "--data-root", str(data), "--exec-root", f"{folder}/exec"]
        command += ["--pidfile", f"{folder}/pid", "--iptables=false", "--ip6tables=false", "--bridge=none"]

        def ready() -> bool:
            return _docker(env, "version").returncode == 0

        server = running("dockerd", command, folder, ready=ready, end=signal.SIGTERM)
        try:
            server.__enter__()
        except RuntimeError as error:
            _cannot(str(error))
        try:
            _make_base(env)
            yield env
        finally:
            server.__exit__(None, None, None)
            _unmount(folder)


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Run a registry of images while the block lasts, and yield its address."""
    (port,) = free_ports(1)
    (folder / "registry.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n"
    )

    def ready() -> bool:
        asked = ["curl", "--silent", "--fail", "--noproxy", "*", f"http://127.0.0.1:{port}/v2/"]
        return subprocess.run(asked, check=False, stdout=subprocess.DEVNULL).returncode == 0

    with running("registry", ["docker-registry", "serve", "registry.yml"], folder, ready=ready):
        yield f"127.0.0.1:{port}"


def _cannot(reason: str) -> None:
    if os.environ.get("MODELMILL_TEST_DOCKER_MUST"):
        pytest.fail(reason)
    pytest.skip(reason)


def _unmount(folder: Path) -> None:
    """What an engine leaves mounted when it ends: the network's name, for one."""
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for place in reversed([place for place in mounted if place.startswith(f"{folder}/")]):
        subprocess.run(["umount", place], check=True)


def _make_base(env: dict[str, str]) -> None:
    if _docker(env, "image", "inspect", BASE).returncode == 0:
        return
    facts = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    # dpkg asks the disk for every file that it is safe; nobody pulls the plug on a test.
    command = ["mmdebstrap", "--variant=minbase", "--include=python3,python3-pip,ca-certificates", "--quiet"]
    command += ["--dpkgopt=force-unsafe-io", facts["VERSION_CODENAME"].strip('"'), "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as making:
        importing = ["docker", "import", "-", BASE]
        subprocess.run(importing, env={**os.environ, **env}, stdin=making.stdout, check=True, capture_output=True)
    assert making.returncode == 0


def build_environment() -> dict[str, str]:
    """What a build needs to reach the packages' index from here."""
    return {"PIP_CERT": str(_CERTIFICATES)} if _CERTIFICATES.is_file() else {}


def _docker(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", *arguments], env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
