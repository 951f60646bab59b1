"""One TrainJob by its name: looked at with patience, told about, and removed."""

import logging
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from modelmill.errors import Interrupted
from modelmill.trainjob.client import Api, Away, Object, Refused
from modelmill.trainjob.seen import Hindrance, Seen
from modelmill.trainjob.spec import CONTAINER, JOBSET_LABEL, REPLICATED_LABEL, Asked

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Times:
    """How long is waited for what, in seconds."""

    poll: float = 2.0
    """Between two looks."""
    away: float = 600.0
    """For an API server that does not answer what must be known; a training is waited for without end."""
    gone: float = 300.0
    """For an older TrainJob of the same name to be gone."""
    leave: float = 20.0
    """For the pods' checkpoints on SIGTERM, of the 30 s that a pod has for its end."""
    settle: float = 10.0
    """After a first node has failed, for the others to: which of them was the cause is seen only then."""
    result: float = 60.0
    """For the result of a TrainJob that is complete."""
    log: float = 20.0
    """For the last lines of the first node's log, once it is done."""
    hurry: float = 1.0
    """For them where something failed, or the pod's time is short."""
    quiet: float = 60.0
    """A hindrance that lasts is told so late."""


@dataclass(kw_only=True)
class Stop:
    """The wish to stop, as SIGTERM and SIGINT say it."""

    _asked: threading.Event = field(default_factory=threading.Event, init=False)
    _signal: int = field(default=0, init=False)

    def listen(self) -> None:
        """From now on the signals only set the wish."""
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self.ask)

    def ask(self, number: int, _frame: object = None) -> None:
        """Ask for the end, as a signal does."""
        self._signal = number
        self._asked.set()

    def wait(self, seconds: float) -> None:
        """Wait so long.

        Raises:
            Interrupted: a signal has come.
        """
        if self._asked.wait(seconds):
            raise Interrupted(f"stopped by {signal.Signals(self._signal).name}; run again to go on")


@dataclass(kw_only=True)
class TrainJob:
    """What is asked of the API server about one TrainJob."""

    api: Api
    asked: Asked
    stop: Stop
    times: Times = Times()
    _told: tuple[str, float] = field(default=("", 0.0), init=False)
    """Which hindrance was told last, and when."""

    @property
    def name(self) -> str:
        """The TrainJob's."""
        return self.asked.name

    def get(self) -> Object | None:
        """Return it, or None where there is none.

        Raises:
            Away, Refused: it cannot be known.
        """
        return self.api.get("trainjobs", self.name)

    def look(self, job: Object) -> Seen:
        """Return it with its pods; where they are too few, also with what was told of them.

        Raises:
            Away, Refused: they cannot be known.
        """
        wanted = f"{JOBSET_LABEL}={self.name},{REPLICATED_LABEL}={CONTAINER}"
        seen = Seen(job=job, pods=self.api.find("pods", labelSelector=wanted))
        if len(seen.nodes) >= self.asked.kind.nodes:
            return seen
        try:
            told = self.api.find("events", fieldSelector="type=Warning")
        except Refused:
            # Not every cluster lets a step read them; then it is not known why there are no pods.
            return seen
        # A TrainJob of this name may have been there before.
        made = str(job["metadata"].get("creationTimestamp") or "")
        mine = [one for one in told if one["involvedObject"].get("name", "").startswith(self.name)]
        return replace(seen, events=[one for one in mine if str(one.get("lastTimestamp") or made) >= made])

    def patiently(self, ask: Callable[[], T]) -> T:
        """Return what is asked for, once the API server answers.

        Raises:
            Away: it did not for long.
            Interrupted: a signal has come.
        """
        end = time.monotonic() + self.times.away
        while True:
            try:
                return ask()
            except Away as error:
                if time.monotonic() > end:
                    raise
                self.tell_away(error)
            self.stop.wait(self.times.poll)

    def tell(self, found: Hindrance) -> None:
        """Tell what it waits for; the same again only after a while."""
        sort, at = self._told
        if sort != found.sort or time.monotonic() - at >= 10 * self.times.quiet:
            self._told = (found.sort, time.monotonic())
            log.warning("TrainJob %s: %s", self.name, found.sentence)

    def tell_away(self, error: Away) -> None:
        """Tell that the API server is gone for now."""
        self.tell(Hindrance(sort="away", sentence=f"{error}; it is asked again, and the training goes on"))

    def remove(self) -> None:
        """Delete it in the foreground, and wait a while for its pods to save what they have."""
        log.info("TrainJob %s is removed", self.name)
        end, deleted = time.monotonic() + self.times.leave, False
        while time.monotonic() < end:
            try:
                if not deleted:
                    self.api.delete("trainjobs", self.name)
                    deleted = True
                if self.get() is None:
                    return
            except Away as error:
                self.tell_away(error)
            except Refused as refusal:
                log.error("TrainJob %s cannot be removed: %s", self.name, refusal)
                return
            time.sleep(min(self.times.poll, 0.5))
        left = "is still ending" if deleted else f"is left: kubectl delete trainjob {self.name} -n {self.api.namespace}"
        log.warning("TrainJob %s %s", self.name, left)
