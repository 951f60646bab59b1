"""Cron as a schedule's file says it, five fields in a time zone, and as Kubeflow Pipelines takes it: six fields in UTC.

Its controller reads cron with robfig/cron 1.2, which knows no time zone: one for the whole server is set by
CRON_SCHEDULE_TIMEZONE, and is UTC where nobody set it. So a cron of a zone becomes a cron of UTC for every stretch of
time in which the zone keeps its distance from UTC; where a clock is set forward or back a new stretch begins.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

_WORDS = ("minute", "hour", "day of the month", "month", "day of the week")
_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NAMED: Mapping[str, str] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_DAY_MINUTES = 24 * 60
# A cron that never comes, as 30 February, is known after the longest pause: 29 February from one leap year to the next
# across a year that is divisible by 100.
_LONGEST = timedelta(days=8 * 366)
Values = frozenset[int]


@dataclass(frozen=True, kw_only=True)
class Cron:
    """Moments of a clock: the values of each field."""

    minutes: Values
    hours: Values
    days: Values
    months: Values
    weekdays: Values
    """0 is Sunday."""
    either: bool = False
    """Whether a day of the month or one of the week is enough: both were named, as in `0 0 1 * mon`."""

    @cached_property
    def any_day(self) -> bool:
        """Whether every day of the year is one."""
        return len(self.days) == 31 and len(self.months) == 12 and len(self.weekdays) == 7

    def text(self) -> str:
        """Return it as Kubeflow Pipelines takes it, with the second first."""
        fields = (self.minutes, self.hours, self.days, self.months, self.weekdays)
        sizes = (60, 24, 31, 12, 7)
        said = [
            "*" if len(one) == size else ",".join(map(str, sorted(one)))
            for one, size in zip(fields, sizes, strict=True)
        ]
        return f"0 {' '.join(said)}"

    def matches(self, day: datetime) -> bool:
        """Return whether a day is one."""
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and ((by_day or by_weekday) if self.either else (by_day and by_weekday))

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the moments after one, by the clock that it is of; a clock that is never set, such as UTC's."""
        day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        end = day + _LONGEST
        while day <= end:
            if self.matches(day):
                for hour in sorted(self.hours):
                    for minute in sorted(self.minutes):
                        at = day + timedelta(hours=hour, minutes=minute)
                        if at > moment:
                            yield at
                            end = day + _LONGEST
            day += timedelta(days=1)

    def moved(self, minutes: int) -> "Cron":
        """Return the same moments by a clock that is so many minutes ahead of this one.

        Raises:
            ValueError: a cron cannot say them.
        """
        places = {(hour * 60 + minute + minutes) for hour in self.hours for minute in self.minutes}
        days = {place // _DAY_MINUTES for place in places}
        inside = {place % _DAY_MINUTES for place in places}
        hours, rest = frozenset(one // 60 for one in inside), frozenset(one % 60 for one in inside)
        if len(inside) != len(hours) * len(rest):
            raise ValueError("its minutes and hours in UTC are no cron; name one hour, or time_zone: UTC")
        if self.any_day or days == {0}:
            return replace(self, hours=hours, minutes=rest)
        if len(days) > 1:
            raise ValueError("some of its hours are on another day in UTC; make two schedules, or name time_zone: UTC")
        if len(self.days) < 31 or len(self.months) < 12:
            raise ValueError(
                "its hour is on another day of the month in UTC, which a cron cannot say; name another hour, or "
                "time_zone: UTC"
            )
        by = days.pop()
        return replace(self, hours=hours, minutes=rest, weekdays=frozenset((one + by) % 7 for one in self.weekdays))


def parse(text: str) -> Cron:
    """Return the cron of five fields, or of a name such as `@daily`.

    Raises:
        ValueError: with the field that is wrong.
    """
    fields = _NAMED.get(text.strip().lower(), text).lower().split()
    if len(fields) != len(_WORDS):
        seconds = "; seconds are not said, every moment is at second 0" if len(fields) == 6 else ""
        raise ValueError(
            f"{len(fields)} fields, and a cron has 5: minute, hour, day of the month, month, day of the week{seconds}"
        )
    minutes, hours, days, months, weekdays = map(_field, fields, range(5))
    starred = [field[0] in "*?" for field in fields]
    if (starred[2] and len(days) < 31 and not starred[4]) or (starred[4] and len(set(weekdays)) < 7 and not starred[2]):
        raise ValueError(
            "a step of all days beside the other field of days is read differently by different crons; write days out"
        )
    either = not starred[2] and not starred[4]
    if either and (len(days) == 31 or len({one % 7 for one in weekdays}) == 7):
        # `1-31` beside a weekday names every day, and would not any more when written `*`.
        days, weekdays, either = frozenset(range(1, 32)), frozenset(range(7)), False
    cron = Cron(
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=frozenset(one % 7 for one in weekdays),
        either=either,
    )
    if next(cron.after(datetime(2024, 1, 1, tzinfo=UTC)), None) is None:
        raise ValueError("never comes: no month that it names has such a day")
    return cron


def _field(field: str, place: int) -> Values:
    low, high = _BOUNDS[place]
    found: set[int] = set()
    for part in field.split(","):
        shape = re.fullmatch(r"(\*|\?|[a-z0-9]+)(?:-([a-z0-9]+))?(?:/([0-9]+))?", part)
        if shape is None:
            raise ValueError(f"{_WORDS[place]} {field!r}: wants *, a number, a-b, a-b/step, or several with commas")
        first, last, step = shape.groups()
        if first in {"*", "?"}:
            if last is not None:
                raise ValueError(f"{_WORDS[place]} {field!r}: a range has two numbers, and no {first}")
            start, end = low, min(high, 6) if place == 4 else high
        else:
            start = _number(first, place, field)
            end = _number(last, place, field) if last is not None else high if step is not None else start
        if not low <= start <= end <= high:
            raise ValueError(f"{_WORDS[place]} {field!r}: must be from {low} to {high}, the lower one first")
        if step is not None and int(step) < 1:
            raise ValueError(f"{_WORDS[place]} {field!r}: a step is at least 1")
        found |= set(range(start, end + 1, int(step or 1)))
    return frozenset(found)


def _number(text: str, place: int, field: str) -> int:
    names = {3: _MONTHS, 4: _DAYS}.get(place, ())
    if text in names:
        return names.index(text) + (1 if place == 3 else 0)
    if not text.isdigit():
        raise ValueError(
            f"{_WORDS[place]} {field!r}: {text!r} is no number{', nor a name such as ' + names[0] if names else ''}"
        )
    return int(text)


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A stretch of time in which a cron of UTC says what a zone's does."""

    cron: Cron
    """Of UTC."""
    begins: datetime | None
    """None where the zone had no other distance from UTC before."""
    ends: datetime | None
    """Not inside any more; None where nothing ends it."""


def stretches(cron: Cron, zone: str, now: datetime, until: datetime) -> list[Stretch]:
    """Return the stretches that begin before a moment, from the one on that holds the moment of now.

    An hour that a clock has twice counts once, the first time; one that it leaves out does not come.

    Raises:
        ValueError: a cron of UTC cannot say it.
    """
    known = ZoneInfo(zone)
    changes = _changes(known, now - timedelta(days=366), until + timedelta(days=366))
    offsets = {_offset(known, now), *(_offset(known, change) for change in changes)}
    if len(offsets) == 1 or (cron.any_day and len(cron.hours) == 24 and not any(one % 60 for one in offsets)):
        return [Stretch(cron=cron.moved(-_offset(known, now)), begins=None, ends=None)]
    made = []
    for begins, ends in zip([None, *changes], [*changes, None], strict=True):
        if (ends is not None and ends <= now) or (begins is not None and begins >= until):
            continue
        at = begins or now
        twice = _offset(known, at - timedelta(seconds=1)) - _offset(known, at) if begins is not None else 0
        first = at + timedelta(minutes=max(0, twice)) if begins is not None and len(cron.hours) < 24 else begins
        made.append(Stretch(cron=cron.moved(-_offset(known, at)), begins=first, ends=ends))
    return made


def _changes(zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """Return the moments at which a zone's distance from UTC changes, found day by day and then to the minute."""
    found = []
    day = start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    while day < end:
        after = day + timedelta(days=1)
        if _offset(zone, day) != _offset(zone, after):
            low, high = day, after
            while high - low > timedelta(minutes=1):
                middle = (low + (high - low) / 2).replace(second=0, microsecond=0)
                low, high = (middle, high) if _offset(zone, middle) == _offset(zone, day) else (low, middle)
            found.append(high)
        day = after
    return found


def _offset(zone: ZoneInfo, moment: datetime) -> int:
    """Return how many minutes a zone's clock is ahead of UTC's."""
    ahead = moment.astimezone(zone).utcoffset()
    assert ahead is not None
    return round(ahead.total_seconds() / 60)
