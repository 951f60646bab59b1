"""What a step tells its parent while it runs: JSON lines in the file named by MODELMILL_EVENTS.

Kinds: `started` (pid), `progress` (what, done, total, unit), `figures` (values, at), `spike` (at, loss, reason, done: a
step of training that was left out), and last `done` (summary) or `failed` (exit_code, message). Every line carries
`step` and `time` (seconds since the epoch).
"""

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelmill.disk import full, is_full

EVENTS_VARIABLE = "MODELMILL_EVENTS"

# 5 a second is as often as a terminal is drawn.
_PROGRESS_SECONDS = 0.2


@dataclass
class Events:
    """Appends one step's events to a file, each line in one write; without a file it keeps silent."""

    step: str
    path: Path | None
    _last_progress: float = field(default=0.0, repr=False)
    _last_what: str = field(default="", repr=False)
    _cut: bool = field(default=False, repr=False)
    """Whether the last line may stand there without its end."""
    failure: str = field(default="", init=False)
    """Why the step failed, '' where it did not or was asked to stop; known also without a file."""
    exit_code: int = field(default=0, init=False)
    """What it failed with."""

    @classmethod
    def from_environment(cls, step: str, rank: int = 0) -> "Events":
        """Return the events of a step, going to the file that the environment names, if any.

        Of the processes that train together the first speaks for all; another one has a file of its own beside it.
        """
        path = os.environ.get(EVENTS_VARIABLE)
        made = cls(step=step, path=Path(path) if path else None)
        return made.beside(rank) if rank else made

    def beside(self, rank: int) -> "Events":
        """Return the events of another process of the step."""
        path = None if self.path is None else self.path.with_name(f"{self.path.name}.{rank}")
        return Events(step=self.step, path=path)

    def emit(self, kind: str, **values: Any) -> None:
        """Append one event; on a full disk it is lost, with a warning: to tell of the work is not worth the work."""
        if kind == "failed" and not values["interrupted"]:
            self.failure, self.exit_code = values["message"], values["exit_code"]
        if self.path is None:
            return
        line = json.dumps({"step": self.step, "kind": kind, "time": time.time(), **values}) + "\n"
        data = ("\n" + line if self._cut else line).encode()
        try:
            self._cut = self._write(self.path, data) < len(data)
        except OSError as error:
            if not is_full(error):
                raise
            logging.getLogger(__name__).warning("%s: event %s is lost: %s", self.path, kind, full(self.path.parent))

    @staticmethod
    def _write(path: Path, data: bytes) -> int:
        # O_APPEND with one write: lines of two processes never mix.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            return os.write(descriptor, data)
        finally:
            os.close(descriptor)

    def progress(self, what: str, done: int, total: int | None, unit: str) -> None:
        """Say how far a piece of work is; the first, the last and at most five lines a second are written."""
        now = time.monotonic()
        final = total is not None and done >= total
        if what == self._last_what and not final and now - self._last_progress < _PROGRESS_SECONDS:
            return
        self._last_what, self._last_progress = what, now
        self.emit("progress", what=what, done=done, total=total, unit=unit)


@dataclass
class EventReader:
    """Reads events as they are appended, one whole line at a time."""

    path: Path
    _offset: int = field(default=0, repr=False)

    def new(self) -> Iterator[dict[str, Any]]:
        """Yield the events that came since the last call; an unfinished last line waits for its end."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                # A full disk cuts a line short.
                with suppress(ValueError):
                    yield json.loads(line)
