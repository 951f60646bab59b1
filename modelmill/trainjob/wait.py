"""A step that waits for its TrainJob: its log comes through, its failure in a sentence, and its result by the store."""

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelmill.errors import Interrupted, ModelmillError, UserError, without_credentials
from modelmill.store import Store, open_store
from modelmill.trainjob.begin import begin
from modelmill.trainjob.client import Api, Away, Object
from modelmill.trainjob.failures import GOES_ON, broken, ended_at, failure
from modelmill.trainjob.follow import Follower
from modelmill.trainjob.here import own_pod
from modelmill.trainjob.job import Stop, TrainJob
from modelmill.trainjob.result import taken
from modelmill.trainjob.seen import Hindrance, Seen, container, hindrance, number
from modelmill.trainjob.spec import CONTAINER, Asked

if TYPE_CHECKING:
    from modelmill.command import Result

log = logging.getLogger(__name__)

_TAIL_LINES = 60
# Of many broken nodes so many are read: those that failed first.
_TAILS = 16


def train_on_nodes(asked: Asked) -> "Result":
    """Train on several nodes by a TrainJob; return what it made.

    Raises:
        Interrupted: SIGTERM or SIGINT has come; the TrainJob is removed, and the same command goes on.
        UserError: what was asked of the training is wrong.
        ModelmillError: it failed, or could not begin.
    """
    stop = Stop()
    stop.listen()
    try:
        job = TrainJob(api=Api.connect(), asked=asked, stop=stop)
        return Wait(job=job, store=open_store()).run(job.patiently(lambda: own_pod(job.api)))
    except ModelmillError as error:
        sort = Interrupted if isinstance(error, Interrupted) else UserError if error.exit_code == 2 else ModelmillError
        raise sort(without_credentials(f"{asked.step}: {error}")) from error


@dataclass(kw_only=True)
class Wait:
    """One wait for one TrainJob."""

    job: TrainJob
    store: Store
    _since: dict[str, float] = field(default_factory=dict, init=False)
    """When each sort of hindrance began."""

    def run(self, pod: Object) -> "Result":
        """Return what the TrainJob made for the step in a pod; on any other end it is removed.

        Raises:
            Interrupted, UserError, ModelmillError: as train_on_nodes.
        """
        made = taken(self.store, self.job.name)
        if made is not None:
            log.info("TrainJob %s has made its result already", self.job.name)
            return made
        follower = Follower(api=self.job.api)
        begun = False
        try:
            begin(self.job, pod)
            begun = True
            made = self._watched(follower)
        except BaseException as error:
            # Also what no one foresaw leaves no nodes behind; what could not begin has none.
            if begun or isinstance(error, Interrupted):
                self.job.remove()
            follower.finish(self.job.times.hurry)
            raise
        follower.finish(self.job.times.log)
        return made

    def _watched(self, follower: Follower) -> "Result":
        while True:
            try:
                job = self.job.get()
                seen = None if job is None else self.job.look(job)
            except Away as error:
                # The training goes on without the server, and its result comes by the store.
                self.job.tell_away(error)
                made = taken(self.store, self.job.name)
            else:
                made = self._judged(seen, follower)
            if made is not None:
                return made
            self.job.stop.wait(self.job.times.poll)

    def _judged(self, seen: Seen | None, follower: Follower) -> "Result | None":
        """Return the result if it is there, None if there is more to wait for."""
        if seen is None or "deletionTimestamp" in seen.job["metadata"]:
            made = taken(self.store, self.job.name)
            if made is None:
                raise ModelmillError(f"TrainJob {self.job.name} was deleted while it trained; {GOES_ON}")
            return made
        first = seen.nodes.get(0)
        if first is not None and {"running", "terminated"} & container(first).get("state", {}).keys():
            follower.follow(first["metadata"]["name"])
        if seen.condition("Complete"):
            return self._result()
        if seen.condition("Failed") or broken(seen):
            return self._failed(seen, follower)
        self._mind(hindrance(self.job.asked, seen))
        return None

    def _result(self) -> "Result":
        end = time.monotonic() + self.job.times.result
        while True:
            made = taken(self.store, self.job.name)
            if made is not None:
                return made
            if time.monotonic() > end:
                what = f"TrainJob {self.job.name} is complete, and its result is not in the store {self.store.uri}"
                raise ModelmillError(f"{what}; do its pods see another MODELMILL_STORE?")
            self.job.stop.wait(self.job.times.poll)

    def _failed(self, seen: Seen, follower: Follower) -> "Result":
        """Raise why the TrainJob failed, unless it had made its result before."""
        self.job.stop.wait(self.job.times.settle)
        made = taken(self.store, self.job.name)
        if made is not None:
            log.warning("TrainJob %s failed after it had made its result, which counts", self.job.name)
            self.job.remove()
            return made
        job = self.job.patiently(self.job.get)
        if job is not None:
            later = self.job.patiently(lambda: self.job.look(job))
            # Whoever ends the other pods may take those that failed with them.
            seen = later if broken(later) or not broken(seen) else seen
        follower.finish(self.job.times.hurry)
        why = failure(self.job.asked, seen, self._tails(broken(seen)))
        raise (UserError if why.exit_code == 2 else ModelmillError)(why.sentence)

    def _tails(self, pods: Sequence[Object]) -> dict[str, list[str]]:
        """Return the last lines of broken pods; those of all but the first node, whose log is here, are shown."""
        tails: dict[str, list[str]] = {}
        for pod in sorted(pods, key=lambda pod: (ended_at(pod), number(pod)))[:_TAILS]:
            name = pod["metadata"]["name"]
            try:
                tails[name] = self.job.api.tail(name, CONTAINER, _TAIL_LINES)
            except Away as error:
                self.job.tell_away(error)
                continue
            if number(pod):
                sys.stderr.writelines(f"node {number(pod) + 1} | {line}\n" for line in tails[name])
        return tails

    def _mind(self, found: Hindrance | None) -> None:
        """Note what keeps the TrainJob from training; raise if it has for too long."""
        if found is None:
            self._since.clear()
            return
        now = time.monotonic()
        since = self._since.setdefault(found.sort, now)
        if found.seconds is not None and now - since >= found.seconds:
            raise ModelmillError(f"TrainJob {self.job.name}: {found.sentence}")
        if now - since >= self.job.times.quiet:
            self.job.tell(found)
