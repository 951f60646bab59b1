"""The log of the first node, copied into the step's own while it comes, each line once."""

import logging
import sys
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from modelmill.trainjob.client import Api, Away, Refused
from modelmill.trainjob.spec import CONTAINER

log = logging.getLogger(__name__)

# Between two tries to open a log that is not there yet, or broke off.
_AGAIN_SECONDS = 1.0


@dataclass(kw_only=True)
class Follower:
    """Copies logs of pods to this process's standard error, in a thread; one pod after another."""

    api: Api
    _pod: str = field(default="", init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _over: threading.Event = field(default_factory=threading.Event, init=False)

    def follow(self, pod: str) -> None:
        """Copy the log of a pod from now on; one that is followed already stays so."""
        if pod == self._pod:
            return
        self.finish(_AGAIN_SECONDS)
        self._pod, self._over = pod, threading.Event()
        self._thread = threading.Thread(target=self._copy, args=(pod, self._over), name="log", daemon=True)
        self._thread.start()

    def finish(self, seconds: float) -> None:
        """Wait for the last lines of a container that has ended, or of one that is no more."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(seconds)
            self._thread = None

    def _copy(self, pod: str, over: threading.Event) -> None:
        from urllib3.exceptions import HTTPError

        lines = _Lines()
        while True:
            # What is said before the stream begins is in it: a log that was opened after the end is whole.
            last = over.is_set()
            try:
                with self.api.follow(pod, CONTAINER, lines.since) as stream:
                    lines.pass_on(stream)
            except (Away, HTTPError, OSError) as error:
                log.debug("the log of %s breaks off: %s", pod, error)
            except Refused as refusal:
                # One that has not started yet has no log (400), one that was removed has none any more (404).
                if refusal.code not in {400, 404}:
                    log.warning("the log of the first node cannot be read: %s", refusal)
                    return
            if last:
                return
            over.wait(_AGAIN_SECONDS)


@dataclass(kw_only=True)
class _Lines:
    """The lines of one log, each passed on once, however often the log is opened."""

    since: str = ""
    """The second of the last line, as the server is asked for what came from then on."""
    seen: set[bytes] = field(default_factory=set)
    """The lines of that second, with their times: they come again when the log is opened again."""

    def pass_on(self, stream: Any) -> None:
        """Write what comes to this process's standard error, without the times."""
        for line in stream:
            stamp, _, said = line.partition(b" ")
            if line in self.seen:
                continue
            try:
                at = datetime.fromisoformat(stamp.decode())
            except ValueError:
                said = line
            else:
                second = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                if second != self.since:
                    self.since, self.seen = second, set()
                self.seen.add(line)
            sys.stderr.write(said.decode(errors="replace"))
            sys.stderr.flush()
