"""How a run ended is told once, whatever became of its steps, of MLflow and of who listens; on a real MLflow server."""

import json
import os
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from components.notify.run import ending
from components.notify.settings import NotifySettings
from modelmill.digest import canonical_json
from modelmill.registry.judgement import REPORT_TAG, VERDICT_TAG, VERSION_TAG
from modelmill.tracking import ERROR_TAG, LINES_TAG, Tracking, keep_failure, log_cached_steps
from tests.modelmill.registry.test_notify import webhook
from tests.servers import MlflowServer, free_ports

STEPS = ("resolve", "ingest", "finetune", "evaluate", "register")
SETTINGS = NotifySettings(
    recipe="reviews",
    steps=STEPS,
    hourly={"resolve": 1.0, "finetune": 3600.0, "register": 36.0},
    currency="EUR",
    page="https://kfp.example.org/pipeline/",
)


@pytest.fixture
def run(mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a run that no step has begun."""
    name = uuid.uuid4().hex
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    monkeypatch.setenv("MODELMILL_RUN", name)
    return name


def _step(tracking: Tracking, name: str, status: str | None, seconds: float = 10.0) -> str:
    """Make a step's nested run as the step would."""
    nested: str = tracking.open_step(name)
    if status is not None:
        began = tracking.client.get_run(nested).info.start_time
        tracking.client.set_terminated(nested, status, end_time=began + int(seconds * 1000))
    return nested


def _ago(**gone: float) -> str:
    """A time as Kubeflow Pipelines writes it."""
    return (datetime.now(tz=UTC) - timedelta(**gone)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _statuses(tracking: Tracking) -> dict[str, str]:
    found = tracking.client.search_runs(
        [tracking.experiment], filter_string=f"tags.`mlflow.parentRunId` = '{tracking.run}'"
    )
    parent = tracking.client.get_run(tracking.run).info.status
    return {"": parent, **{each.data.tags["modelmill.step"]: each.info.status for each in found}}


def _finished(tracking: Tracking) -> None:
    _step(tracking, "finetune", "FINISHED", seconds=2)
    _step(tracking, "register", "FINISHED", seconds=10)
    log_cached_steps(tracking, STEPS[:-1])
    for tag, value in {VERDICT_TAG: "promote", VERSION_TAG: "7", REPORT_TAG: "reports/abc"}.items():
        tracking.client.set_tag(tracking.run, tag, value)
    tracking.client.set_terminated(tracking.run, "FINISHED")


@pytest.mark.parametrize("state", ["COMPLETE", "RUNNING", ""])
def test_a_run_that_finished_is_told_with_verdict_time_cost_and_what_was_cached(run: str, state: str) -> None:
    _finished(Tracking.connect())
    told = ending(SETTINGS, began=_ago(minutes=3), state=state)
    assert (told.state, told.version, told.verdict, told.report) == ("done", "7", "promote", "reports/abc")
    assert told.cached == ["ingest", "evaluate"]
    # Two seconds at 3600 an hour and ten at 36.
    assert told.cost == pytest.approx(2.1)
    assert told.seconds == pytest.approx(180, abs=60)
    assert told.page == f"https://kfp.example.org/pipeline/#/runs/details/{run}"
    text = told.happened().text
    assert text.startswith(
        f"reviews: run {run} finished after 3 min, at a cost of 2.10 EUR: version 7, verdict promote"
    )
    assert _statuses(Tracking.connect())["finetune"] == "FINISHED"


@pytest.mark.parametrize("state", ["FAILED", "RUNNING", ""])
def test_a_run_that_failed_is_told_with_step_reason_and_last_lines(run: str, state: str) -> None:
    tracking = Tracking.connect()
    _step(tracking, "ingest", "FINISHED")
    _step(tracking, "finetune", None)
    keep_failure("finetune", "finetune: the loss is not a number at step 40; lower lr (0.1)", ["step 39", "step 40"])
    told = ending(SETTINGS, began=_ago(seconds=50), state=state)
    assert (told.state, told.step, told.lines) == ("failed", "finetune", ["step 39", "step 40"])
    text = told.happened().text
    assert ": finetune: the loss is not a number at step 40; lower lr (0.1)\n" in text
    assert text.endswith("  | step 39\n  | step 40")
    assert _statuses(Tracking.connect()) == {"": "RUNNING", "ingest": "FINISHED", "finetune": "FAILED"}


def test_a_step_that_was_killed_is_told_and_nothing_stays_open(run: str) -> None:
    tracking = Tracking.connect()
    _step(tracking, "ingest", "FINISHED")
    _step(tracking, "finetune", None)
    told = ending(SETTINGS, began="", state="RUNNING")
    assert (told.state, told.step) == ("failed", "finetune")
    assert "finetune ended without a word: killed (out of memory, or its time limit)" in told.error
    # Asked without joining the run, which would open it again.
    assert tracking.client.get_run(tracking.run).info.status == "FAILED"
    found = tracking.find_step("finetune")
    assert found is not None
    assert found.info.status == "FAILED"


def test_a_step_that_was_stopped_from_outside_is_told_as_that(run: str) -> None:
    tracking = Tracking.connect()
    _step(tracking, "finetune", "KILLED")
    told = ending(SETTINGS, began="", state="CANCELED")
    assert (told.state, told.step) == ("failed", "finetune")
    assert told.error.startswith("finetune was stopped from outside: the run was cancelled")


def test_a_run_of_which_no_step_started_says_which_was_next(run: str) -> None:
    told = ending(SETTINGS, began=_ago(seconds=5), state="FAILED")
    assert (told.state, told.step, told.cost) == ("failed", "", None)
    assert "the first without a word is ingest: it may never have started" in told.error


def test_an_attempt_that_failed_is_forgotten_when_the_next_goes_well(run: str) -> None:
    keep_failure("ingest", "ingest: the server is away", ["asked 3 times"])
    tracking = Tracking.connect()
    found = tracking.find_step("ingest")
    assert found is not None
    assert (found.data.tags[ERROR_TAG], found.data.tags[LINES_TAG]) == ("ingest: the server is away", "asked 3 times")
    _step(tracking, "ingest", "FINISHED")
    found = tracking.find_step("ingest")
    assert found is not None
    assert not {ERROR_TAG, LINES_TAG} & set(found.data.tags)


def test_of_several_processes_the_first_that_failed_knows_why(run: str) -> None:
    keep_failure("finetune", "finetune: out of memory", ["on rank 3"])
    keep_failure("finetune", "finetune: a neighbour is gone", ["on rank 0"])
    assert ending(SETTINGS, began="", state="FAILED").error == "finetune: out of memory"


def _run(module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "MODELMILL_EVENTS"}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, env={**clean, **environment}, capture_output=True, text=True, check=False)


def _notify(**environment: str) -> subprocess.CompletedProcess[str]:
    told = canonical_json(SETTINGS.model_dump(mode="json"))
    status = json.dumps({"state": "FAILED", "pipelineTaskName": "exit-handler-1", "error": {}})
    return _run("components.notify", "--settings", told, "--began", _ago(seconds=9), "--status", status, **environment)


def test_why_the_first_step_failed_reaches_a_person_once_and_without_secrets(run: str, tmp_path: Any) -> None:
    secrets = {"AWS_SECRET_ACCESS_KEY": "marker-secret-0", "HF_TOKEN": "marker-token-1"}
    settings = {
        "sources": [f"{tmp_path}/marker-secret-0.csv"],
        "base": "",
        "teacher": "",
        "table": "",
        "registered": "x",
    }
    at = {"MODELMILL_STORE": str(tmp_path / "store"), **secrets}
    failed = _run("components.resolve", "--settings", json.dumps(settings), **at)
    assert failed.returncode == 2, failed.stderr
    with webhook() as (port, posted):
        done = _notify(MODELMILL_NOTIFY=f"http://127.0.0.1:{port}/marker-hook-2", **at)
    assert (done.returncode, len(posted)) == (0, 1), done.stderr
    (told,) = posted
    assert (told["kind"], told["facts"]["step"], told["facts"]["run"]) == ("failed", "resolve", run)
    assert "***.csv" in told["text"]
    assert "  | " in told["text"]
    tracking = Tracking.connect()
    kept = tracking.find_step("resolve")
    assert kept is not None
    seen = json.dumps(told) + json.dumps(dict(kept.data.tags)) + done.stdout + done.stderr
    assert "marker-" not in seen.replace(told["path"], "")
    assert told["path"] == "/marker-hook-2"


def test_without_mlflow_it_says_what_it_knows_and_a_run_that_went_well_stays_so() -> None:
    port = free_ports(1)[0]
    away = {
        "MLFLOW_TRACKING_URI": f"http://me:marker-password@127.0.0.1:{port}",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MODELMILL_RUN": "abc",
    }
    with webhook(status=500) as (hook, posted):
        done = _notify(MODELMILL_NOTIFY=f"http://127.0.0.1:{hook}/", **away)
    assert (done.returncode, len(posted)) == (0, 1), done.stderr
    text = posted[0]["text"]
    assert text.startswith("reviews: run abc failed after ")
    assert (
        f"which step failed is not known: Kubeflow Pipelines says FAILED, and MLflow at http://127.0.0.1:{port}" in text
    )
    assert "not notified (failed): http://127.0.0.1/…: answered 500" in done.stderr
    assert "marker-" not in text + done.stderr


def test_settings_of_another_version_are_a_warning() -> None:
    done = _run("components.notify", "--settings", '{"recipe": 1}')
    assert (done.returncode, "not notified: ValidationError" in done.stderr) == (0, True)
