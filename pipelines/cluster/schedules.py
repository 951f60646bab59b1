"""Schedules on a cluster: what the files want, what is there, and the difference.

A schedule is one recurring run of Kubeflow Pipelines, or one for each stretch of time in which its zone keeps its
distance from UTC. What made it is kept in its description, so that any machine can tell what is ours and what it says.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from modelmill.digest import digest, sha256_hex
from modelmill.errors import UserError
from modelmill.profile import seconds_of
from modelmill.store import open_store
from pipelines.cluster.connection import Connection
from pipelines.cluster.cron import stretches
from pipelines.cluster.facts import Facts
from pipelines.cluster.objects import pages
from pipelines.cluster.uploads import carried
from pipelines.compiling import compiled
from pipelines.profile_file import check_resources
from pipelines.recipe import Recipe
from pipelines.schedule_file import Schedule

AHEAD = timedelta(days=2 * 366)
"""How far the stretches of a zone are laid out; `apply` adds those that come later."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One recurring run that a schedule wants."""

    facts: Facts
    cron: str
    """Of six fields, in UTC; '' where there is an interval."""
    interval: int
    """In seconds; 0 where there is a cron."""
    begins: datetime | None
    ends: datetime | None

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what it is known by: schedule, stretch, content."""
        return self.facts.schedule, self.facts.part, self.facts.schedule_digest


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A schedule as its file wants it."""

    schedule: Schedule
    recipe: Recipe
    copied: Recipe
    """The recipe with the addresses that copies of local files have."""
    content: str
    """YAML of its pipeline."""
    parts: tuple[Part, ...]


@dataclass(frozen=True, kw_only=True)
class There:
    """One recurring run of ours on the server."""

    id: str
    facts: Facts
    enabled: bool
    created: datetime
    raw: Any = field(repr=False)

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what it is known by: schedule, stretch, content."""
        return self.facts.schedule, self.facts.part, self.facts.schedule_digest


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is to be done about one schedule."""

    name: str
    what: str
    """add, replace, remove, enable, disable, tidy."""
    why: tuple[str, ...] = ()
    """What differs, a line each."""
    wanted: Wanted | None = None
    missing: tuple[Part, ...] = ()
    outdated: tuple[There, ...] = ()
    switched: tuple[There, ...] = ()
    """Those that are right but for being enabled or disabled."""


def wanted_by(connection: Connection, schedule: Schedule, recipe: Recipe, now: datetime, place: str = "") -> Wanted:
    """Return what a schedule wants at a moment; nothing is written anywhere.

    Raises:
        UserError: a cron of UTC cannot say its cron, the profile lacks a kind of node, or a file is not there.
    """
    profile = connection.profile
    check_resources(recipe, profile)
    copied = carried(recipe, open_store(profile.store), put=False)
    content = compiled(copied, schedule.until, profile)
    says = {
        "recipe": recipe.name,
        "pipeline": sha256_hex(content.encode()),
        "trigger": schedule.cron or f"every {schedule.interval}",
        "time_zone": schedule.time_zone,
        "start": _shown(schedule.moment(schedule.start)),
        "end": _shown(schedule.moment(schedule.end)),
        "catch_up": str(schedule.catch_up).lower(),
        "concurrency": str(schedule.concurrency),
        "enabled": str(schedule.enabled).lower(),
        "until": schedule.until,
        "service_account": profile.service_account,
        "experiment": profile.experiment,
    }
    known = {"schedule": schedule.name, "schedule_digest": digest(says), "says": says}
    try:
        parts = _parts(schedule, Facts.of(recipe, profile, schedule.until, **known), now)
    except ValueError as error:
        raise UserError(f"{place or schedule.name}: cron {schedule.cron!r} in {schedule.time_zone}: {error}") from error
    return Wanted(schedule=schedule, recipe=recipe, copied=copied, content=content, parts=parts)


def _parts(schedule: Schedule, facts: Facts, now: datetime) -> tuple[Part, ...]:
    start, end = schedule.moment(schedule.start), schedule.moment(schedule.end)
    cron = schedule.parsed
    if cron is None:
        assert schedule.interval is not None
        return (Part(facts=facts, cron="", interval=seconds_of(schedule.interval), begins=start, ends=end),)
    made = []
    for stretch in stretches(cron, schedule.time_zone, now, min(end or now + AHEAD, now + AHEAD)):
        begins = max((one for one in (stretch.begins, start) if one is not None), default=None)
        if start is None and begins is not None and begins <= now:
            # What has begun long ago owes nothing: its ticks count from when it is made.
            begins = None
        ends = min((one for one in (stretch.ends, end) if one is not None), default=None)
        if ends is None or (ends > now and (begins is None or begins < ends)):
            own = facts.model_copy(update={"part": _shown(stretch.begins)})
            # What the file calls the end may still be a moment of it; what a zone's clock ends is not.
            last = ends - timedelta(seconds=1) if ends is not None and ends == stretch.ends else ends
            made.append(Part(facts=own, cron=stretch.cron.text(), interval=0, begins=begins, ends=last))
    return tuple(made)


def there(connection: Connection) -> list[There]:
    """Return the recurring runs of the profile's namespace that are of ours, the oldest first."""
    listing = connection.api("RecurringRun").recurring_run_service_list_recurring_runs
    found = []
    for raw in pages(connection, "recurring runs", listing, "recurring_runs", namespace=connection.namespace):
        facts = Facts.read(raw.description)
        if facts is not None and facts.schedule:
            enabled = raw.status == "ENABLED" or (raw.status is None and raw.mode == "ENABLE")
            found.append(There(id=raw.recurring_run_id, facts=facts, enabled=enabled, created=raw.created_at, raw=raw))
    return sorted(found, key=lambda one: (one.created, one.id))


def differences(wanted: Iterable[Wanted], found: Iterable[There], *, prune: bool) -> list[Change]:
    """Return what is to be done, by name; nothing where all is as it is wanted."""
    by_name: dict[str, list[There]] = {}
    for one in found:
        by_name.setdefault(one.facts.schedule, []).append(one)
    changes = [_change(each, by_name.pop(each.schedule.name, [])) for each in wanted]
    if prune:
        for name, rest in by_name.items():
            changes.append(Change(name=name, what="remove", why=("no file names it",), outdated=tuple(rest)))
    return sorted((one for one in changes if one is not None), key=lambda one: one.name)


def _change(wanted: Wanted, found: list[There]) -> Change | None:
    keys = {part.key for part in wanted.parts}
    kept: dict[tuple[str, str, str], There] = {}
    outdated = []
    for one in found:
        # Of two that say the same the older one stays: the younger was made by who was second.
        if one.key in keys and one.key not in kept:
            kept[one.key] = one
        else:
            outdated.append(one)
    missing = tuple(part for part in wanted.parts if part.key not in kept)
    switched = tuple(one for one in kept.values() if one.enabled != wanted.schedule.enabled)
    if not missing and not outdated and not switched:
        return None
    what, why = _said(wanted, found, missing, outdated)
    return Change(
        name=wanted.schedule.name,
        what=what,
        why=why,
        wanted=wanted,
        missing=missing,
        outdated=tuple(outdated),
        switched=switched,
    )


def _said(
    wanted: Wanted, found: list[There], missing: tuple[Part, ...], outdated: list[There]
) -> tuple[str, tuple[str, ...]]:
    if not found:
        return "add", ()
    if not missing and not outdated:
        word = "enable" if wanted.schedule.enabled else "disable"
        return word, (f"it was {'dis' if word == 'enable' else 'en'}abled by hand",)
    says = wanted.parts[0].facts.says if wanted.parts else {}
    before = found[-1].facts.says
    why = tuple(
        f"{key}: {_short(before.get(key, ''))} → {_short(says[key])}" for key in says if says[key] != before.get(key)
    )
    if why:
        return "replace", why
    return "tidy", ("stretches of its time zone that have ended, or were not laid out yet",)


def _short(value: str) -> str:
    return value[:12] if len(value) == 64 else value or "none"


def _shown(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment is not None else ""


def as_data(change: Change) -> Mapping[str, Any]:
    """Return a change for programs."""
    return {"schedule": change.name, "change": change.what, "why": list(change.why)}


def lines(changes: Iterable[Change], say: Callable[[str], None]) -> None:
    """Say what is to be done."""
    signs = {"add": "+", "remove": "-", "replace": "~"}
    for change in changes:
        say(f"{signs.get(change.what, '·')} {change.name}: {change.what}")
        for line in change.why:
            say(f"    {line}")
