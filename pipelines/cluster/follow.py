"""Follows a run on a cluster to its end; whatever becomes of the one who watches, the run goes on."""

import email.utils
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from modelmill.errors import ModelmillError
from pipelines.cluster.connection import Connection, Refused
from pipelines.cluster.facts import Facts
from pipelines.cluster.objects import spec_of
from pipelines.cluster.pods import Pods
from pipelines.cluster.state import ClusterRun, read_run, step_tasks

POLL_SECONDS = 3.0
_LOG_LINES = 3


@dataclass(kw_only=True)
class Reader:
    """Reads one run again and again."""

    connection: Connection
    run: str
    """Its id."""
    pods: Pods
    _tasks: Mapping[str, str] | None = field(default=None, repr=False)
    _facts: Facts | None = field(default=None, repr=False)

    def read(self) -> ClusterRun:
        """Return the run as it is now, with what Kubernetes knows of its pods.

        Raises:
            ModelmillError: there is no such run, or the server is away for too long.
        """
        raw = get_run(self.connection, self.run)
        if self._tasks is None:
            self._tasks = step_tasks(spec_of(self.connection, raw.pipeline_version_reference))
            self._facts = Facts.read(raw.description) or _of_schedule(self.connection, raw.recurring_run_id)
        run = read_run(raw, self._tasks, self.connection.profile, now=server_time(self.connection), facts=self._facts)
        if any(step.state in {"pending", "running"} for step in run.steps):
            causes = self.pods.waiting(run.id)
            for step in run.steps:
                if step.state in {"pending", "running"} and step.name in causes:
                    # The server hears of it later than Kubernetes.
                    step.state, step.cause = "pending", causes[step.name]
        elif run.state == "failed":
            causes = self.pods.failures(run.id)
            for step in run.steps:
                step.cause = causes.get(step.name, "") if step.state == "failed" else step.cause
        return run

    def lines(self, run: ClusterRun) -> list[str]:
        """Return the last lines that the running step has said."""
        running = [step.name for step in run.steps if step.state == "running"]
        return self.pods.tail(run.id, running[0], _LOG_LINES) if running else []


def follow(
    reader: Reader, watch: Callable[[ClusterRun, list[str]], None], *, every: float = POLL_SECONDS
) -> ClusterRun:
    """Watch a run until it has ended, calling `watch` with it and its last log lines; return it as it ended.

    Raises:
        ModelmillError: the server is away for longer than the connection's patience. The run goes on.
    """
    while True:
        run = reader.read()
        watch(run, [] if run.ended else reader.lines(run))
        if run.ended:
            return run
        reader.connection.sleep(every)


def get_run(connection: Connection, run: str) -> Any:
    """Return a run of the API by its id.

    Raises:
        ModelmillError: there is none, or the server is away for too long.
    """
    try:
        return connection.read(f"run {run}", connection.api("Run").run_service_get_run, run)
    except Refused as refused:
        if refused.status not in {400, 404}:
            raise
        raise ModelmillError(
            f"{connection.host}: there is no run {run}; `modelmill runs list --profile FILE` shows those of "
            f"{connection.namespace}"
        ) from None


def server_time(connection: Connection, *, fresh: bool = False) -> datetime:
    """Return the moment of the last answer by the server's clock, which this machine's may not agree with.

    With `fresh` the server is asked now.
    """
    if fresh:
        ask = connection.api("Healthz").healthz_service_get_healthz
        connection.read("its clock", ask)
    answer = getattr(connection.client, "last_response", None)
    # The answer itself, or the wrapping that the published client puts around it.
    raw = getattr(answer, "urllib3_response", answer)
    said = raw.headers.get("Date") if raw is not None else None
    try:
        return email.utils.parsedate_to_datetime(said or "")
    except ValueError:
        return datetime.fromtimestamp(time.time(), UTC)


def _of_schedule(connection: Connection, recurring: str | None) -> Facts | None:
    if not recurring:
        return None
    ask = connection.api("RecurringRun").recurring_run_service_get_recurring_run
    try:
        return Facts.read(connection.read("a recurring run", ask, recurring).description)
    except Refused:
        return None
