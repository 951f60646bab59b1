"""What KFP's controller of scheduled workflows does with recurring runs, for the stand-in: when which run is started.

After backend/src/crd/controller/scheduledworkflow of Kubeflow Pipelines 2.17, which reads cron with robfig/cron 1.2:
six fields, seconds first, no time zone (one for the whole server, UTC by default).
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

from kfp_server_api import models

from tests.kfp_models import Refused

_BOUNDS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FINAL = ("SUCCEEDED", "FAILED", "CANCELED")


def check_trigger(trigger: Any) -> None:
    """Refuse what the server refuses.

    Raises:
        Refused: no trigger, a cron that robfig/cron 1.2 does not read, or an interval under a second.
    """
    if trigger is None or (trigger.cron_schedule is None) == (trigger.periodic_schedule is None):
        raise Refused(400, "Invalid input error: a recurring run wants one trigger")
    if trigger.cron_schedule is not None:
        _fields(trigger.cron_schedule.cron or "")
    elif int(trigger.periodic_schedule.interval_second or 0) < 1:
        raise Refused(400, "Found invalid period schedule interval. Set at interval to least 1 second")


def tick(server: Any, until: datetime) -> list[Any]:
    """Let the controller start what is due at a moment; return the runs that it started, oldest first."""
    started = []
    for recurring in list(server.recurring.values()):
        while recurring.mode == "ENABLE":
            own = [run for run in server.runs.values() if run.recurring_run_id == recurring.recurring_run_id]
            active = [run for run in own if run.state not in _FINAL]
            last = max((run.scheduled_at for run in own), default=None)
            due = _next(recurring, last, until)
            if due is None or due > until or len(active) >= int(recurring.max_concurrency):
                break
            started.append(_start(server, recurring, due, len(own) + 1))
    return started


def _start(server: Any, recurring: Any, due: datetime, index: int) -> Any:
    run = models.V2beta1Run(
        run_id=f"{recurring.recurring_run_id[:23]}-{index:012}",
        display_name=f"{recurring.display_name}-{index}",
        recurring_run_id=recurring.recurring_run_id,
        experiment_id=recurring.experiment_id,
        pipeline_version_reference=recurring.pipeline_version_reference,
        service_account=recurring.service_account,
        state="PENDING",
        storage_state="AVAILABLE",
        created_at=due,
        scheduled_at=due,
        finished_at=datetime(1970, 1, 1, tzinfo=UTC),
    )
    return server.runs.setdefault(run.run_id, run)


def _next(recurring: Any, last: datetime | None, now: datetime) -> datetime | None:
    periodic = recurring.trigger.periodic_schedule
    schedule = periodic or recurring.trigger.cron_schedule
    since = last or schedule.start_time or recurring.created_at
    catch_up = not recurring.no_catchup
    if periodic is not None:
        return _next_interval(periodic, since, now, catch_up)
    since = max(since, schedule.start_time or since)
    coming = takewhile(
        lambda one: schedule.end_time is None or one <= schedule.end_time, _moments(schedule.cron, since)
    )
    due = next(coming, None)
    while not catch_up and due is not None and (later := next(coming, None)) is not None and later <= now:
        due = later
    return due


def _next_interval(periodic: Any, since: datetime, now: datetime, catch_up: bool) -> datetime | None:
    step = timedelta(seconds=int(periodic.interval_second))
    due = periodic.start_time if periodic.start_time is not None and periodic.start_time > since else since + step
    if periodic.end_time is not None and periodic.end_time < due:
        return None
    return now if not catch_up and now >= due + step else due


def _moments(cron: str, after: datetime) -> Iterator[datetime]:
    """Yield the moments of a cron in UTC, minute by minute; those of tests are at second 0."""
    second, minute, hour, day, month, weekday = _fields(cron)
    assert second == {0}, cron
    fields = cron.lower().split()
    at = after.astimezone(UTC).replace(second=0, microsecond=0)
    for _ in range(60 * 24 * 366):
        at += timedelta(minutes=1)
        if at.minute not in minute or at.hour not in hour or at.month not in month:
            continue
        by_day, by_weekday = at.day in day, at.isoweekday() % 7 in weekday
        starred = fields[3][0] in "*?" or fields[5][0] in "*?"
        if (by_day and by_weekday) if starred else (by_day or by_weekday):
            yield at


def _fields(cron: str) -> list[set[int]]:
    fields = cron.lower().split()
    if not 5 <= len(fields) <= 6:
        raise Refused(400, f"Schedule cron is not a supported format: Expected 5 to 6 fields, found {len(fields)}")
    fields += ["*"] * (6 - len(fields))
    return [_values(field, place) for place, field in enumerate(fields)]


def _values(field: str, place: int) -> set[int]:
    low, high = _BOUNDS[place]
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        start = low if first in {"*", "?"} else _number(first, place)
        end = high if first in {"*", "?"} or (step and not dash) else _number(last, place) if dash else start
        if not low <= start <= end <= high:
            raise Refused(400, f"Schedule cron is not a supported format: {field} is outside {low}-{high}")
        found |= set(range(start, end + 1, int(step or 1)))
    return found


def _number(text: str, place: int) -> int:
    names = {4: _MONTHS, 5: _DAYS}.get(place, [])
    if text in names:
        return names.index(text) + (1 if place == 4 else 0)
    if not text.isdigit():
        raise Refused(400, f"Schedule cron is not a supported format: Failed to parse int from {text}")
    return int(text)
