"""Cron in a time zone, and what a server without time zones is told."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipelines.cluster.cron import Cron, parse, stretches
from tests.kfp_controller import _fields

NOW = datetime(2026, 11, 28, 20, 0, tzinfo=UTC)
YEAR = timedelta(days=366)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("* * * *", "4 fields, and a cron has 5"),
        ("0 0 2 * * *", "6 fields, .*every moment is at second 0"),
        ("61 * * * *", "minute '61': must be from 0 to 59"),
        ("0 24 * * *", "hour '24': must be from 0 to 23"),
        ("0 0 0 * *", "day of the month '0': must be from 1 to 31"),
        ("0 0 * 13 *", "month '13': must be from 1 to 12"),
        ("0 0 * * mun", "day of the week 'mun': 'mun' is no number, nor a name such as sun"),
        ("0 5-1 * * *", "hour '5-1': .*the lower one first"),
        ("*/0 * * * *", "minute '\\*/0': a step is at least 1"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 */2 * mon", "read differently by different crons"),
        ("", "0 fields"),
        ("1,,2 * * * *", "minute '1,,2': wants"),
    ],
)
def test_a_bad_cron_is_refused_with_its_field(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(text)


@pytest.mark.parametrize(
    ("text", "zone", "wanted"),
    [
        ("30 2 * * *", "UTC", "0 30 2 * * *"),
        ("@daily", "UTC", "0 0 0 * * *"),
        ("0 9 * * mon-fri", "Asia/Tokyo", "0 0 0 * * 1,2,3,4,5"),
        ("0 1 * * mon", "Asia/Tokyo", "0 0 16 * * 0"),
        ("0 9 * * *", "Asia/Kolkata", "0 30 3 * * *"),
        ("15 * * * *", "Europe/Berlin", "0 15 * * * *"),
        ("0 0 1-31 * mon", "UTC", "0 0 0 * * *"),
    ],
)
def test_a_zone_that_keeps_its_distance_from_utc_takes_one_cron(text: str, zone: str, wanted: str) -> None:
    (only,) = stretches(parse(text), zone, NOW, NOW + YEAR)
    assert (only.cron.text(), only.begins, only.ends) == (wanted, None, None)


@pytest.mark.parametrize(
    ("text", "zone", "why"),
    [
        ("0 1 1 * *", "Asia/Tokyo", "another day of the month in UTC"),
        ("0,45 9 * * *", "Asia/Kolkata", "its minutes and hours in UTC are no cron"),
        ("0 0,12 * * mon", "Europe/Berlin", "some of its hours are on another day"),
    ],
)
def test_what_a_cron_of_utc_cannot_say_is_refused_with_a_way_out(text: str, zone: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        stretches(parse(text), zone, NOW, NOW + YEAR)


def test_where_clocks_are_set_a_new_stretch_begins() -> None:
    made = stretches(parse("30 2 * * *"), "Europe/Berlin", NOW, NOW + YEAR)
    assert [(one.cron.text(), one.begins, one.ends) for one in made] == [
        ("0 30 1 * * *", datetime(2026, 10, 25, 2, tzinfo=UTC), datetime(2027, 3, 28, 1, tzinfo=UTC)),
        ("0 30 0 * * *", datetime(2027, 3, 28, 1, tzinfo=UTC), datetime(2027, 10, 31, 1, tzinfo=UTC)),
        ("0 30 1 * * *", datetime(2027, 10, 31, 2, tzinfo=UTC), datetime(2028, 3, 26, 1, tzinfo=UTC)),
    ]


MINUTES = st.sampled_from(["0", "15", "30", "0,30", "*/15", "45"])
HOURS = st.sampled_from(["*", "0", "2", "3", "12", "23", "8-17", "*/6", "1,13"])
WEEKDAYS = st.sampled_from(["*", "mon", "mon-fri", "sat,sun", "0"])
ZONES = st.sampled_from(
    [
        "Europe/Berlin",
        "America/New_York",
        "Asia/Kolkata",
        "Australia/Adelaide",
        "Asia/Tokyo",
        "America/Sao_Paulo",
        "UTC",
    ]
)


@settings(max_examples=40)
@given(minutes=MINUTES, hours=HOURS, weekdays=WEEKDAYS, zone=ZONES)
def test_the_stretches_of_a_zone_hold_every_moment_of_its_clock_once(
    minutes: str, hours: str, weekdays: str, zone: str
) -> None:
    cron = parse(f"{minutes} {hours} * * {weekdays}")
    try:
        made = stretches(cron, zone, NOW, NOW + YEAR)
    except ValueError:
        assume(False)
    found = []
    for one in made:
        since = max(NOW, (one.begins or NOW) - timedelta(seconds=1))
        for at in one.cron.after(since):
            if at > NOW + YEAR or (one.ends is not None and at >= one.ends):
                break
            found.append(at)
    assert sorted(found) == by_the_clock(cron, zone)


def by_the_clock(cron: Cron, zone: str) -> list[datetime]:
    """Return the moments of a cron by looking at the zone's clock every quarter of an hour, repeated ones once."""
    made, place, at = [], ZoneInfo(zone), NOW
    every_hour = len(cron.hours) == 24
    while at <= NOW + YEAR:
        clock = at.astimezone(place)
        if at > NOW and clock.minute in cron.minutes and clock.hour in cron.hours and cron.matches(clock):
            twice = clock.fold == 1 and not every_hour
            made += [] if twice else [at]
        at += timedelta(minutes=15)
    return made


@given(minutes=MINUTES, hours=HOURS, weekdays=WEEKDAYS)
def test_what_the_server_is_told_it_reads_as_it_was_meant(minutes: str, hours: str, weekdays: str) -> None:
    cron = parse(f"{minutes} {hours} * * {weekdays}")
    seconds, *rest = _fields(cron.text())
    assert seconds == {0}
    assert rest == [set(cron.minutes), set(cron.hours), set(cron.days), set(cron.months), set(cron.weekdays)]
