"""This machine: Python, packages, disk, store, MLflow, and what it computes with."""

import os
import platform
import re
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from modelmill.errors import ModelmillError
from modelmill.home import TRACKING_VARIABLE, home, tracking_uri
from modelmill.store import STORE_VARIABLE
from pipelines.doctor.finding import Doctor, Seen
from pipelines.doctor.mlflow import look_at_mlflow
from pipelines.doctor.store import look_at_store
from pipelines.machine import this_machine

_GROUP = "machine"
_LOCK = Path(__file__).resolve().parents[2] / "requirements.lock"
_PYTHON = (3, 11)
# A demo's run takes about 1 GB with the models of a few runs before it; less is soon full.
_LEAST_DISK = 2 * 2**30
_LEAST_MEMORY = 4 * 2**30
_SHOWN = 3
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)\s*(;.*?)?\s*\\?$", re.MULTILINE)


def look_at_machine(doctor: Doctor) -> None:
    """Look at what a run on this machine needs."""
    machine = this_machine()
    doctor.look(_GROUP, "Python", _python, f"install Python {'.'.join(map(str, _PYTHON))} or later")
    doctor.look(_GROUP, "packages", _packages, "pip install --require-hashes -r requirements.lock")
    doctor.look(_GROUP, "disk", _disk, "modelmill gc  # or make room, or set MODELMILL_STORE to another disk")
    doctor.look(_GROUP, "cores", lambda: Seen(saw=f"{machine.cores}"))
    doctor.look(_GROUP, "memory", lambda: _memory(machine.memory), "close other programs, or take smaller batches")
    bf16 = f"{machine.bf16}, as the processor says" if machine.bf16 else "no units; training measures whether it pays"
    doctor.look(_GROUP, "bf16", lambda: Seen(saw=bf16, outcome="right" if machine.bf16 else "unknown"))
    named = ", ".join(f"{gpu.name} with {gpu.memory / 2**30:.0f} GiB" for gpu in machine.gpus)
    doctor.look(
        _GROUP,
        "GPU",
        lambda: Seen(saw=named or "none; training runs on the cores", outcome="right" if named else "unknown"),
    )
    address = tracking_uri()
    if address.startswith("sqlite:///") and not os.environ.get(TRACKING_VARIABLE):
        doctor.look(_GROUP, "MLflow's database", lambda: _database(Path(address.removeprefix("sqlite:///"))))
    elif urlsplit(address).scheme in ("http", "https"):
        look_at_mlflow(doctor, address)
    else:
        doctor.look(
            _GROUP, "MLflow", lambda: Seen(saw=f"{urlsplit(address).scheme}: not looked into", outcome="unknown")
        )
    with _as_empty_as_before(home()):
        look_at_store(doctor, os.environ.get(STORE_VARIABLE) or ".modelmill/store")


@contextmanager
def _as_empty_as_before(folder: Path) -> Iterator[None]:
    """Take away a folder that was not there before, if there is nothing but folders in it."""
    there = folder.exists()
    try:
        yield
    finally:
        if not there:
            for path in sorted(folder.rglob("*"), reverse=True):
                with suppress(OSError):
                    path.rmdir()
            with suppress(OSError):
                folder.rmdir()


def _python() -> Seen:
    found = platform.python_version()
    return Seen(saw=f"{found} at {sys.executable}", outcome="right" if sys.version_info >= _PYTHON else "missing")


def _packages() -> Seen:
    if not _LOCK.is_file():
        return Seen(saw="no requirements.lock beside this installation", outcome="unknown")
    wanted = {name: version for name, version, marker in _PINNED.findall(_LOCK.read_text()) if not marker}
    other, absent = [], []
    for name, version in wanted.items():
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            absent.append(name)
            continue
        if found != version:
            other.append(f"{name} {found} instead of {version}")
    if absent:
        return Seen(saw=f"{len(absent)} of {len(wanted)} are missing: {_few(absent)}", outcome="missing")
    if other:
        return Seen(saw=f"{len(other)} of {len(wanted)} are of another version: {_few(other)}", outcome="warned")
    return Seen(saw=f"{len(wanted)} as the lock says")


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def _disk() -> Seen:
    folder = home() if home().is_dir() else home().parent
    free = shutil.disk_usage(folder).free
    saw = f"{free / 2**30:.1f} GiB free for {home()}"
    return Seen(saw=saw, outcome="right" if free >= _LEAST_DISK else "missing")


def _database(path: Path) -> Seen:
    if not path.is_file():
        return Seen(saw=f"{path}: not there yet; the first run makes it", outcome="unknown")
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=5)) as database:
            # Taken back at once: a lock that another holds, or a file that may not be written, shows all the same.
            database.execute("BEGIN IMMEDIATE")
            runs = database.execute("SELECT count(*) FROM runs").fetchone()[0]
            database.rollback()
    except sqlite3.Error as error:
        raise ModelmillError(f"{path}: {error}; move it away, and the next run begins a new one") from error
    return Seen(saw=f"{path}: {runs} runs, writable")


def _memory(count: int | None) -> Seen:
    if count is None:
        return Seen(saw="the system does not say", outcome="unknown")
    return Seen(saw=f"{count / 2**30:.1f} GiB", outcome="right" if count >= _LEAST_MEMORY else "warned")
