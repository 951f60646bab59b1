"""Schedules as code, against a stand-in for KFP's API server and for its controller (tests/kfp_controller.py)."""

import io
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelmill.errors import ModelmillError, UserError
from pipelines.cluster.connection import Connection, check_health
from pipelines.cluster.follow import server_time
from pipelines.cluster.schedule_apply import apply, next_tick
from pipelines.cluster.schedules import Change, differences, there, wanted_by
from pipelines.schedule_file import load, schema
from tests.kfp_controller import tick
from tests.kfp_standin import Fault, KfpStandIn, kfp_server
from tests.pipelines.cluster import alone, connection, modelmill, profile, profile_file, recipe

__all__ = ["alone"]
HOURLY = {"name": "shop-hourly", "cron": "0 * * * *"}
FOREIGN = {"display_name": "someone-elses", "description": "made in the pages", "max_concurrency": "1"}


@pytest.fixture
def kfp() -> Iterator[KfpStandIn]:
    with kfp_server() as server:
        # Twenty past, so that no tick of a full hour is near.
        now = datetime.now(UTC)
        server.skew = now.replace(minute=20, second=0, microsecond=0) - now
        yield server


@pytest.fixture
def folder(tmp_path: Path, alone: None) -> Path:
    recipe(tmp_path)
    made = yaml.safe_load((tmp_path / "shop.yaml").read_text())
    made["ingest"]["labelled"][0]["uri"] = "s3://bucket/shop.csv"
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(made))
    (tmp_path / "schedules").mkdir()
    return tmp_path


def write(folder: Path, **said: Any) -> Path:
    """Write a schedule's file."""
    known = {"recipe": "../shop.yaml", **HOURLY, **said}
    path = folder / "schedules" / f"{known['name']}.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in known.items() if value is not None}))
    return path


def plan(way: Connection, path: Path, *, prune: bool = False) -> list[Change]:
    """Return what is to be done."""
    check_health(way)
    wanted = [wanted_by(way, schedule, made, server_time(way)) for schedule, made in load(path)]
    return differences(wanted, there(way), prune=prune)


def do(kfp: KfpStandIn, path: Path, *, prune: bool = False, **known: Any) -> list[Change]:
    """Apply a file or a folder; return what was done."""
    way = connection(profile(kfp.host), sleep=lambda seconds: sleep(kfp, seconds), **known)
    changes = plan(way, path, prune=prune)
    for change in changes:
        apply(way, check_health(way), change)
    return changes


def sleep(kfp: KfpStandIn, seconds: float) -> None:
    """Let time go by, in which the controller looks every so often."""
    kfp.skew += timedelta(seconds=seconds)
    tick(kfp, kfp.now())


def later(kfp: KfpStandIn, step: timedelta = timedelta(minutes=10), **time: float) -> None:
    """Let the controller look every so often for a while; every run that it starts ends before it looks again."""
    left = timedelta(**time)
    while left > timedelta():
        kfp.skew += min(step, left)
        left -= step
        for run in tick(kfp, kfp.now()):
            run.state = "SUCCEEDED"


def ticks(kfp: KfpStandIn) -> list[datetime]:
    """Return the moments that runs were due at, of all recurring runs together."""
    return sorted(run.scheduled_at for run in kfp.runs.values())


def test_a_schedule_becomes_a_recurring_run_and_then_nothing_is_left_to_do(kfp: KfpStandIn, folder: Path) -> None:
    path = write(folder, cron="30 2 * * mon-fri", overrides={"finetune.epochs": 2})
    assert [one.what for one in do(kfp, path)] == ["add"]
    (made,) = kfp.recurring.values()
    assert made.trigger.cron_schedule.cron == "0 30 2 * * 1,2,3,4,5"
    assert (made.max_concurrency, made.no_catchup, made.status) == ("1", True, "ENABLED")
    assert made.service_account == "modelmill"
    (version,) = kfp.versions.values()
    assert '\\"epochs\\":2' in json.dumps(version.pipeline_spec)
    before = len(kfp.lines("POST"))
    assert do(kfp, path) == []
    assert len(kfp.lines("POST")) == before


@pytest.mark.parametrize(
    "said",
    [
        {"cron": "15 * * * *"},
        {"overrides": {"finetune.lr": 0.001}},
        {"concurrency": 2},
        {"catch_up": True},
        {"enabled": False},
        {"time_zone": "Europe/Berlin"},
        {"cron": None, "interval": "2h"},
        {"end": "2099-01-01T00:00:00"},
    ],
    ids=lambda said: next(iter(said)),
)
def test_a_changed_schedule_is_replaced_and_what_differs_is_said(
    kfp: KfpStandIn, folder: Path, said: dict[str, Any]
) -> None:
    do(kfp, write(folder))
    (before,) = kfp.recurring
    (change,) = do(kfp, write(folder, **said))
    assert change.what == "replace"
    assert change.why
    assert before not in kfp.recurring
    assert do(kfp, folder / "schedules") == []


def test_no_tick_is_lost_and_none_comes_twice_when_a_schedule_is_replaced(kfp: KfpStandIn, folder: Path) -> None:
    start = kfp.now()
    do(kfp, write(folder))
    later(kfp, hours=3)
    do(kfp, write(folder, overrides={"finetune.lr": 0.001}))
    later(kfp, hours=3)
    assert ticks(kfp) == [start.replace(minute=0) + timedelta(hours=hours) for hours in range(1, 7)]
    assert len({run.recurring_run_id for run in kfp.runs.values()}) == 2


def test_a_tick_that_is_just_due_is_waited_for(kfp: KfpStandIn, folder: Path) -> None:
    do(kfp, write(folder))
    due = kfp.now().replace(minute=0, second=0) + timedelta(hours=1)
    kfp.skew += due - timedelta(seconds=10) - kfp.now()
    do(kfp, write(folder, overrides={"finetune.lr": 0.001}))
    assert kfp.now() > due
    later(kfp, minutes=30)
    assert ticks(kfp) == [due]


@pytest.mark.parametrize("acts", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("call", ["^POST .*:disable", "^POST .*/recurringruns$", "^DELETE", "^POST .*/upload_version"])
def test_an_apply_that_is_cut_off_at_any_call_is_healed_by_the_next_one(
    kfp: KfpStandIn, folder: Path, call: str, acts: bool
) -> None:
    start = kfp.now()
    do(kfp, write(folder))
    later(kfp, hours=2)
    path = write(folder, overrides={"finetune.lr": 0.001})
    # A refusal that is no lost answer: the command ends there, as if its process had been killed.
    kfp.faults.append(Fault(call, 1, status=500, acts=acts))
    with pytest.raises(ModelmillError, match="answered 500"):
        do(kfp, path)
    # A tick comes by before anyone applies again.
    later(kfp, hours=1)
    do(kfp, path)
    later(kfp, hours=2)
    (left,) = kfp.recurring.values()
    assert left.status == "ENABLED"
    assert "0.001" in json.dumps(kfp.versions[left.pipeline_version_reference.pipeline_version_id].pipeline_spec)
    counted = Counter(moment.replace(minute=0) for moment in ticks(kfp))
    assert counted == {start.replace(minute=0) + timedelta(hours=hours): 1 for hours in range(1, 6)}
    assert do(kfp, path) == []


@pytest.mark.parametrize("acts", [True, False])
def test_an_answer_that_is_lost_makes_no_second_recurring_run(kfp: KfpStandIn, folder: Path, acts: bool) -> None:
    kfp.faults.append(Fault("^POST .*/recurringruns$", 1, acts=acts))
    do(kfp, write(folder))
    assert len(kfp.recurring) == 1


def test_two_that_apply_at_once_leave_one(kfp: KfpStandIn, folder: Path) -> None:
    path = write(folder)
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(do, kfp, path) for _ in range(3)]:
            done.result()
    assert [one.status for one in kfp.recurring.values()] == ["ENABLED"]
    assert do(kfp, path) == []


def test_what_goes_on_is_not_ended_with_the_schedule_that_started_it(kfp: KfpStandIn, folder: Path) -> None:
    do(kfp, write(folder))
    kfp.skew += timedelta(hours=1)
    (run,) = tick(kfp, kfp.now())
    do(kfp, write(folder, overrides={"finetune.lr": 0.001}))
    assert run.state == "PENDING"
    assert len(kfp.recurring) == 1


def test_a_server_that_cannot_spare_running_runs_keeps_the_old_one_until_they_have_ended(
    kfp: KfpStandIn, folder: Path
) -> None:
    kfp.version = "2.15.2"
    do(kfp, write(folder))
    kfp.skew += timedelta(hours=1)
    (run,) = tick(kfp, kfp.now())
    path = write(folder, overrides={"finetune.lr": 0.001})
    do(kfp, path)
    assert run.state == "PENDING"
    assert sorted(one.status for one in kfp.recurring.values()) == ["DISABLED", "ENABLED"]
    run.state = "SUCCEEDED"
    do(kfp, path)
    assert [one.status for one in kfp.recurring.values()] == ["ENABLED"]


def test_prune_removes_what_no_file_names_and_never_what_others_made(kfp: KfpStandIn, folder: Path) -> None:
    do(kfp, write(folder))
    other = write(folder, name="shop-weekly", cron="@weekly")
    do(kfp, folder / "schedules")
    (ours,) = [one for one in kfp.recurring.values() if one.display_name == "shop-hourly"]
    foreign = type(ours)(**{**{key: getattr(ours, key) for key in ours.openapi_types}, **FOREIGN})
    foreign.recurring_run_id = "foreign"
    kfp.recurring["foreign"] = foreign
    other.unlink()
    assert do(kfp, folder / "schedules") == []
    (change,) = do(kfp, folder / "schedules", prune=True)
    assert (change.name, change.what) == ("shop-weekly", "remove")
    assert sorted(one.display_name for one in kfp.recurring.values()) == ["shop-hourly", "someone-elses"]


def test_a_schedule_that_was_disabled_by_hand_is_enabled_again(kfp: KfpStandIn, folder: Path) -> None:
    path = write(folder)
    do(kfp, path)
    (made,) = kfp.recurring.values()
    made.mode, made.status = "DISABLE", "DISABLED"
    (change,) = do(kfp, path)
    assert (change.what, change.why) == ("enable", ("it was disabled by hand",))
    assert made.status == "ENABLED"


def test_a_schedule_that_is_enabled_owes_nothing_of_the_time_before(kfp: KfpStandIn, folder: Path) -> None:
    do(kfp, write(folder, enabled=False))
    later(kfp, hours=5)
    assert ticks(kfp) == []
    do(kfp, write(folder, enabled=True))
    later(kfp, hours=1)
    assert len(ticks(kfp)) == 1


def test_an_interval_goes_on_from_the_last_run(kfp: KfpStandIn, folder: Path) -> None:
    start = kfp.now()
    do(kfp, write(folder, cron=None, interval="2h"))
    later(kfp, hours=3)
    do(kfp, write(folder, cron=None, interval="2h", overrides={"finetune.lr": 0.001}))
    later(kfp, minutes=61)
    assert [round((one - start).total_seconds() / 3600) for one in ticks(kfp)] == [2, 4]


def test_a_zone_is_laid_out_and_its_clock_is_kept(kfp: KfpStandIn, folder: Path) -> None:
    path = write(folder, cron="30 8 * * *", time_zone="Europe/Berlin")
    do(kfp, path)
    assert len(kfp.recurring) >= 4
    # The stretch of today began weeks ago, and owes nothing of that time.
    assert tick(kfp, kfp.now()) == []
    start = kfp.now()
    # A server that is up once a week makes up for the last run alone.
    later(kfp, timedelta(days=7), days=364)
    hours = {one.astimezone(datetime.now(UTC).tzinfo).hour for one in ticks(kfp)}
    assert hours == {6, 7}
    assert do(kfp, path)[0].what == "tidy"
    assert do(kfp, path) == []
    assert (kfp.now() - start).days == 364


def test_catching_up_is_asked_for(kfp: KfpStandIn, folder: Path) -> None:
    do(kfp, write(folder, catch_up=True, concurrency=10))
    # The server was down.
    later(kfp, timedelta(hours=5), hours=5)
    assert len(ticks(kfp)) == 5


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"cron": "61 * * * *"}, r"shop-hourly.yaml:\d: cron: minute '61': must be from 0 to 59"),
        ({"cron": "0 0 * * * *"}, r"cron: 6 fields, and a cron has 5"),
        ({"interval": "2h"}, "both cron and interval"),
        ({"cron": None}, "neither cron nor interval"),
        ({"cron": None, "interval": "30s"}, "at least 1m"),
        ({"time_zone": "Europe/Berln"}, "time_zone: .*no time zone; did you mean 'Europe/Berlin'"),
        ({"start": "2030-01-01T00:00:00", "end": "2029-01-01T00:00:00"}, "start .* must be before end"),
        ({"recipe": "../none.yaml"}, "recipe: there is no recipe"),
        ({"overrides": {"finetune.lrr": 1}}, "finetune.lrr: unknown key; did you mean 'lr'"),
        ({"concurency": 2}, "concurency: unknown key; did you mean 'concurrency'"),
        ({"concurrency": 11}, "concurrency: .*10"),
        ({"warm_start": True}, "there is neither pretrain.base nor finetune.base"),
        ({"name": "Shop"}, "name: "),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_file_is_refused_with_the_field_named(folder: Path, said: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=why):
        load(write(folder, **said))


def test_every_error_of_a_folder_is_told_at_once(folder: Path) -> None:
    write(folder, name="a", cron="x")
    write(folder, name="b", cron="y")
    write(folder, name="c")
    (folder / "schedules" / "d.yaml").write_text((folder / "schedules" / "c.yaml").read_text())
    with pytest.raises(UserError) as error:
        load(folder / "schedules")
    assert len(str(error.value).splitlines()) == 3
    assert "has the name 'c' already" in str(error.value)


def test_a_cron_that_utc_cannot_say_is_refused_before_anything_is_changed(kfp: KfpStandIn, folder: Path) -> None:
    with pytest.raises(UserError, match=r"shop-hourly: cron '0 1 1 .*' in Asia/Tokyo: its hour is on another day"):
        do(kfp, write(folder, cron="0 1 1 * *", time_zone="Asia/Tokyo"))
    assert kfp.lines("POST") == []


def test_the_commands_show_the_difference_first_and_ask(
    kfp: KfpStandIn, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, where = write(folder, cron="30 2 * * *"), profile_file(folder, profile(kfp.host))
    code, out, _ = modelmill(
        monkeypatch, capsys, ["schedule", "apply", path, "--profile", where, "--dry-run", "--json"]
    )
    assert (code, json.loads(out)["changes"][0]["change"]) == (0, "add")
    assert kfp.recurring == {}
    monkeypatch.setattr("sys.stdin", io.StringIO())
    code, _, err = modelmill(monkeypatch, capsys, ["schedule", "apply", path, "--profile", where])
    assert code == 2
    assert "add --yes" in err
    code, out, _ = modelmill(monkeypatch, capsys, ["schedule", "apply", path, "--profile", where, "--yes"])
    assert code == 0
    assert "+ shop-hourly: add" in out
    code, out, _ = modelmill(monkeypatch, capsys, ["schedule", "apply", path, "--profile", where])
    assert (code, out.strip()) == (0, "1 schedule is as wanted; nothing to change")
    code, out, _ = modelmill(monkeypatch, capsys, ["schedule", "list", "--profile", where, "--json"])
    (row,) = json.loads(out)["schedules"]
    assert (row["schedule"], row["trigger"], row["enabled"]) == ("shop-hourly", "30 2 * * *", True)
    assert row["next"][11:16] == "02:30"
    code, _, err = modelmill(monkeypatch, capsys, ["schedule", "delete", "shop-hourl", "--profile", where])
    assert code == 2
    assert "did you mean 'shop-hourly'" in err
    code, out, _ = modelmill(monkeypatch, capsys, ["schedule", "delete", "shop-hourly", "--profile", where])
    assert (code, kfp.recurring) == (0, {})


def test_a_run_that_a_schedule_started_says_which(kfp: KfpStandIn, folder: Path) -> None:
    from pipelines.cluster.runs import list_runs

    do(kfp, write(folder))
    later(kfp, hours=1)
    way = connection(profile(kfp.host))
    (run,) = list_runs(way, 5)
    assert run.facts is not None
    assert (run.recipe, run.facts.schedule, run.facts.nodes["finetune"]) == ("shop", "shop-hourly", "small")
    (one,) = there(way)
    assert next_tick(one, server_time(way)) == kfp.now().replace(minute=0, second=0) + timedelta(hours=1)


def test_the_example_is_right_and_the_schema_is_published() -> None:
    examples = Path(__file__).resolve().parents[2] / "pipelines" / "schedules"
    ((schedule, made),) = load(examples)
    assert schedule.warm_start
    assert made.warm_start
    assert made.registration.promote == "by_verdict"
    assert set(schema()["properties"]) >= {"cron", "time_zone", "catch_up", "concurrency"}
