"""One work has one process: who is at it, told by marks that follow one another in the store.

The last mark of `<folder>/lease/` decides. A holder puts a new one at every heartbeat. As each is put only where there
is none, of several processes one wins, and a holder that slept too long finds its place taken.
"""

import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelmill.errors import ModelmillError
from modelmill.store import NotFound, Store

log = logging.getLogger(__name__)

BEAT_SECONDS = 10.0
"""Between two heartbeats."""
DEAD_SECONDS = 60.0
"""Without a heartbeat, after which a holder on another machine counts as dead."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What only one process at a time may be at."""

    folder: str
    """Of the store; the marks lie in its `lease/`."""
    what: str
    """For people."""
    busy: str
    """What to say to one that finds another at it, behind that one's name."""
    lost: str
    """What to say to one that was taken for dead and replaced."""


@dataclass(kw_only=True)
class Lease:
    """The right to be at some work."""

    store: Store
    work: Work
    me: dict[str, Any]
    number: int
    _over: threading.Event = field(default_factory=threading.Event, init=False)
    _lost: str = field(default="", init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def check(self) -> None:
        """Raise if the lease is held no more.

        Raises:
            ModelmillError: another process has taken it, since this one stood still.
        """
        if self._lost:
            raise ModelmillError(self._lost)

    def start(self, beat: float) -> None:
        """Begin to beat."""
        self._thread = threading.Thread(target=self._beat, args=(beat,), name="lease", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Say that the work is free."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        try:
            if not self._lost:
                self._next({"free": True, "by": self.me["holder"]})
        except ModelmillError as error:
            log.warning("the lease could not be given back: %s", error)

    def _beat(self, seconds: float) -> None:
        while not self._lost and not self._over.wait(seconds):
            try:
                self._next(self.me)
            except ModelmillError as error:
                # The store may answer again before anyone takes this process for dead.
                log.warning("no heartbeat: %s", error)

    def _next(self, mark: dict[str, Any]) -> None:
        if not self.store.claim(_key(self.work.folder, self.number + 1), mark):
            self._lost = self.work.lost
            return
        self.store.delete_checkpoint(_key(self.work.folder, self.number))
        self.number += 1


@contextmanager
def held(
    store: Store,
    work: Work,
    check_stop: Callable[[], None],
    beat: float = BEAT_SECONDS,
    dead: float = DEAD_SECONDS,
) -> Iterator[Lease]:
    """Hold the right to some work; a holder that shows no life is given some time, and then taken for dead.

    Raises:
        ModelmillError: another process is at it; or what `check_stop` raises, which is asked while this one waits.
    """
    me = {"holder": uuid.uuid4().hex, **_process(os.getpid()), "machine": platform.node()}
    number = _taken(store, work, check_stop, me, dead)
    lease = Lease(store=store, work=work, me=me, number=number)
    _delete_older(store, work.folder, number)
    lease.start(beat)
    try:
        yield lease
    finally:
        lease.release()


def _taken(store: Store, work: Work, check_stop: Callable[[], None], me: dict[str, Any], dead: float) -> int:
    """Put the first mark of a new holder; return its number."""
    since: tuple[int, float] | None = None
    while True:
        number, mark = _last(store, work.folder)
        if number and not mark.get("free") and _lives(mark):
            now = time.monotonic()
            if _is_here(mark) or (since is not None and since[0] != number):
                holder = f"process {mark.get('pid')} on {mark.get('machine')}"
                raise ModelmillError(f"{work.what}: {holder} {work.busy}")
            if since is None:
                log.warning("%s: waits %.0f s for a sign of life from %s", work.what, dead, mark.get("machine"))
            since = since or (number, now)
            if now - since[1] < dead:
                check_stop()
                time.sleep(min(dead / 20, 1.0))
                continue
            log.warning("%s: no sign of life from %s for %.0f s; takes over", work.what, mark.get("machine"), dead)
        if store.claim(_key(work.folder, number + 1), me):
            return number + 1


def _last(store: Store, folder: str) -> tuple[int, dict[str, Any]]:
    """Return the last mark and its number; 0 where there is none."""
    while True:
        numbers = _numbers(store, folder)
        if not numbers:
            return 0, {}
        try:
            return numbers[-1], store.get_manifest(_key(folder, numbers[-1]))
        except NotFound:
            # The holder's heart beat in between.
            continue


def _numbers(store: Store, folder: str) -> list[int]:
    names = [key.rpartition("/")[2].removesuffix(".json") for key in store.keys(f"{folder}/lease/")]
    return sorted(int(name) for name in names if name.isdecimal())


def _delete_older(store: Store, folder: str, number: int) -> None:
    for older in _numbers(store, folder):
        if older < number:
            store.delete_checkpoint(_key(folder, older))


def _key(folder: str, number: int) -> str:
    return f"{folder}/lease/{number:08d}.json"


def _process(pid: int) -> dict[str, Any]:
    """Return what tells a process from all others on this machine, and this machine from others."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # Within a container numbers of processes are its own.
        space = Path("/proc/self/ns/pid").readlink()
        # The 22nd field, counted behind the name in brackets: a number may be given to another process later.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return {"pid": pid, "boot": "", "started": ""}
    # A zombie has ended, and only waits to be asked how.
    return {"pid": pid, "boot": f"{boot} {space}", "started": "" if fields[0] == "Z" else fields[19]}


def _is_here(mark: dict[str, Any]) -> bool:
    """Return whether a holder is a process that can be seen from here."""
    return bool(mark.get("boot")) and mark["boot"] == _process(os.getpid())["boot"]


def _lives(mark: dict[str, Any]) -> bool:
    """Return whether a holder may be alive; of one that can be seen from here, whether it is."""
    return not _is_here(mark) or _process(mark["pid"])["started"] == mark["started"]
