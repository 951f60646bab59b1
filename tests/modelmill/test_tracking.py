"""Tracking on a real MLflow server: one run for the pipeline, nested ones that are found again."""

import uuid
from pathlib import Path

import pytest

from modelmill.events import Events
from modelmill.home import tracking_uri
from modelmill.step import Step
from modelmill.store import open_store
from modelmill.tracking import CACHED_TAG, STEP_TAG, Tracking, log_cached_steps, step_run, where
from tests.servers import MlflowServer


@pytest.fixture
def run_name(mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> str:
    name = uuid.uuid4().hex
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    monkeypatch.setenv("MODELMILL_RUN", name)
    return name


def _step(tmp_path: Path, name: str = "pretrain") -> Step:
    return Step(name=name, store=open_store(str(tmp_path / "store")), scratch=tmp_path, events=Events(name, None))


def test_every_step_of_a_run_joins_the_same_parent(run_name: str) -> None:
    first, second = Tracking.connect(), Tracking.connect()
    assert first.run == second.run
    assert first.open_step("ingest") == second.open_step("ingest")
    assert first.open_step("ingest") != first.open_step("pretrain")


def test_a_run_that_mlflow_names_is_joined(run_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking = Tracking.connect()
    given = tracking.client.create_run(tracking.experiment).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    assert Tracking.connect().run == given


def test_settings_and_figures_are_logged_once_even_when_a_step_runs_again(run_name: str, tmp_path: Path) -> None:
    for _ in range(2):
        step = _step(tmp_path)
        with step_run(step, {"lr": 1e-4, "model": {"layers": 2}}):
            for at in (10, 20):
                step.figures({"loss": 1 / at}, at=at)
    tracking = Tracking.connect()
    found = tracking.find_step("pretrain")
    assert found is not None
    assert found.data.params == {"lr": "0.0001", "model": '{"layers":2}'}
    history = tracking.client.get_metric_history(found.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(10, 0.1), (20, 0.05)]
    assert found.info.status == "FINISHED"


def test_a_failed_step_marks_its_run_and_the_pipelines(run_name: str, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), step_run(_step(tmp_path), {}):
        _ = 1 / 0
    tracking = Tracking.connect()
    found = tracking.find_step("pretrain")
    assert found is not None
    assert found.info.status == "FAILED"


def test_steps_that_did_not_run_are_logged_as_cached(run_name: str, tmp_path: Path) -> None:
    with step_run(_step(tmp_path, "evaluate"), {}):
        pass
    tracking = Tracking.connect()
    log_cached_steps(tracking, ["resolve", "ingest", "evaluate"])
    log_cached_steps(tracking, ["resolve", "ingest", "evaluate"])
    runs = tracking.client.search_runs(
        [tracking.experiment], filter_string=f"tags.`mlflow.parentRunId` = '{tracking.run}'"
    )
    assert {run.data.tags[STEP_TAG]: run.data.tags.get(CACHED_TAG) for run in runs} == {
        "ingest": "true",
        "evaluate": None,
    }
    assert len(runs) == 2


def test_where_tells_stores_and_servers_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://one:5000")
    first, second = open_store(str(tmp_path / "a")), open_store(str(tmp_path / "b"))
    assert where(first) == where(open_store(str(tmp_path / "a")))
    assert where(first) != where(second)
    before = where(first)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://two:5000")
    assert where(first) != before


def test_a_store_made_anew_is_another_place(tmp_path: Path) -> None:
    import shutil

    before = where(open_store(str(tmp_path / "a")))
    shutil.rmtree(tmp_path / "a")
    assert where(open_store(str(tmp_path / "a"))) != before


def test_the_default_is_a_database_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert tracking_uri() == f"sqlite:///{tmp_path}/.modelmill/mlflow.db"
