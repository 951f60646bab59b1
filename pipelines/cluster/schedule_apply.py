"""Makes the cluster's recurring runs what the files want, without losing a tick and without starting one twice.

Kubeflow Pipelines cannot change a recurring run. One that is outdated is replaced in this order:

1. disable the old one, at a moment at which none of its ticks is just being started;
2. look which of its ticks was the last that started a run;
3. make the new one, which counts its ticks from the first one that the old one owes, or else from now;
4. delete the old one, and leave alone what it has started.

The old one starts nothing from step 1 on, and the new one counts from there: no tick is both's, and none is nobody's.
Whatever is cut off between two calls leaves the old one disabled, or both there. Both are found by what their
descriptions say, and the next `apply` goes on: it disables again, looks again, makes what is not there, deletes.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from modelmill.errors import ModelmillError
from modelmill.store import open_store
from pipelines.cluster.connection import ORPHANS, Connection, Health, Refused
from pipelines.cluster.cron import parse
from pipelines.cluster.follow import server_time
from pipelines.cluster.objects import (
    Version,
    ensure_experiment,
    ensure_version,
    find_or_make,
    named,
    pages,
)
from pipelines.cluster.schedules import Change, Part, There, there
from pipelines.cluster.uploads import carried

Say = Callable[[str], None]

_ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELED"})
# The controller looks every 30 s (recurringRunResyncIntervalSeconds), and a run is listed some seconds after its start.
_BEFORE, _AFTER = timedelta(seconds=15), timedelta(seconds=75)


def apply(connection: Connection, health: Health, change: Change, say: Say = lambda _: None) -> None:
    """Do what a change says; what another `apply` did meanwhile is found and not done again.

    Raises:
        ModelmillError: the store or the server is away for too long, or refuses. Applied again, it goes on.
    """
    api = connection.api("RecurringRun")
    for one in change.switched:
        assert change.wanted is not None
        _switch(connection, one, enable=change.wanted.schedule.enabled)
    version = experiment = None
    if change.missing and change.wanted is not None:
        wanted = change.wanted
        # All that can take long or fail comes before the old one is touched.
        if carried(wanted.recipe, open_store(connection.profile.store), say) != wanted.copied:
            raise ModelmillError(
                f"{change.name}: a file of its recipe changed meanwhile; nothing was done: apply again"
            )
        says = wanted.parts[0].facts.says
        version = ensure_version(connection, wanted.recipe.name, wanted.content, says["pipeline"])
        experiment = ensure_experiment(connection)
    _wait_for_quiet(connection, [one for one in change.outdated if one.enabled], say)
    for one in change.outdated:
        if one.enabled:
            _switch(connection, one, enable=False)
    owed = _owed(connection, change.outdated)
    for part in change.missing:
        assert version is not None
        assert experiment is not None
        _make(connection, api, part, version, experiment, owed)
    for one in change.outdated:
        _delete(connection, api, health, one, say)
    _drop_seconds(connection, api, health, change, say)


def remove(connection: Connection, health: Health, found: Sequence[There], say: Say = lambda _: None) -> None:
    """Delete recurring runs; what they have started goes on."""
    for one in found:
        if one.enabled:
            _switch(connection, one, enable=False)
        _delete(connection, connection.api("RecurringRun"), health, one, say)


def _wait_for_quiet(connection: Connection, old: Sequence[There], say: Say) -> None:
    deadline = time.monotonic() + (_BEFORE + _AFTER).total_seconds() * 2
    while time.monotonic() < deadline:
        now = server_time(connection, fresh=True)
        near = [tick for one in old for tick in _ticks(one, now - _AFTER)[:2] if tick <= now + _BEFORE]
        # One that comes every two minutes or so is never quiet.
        busy = [tick for one in old for tick in _ticks(one, now)[1:2] if tick <= now + _BEFORE + _AFTER]
        if not near or busy:
            return
        seconds = (max(near) + _AFTER - now).total_seconds()
        say(f"a run of the old one is just due; waiting {seconds:.0f} s, so that it is started once")
        connection.sleep(max(1.0, seconds))


def _owed(connection: Connection, old: Sequence[There]) -> datetime | None:
    """Return the moment that a new one counts from: just before the first tick that an old one owes, else now.

    None where there is no old one. The interval of a schedule counts from the last run, not from now.
    """
    if not old:
        return None
    now = server_time(connection, fresh=True)
    begins = [now]
    for one in old:
        if one.facts.says.get("enabled") == "false":
            continue
        last = _last_tick(connection, one)
        if one.raw.trigger.periodic_schedule is not None:
            begins.append(last)
            continue
        due = [tick for tick in _ticks(one, last)[:1] if tick <= now]
        begins += [tick - timedelta(seconds=1) for tick in due]
    return min(begins)


def _last_tick(connection: Connection, one: There) -> datetime:
    """Return the tick of the last run that was started, or from when on its ticks count."""
    runs = _runs_of(connection, one)
    schedule = one.raw.trigger.periodic_schedule or one.raw.trigger.cron_schedule
    since: datetime = schedule.start_time or one.created
    last: datetime = max([since, *(run.scheduled_at for run in runs if run.scheduled_at is not None)])
    return last


def _runs_of(connection: Connection, one: There) -> list[Any]:
    listing = connection.api("Run").run_service_list_runs
    known = {"namespace": connection.namespace, "filter": named("recurring_run_id", one.id)}
    return list(pages(connection, "runs of a schedule", listing, "runs", **known))


def _ticks(one: There, after: datetime) -> list[datetime]:
    """Return the next ticks after a moment; those of an interval are not near to anything that could be known."""
    schedule = one.raw.trigger.cron_schedule
    if schedule is None:
        return []
    after = max(after, schedule.start_time or after)
    coming = parse(schedule.cron.partition(" ")[2]).after(after.astimezone(tz=one.created.tzinfo))
    return [
        tick
        for tick, _ in zip(coming, range(3), strict=False)
        if schedule.end_time is None or tick <= schedule.end_time
    ]


def next_tick(one: There, now: datetime) -> datetime | None:
    """Return when a run is due next, None where none is, or where that hangs on the end of the last one."""
    return next(iter(_ticks(one, now)), None) if one.enabled else None


def _make(
    connection: Connection, api: Any, part: Part, version: Version, experiment: str, owed: datetime | None
) -> None:
    name = part.facts.schedule + (f"-from-{part.facts.part[:10]}" if part.facts.part else "")

    def find() -> Any | None:
        return next((one.raw for one in there(connection) if one.key == part.key), None)

    body = recurring_run(connection, part, version, experiment, owed, name)
    doing = f"making schedule {name}"
    find_or_make(
        connection,
        f"schedule {name}",
        find,
        lambda: connection.act(doing, api.recurring_run_service_create_recurring_run, recurring_run=body),
        look_first=False,
    )


def recurring_run(
    connection: Connection, part: Part, version: Version, experiment: str, owed: datetime | None, name: str
) -> Any:
    """Return what the API wants of a schedule's part; ticks before `owed` are not its own."""
    import kfp_server_api as api

    says = part.facts.says
    begins = max((one for one in (part.begins, owed) if one is not None), default=None)
    if part.cron and begins is not None and begins == part.begins:
        # A start is no tick itself, and the first moment of a stretch may be one.
        begins -= timedelta(seconds=1)
    known = {"start_time": begins, "end_time": part.ends}
    trigger = (
        api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=part.cron, **known))
        if part.cron
        else api.V2beta1Trigger(
            periodic_schedule=api.V2beta1PeriodicSchedule(interval_second=str(part.interval), **known)
        )
    )
    return api.V2beta1RecurringRun(
        display_name=name,
        description=part.facts.text(),
        pipeline_version_reference=version.reference,
        service_account=connection.profile.service_account,
        max_concurrency=says["concurrency"],
        trigger=trigger,
        mode="ENABLE" if says["enabled"] == "true" else "DISABLE",
        no_catchup=says["catch_up"] != "true",
        experiment_id=experiment,
    )


def _switch(connection: Connection, one: There, *, enable: bool) -> None:
    api = connection.api("RecurringRun")
    ask = api.recurring_run_service_enable_recurring_run if enable else api.recurring_run_service_disable_recurring_run
    word = "enabling" if enable else "disabling"
    # To do it twice changes nothing, so that a lost answer is no more than a reason to ask again.
    _unless_gone(lambda: connection.read(f"{word} schedule {one.facts.schedule}", ask, one.id))


def _delete(connection: Connection, api: Any, health: Health, one: There, say: Say) -> None:
    known: dict[str, str] = {"propagation_policy": "ORPHAN"}
    if health.version and health.version < ORPHANS:
        known = {}
        if any(run.state not in _ENDED for run in _runs_of(connection, one)):
            say(
                f"{one.facts.schedule}: a run of the old one goes on and would end with it; it stays, disabled, until "
                "you apply again"
            )
            return
    ask = api.recurring_run_service_delete_recurring_run
    _unless_gone(lambda: connection.read(f"deleting schedule {one.facts.schedule}", ask, one.id, **known))


def _drop_seconds(connection: Connection, api: Any, health: Health, change: Change, say: Say) -> None:
    """Of two that were made at once by two who applied, both keep the older one."""
    seen: set[tuple[str, str, str]] = set()
    for one in there(connection) if change.missing else []:
        if one.facts.schedule == change.name and one.key in seen:
            _switch(connection, one, enable=False)
            _delete(connection, api, health, one, say)
        seen.add(one.key)


def _unless_gone(ask: Callable[[], Any]) -> None:
    try:
        ask()
    except Refused as refused:
        if refused.status != 404:
            raise
