"""Runs on a cluster from any machine, against a stand-in for KFP's API server and a real MLflow."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelmill.errors import UserError
from modelmill.tracking import EXIT_TAG, RUN_TAG, StepRun, Tracking, keep_failure, log_cached_steps
from pipelines.cluster.compare import compare_runs
from pipelines.cluster.runs import cancel, find_run, list_runs, resume
from pipelines.cluster.submit import Submitted, submit
from pipelines.cluster.tracked import RESUMED_TAG, find
from tests.kfp_standin import Fault, KfpStandIn, kfp_server
from tests.kubernetes_standin import kubernetes
from tests.pipelines.cluster import alone, connection, modelmill, profile, profile_file, recipe
from tests.pipelines.test_submit import pod
from tests.servers import MlflowServer

__all__ = ["alone"]


@pytest.fixture
def kfp() -> Iterator[KfpStandIn]:
    with kfp_server() as server:
        yield server


def submitted(kfp: KfpStandIn, folder: Path, *overrides: str) -> Submitted:
    asked = recipe(folder, "ingest.labelled.0.uri=s3://bucket/shop.csv", *overrides)
    return submit(connection(profile(kfp.host)), asked, "register")


@pytest.fixture
def tracked(mlflow_server: MlflowServer, alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of this process, and commands, keep their figures in one MLflow."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "modelmill")


def ran(monkeypatch: pytest.MonkeyPatch, run: str, lr: str, accuracy: float) -> Tracking:
    """Do what the steps of a run do with MLflow: settings, figures, cached ones."""
    monkeypatch.setenv("MODELMILL_RUN", run)
    tracking = Tracking.connect()
    step = StepRun(tracking=tracking, run=tracking.open_step("finetune"))
    for key, value in {"lr": lr, "epochs": "1", "strategy": '{"name": "full"}'}.items():
        tracking.client.log_param(step.run, key, value)
    step.log({"validation_accuracy": accuracy}, None)
    step.end("FINISHED")
    log_cached_steps(tracking, ["ingest", "finetune"])
    tracking.client.log_metric(tracking.run, "accuracy", accuracy)
    return tracking


def test_runs_are_listed_by_what_they_say_of_themselves(kfp: KfpStandIn, tmp_path: Path, alone: None) -> None:
    first, second = submitted(kfp, tmp_path), submitted(kfp, tmp_path, "name=other")
    kfp.tell(first.run, {}, "SUCCEEDED")
    for run in kfp.runs.values():
        if run.run_id == second.run:
            foreign = type(run)(**{**{key: getattr(run, key) for key in run.openapi_types}, "run_id": "foreign"})
    foreign.description = "someone else's"
    kfp.runs["foreign"] = foreign
    way = connection(profile(kfp.host))
    assert [(run.id, run.recipe, run.state) for run in list_runs(way, 10)] == [
        (second.run, "other", "waiting"),
        (first.run, "shop", "done"),
    ]
    assert [run.id for run in list_runs(way, 10, "shop")] == [first.run]
    assert [run.id for run in list_runs(way, 1)] == [second.run]


def test_a_run_is_found_by_its_id_its_beginning_and_its_name(kfp: KfpStandIn, tmp_path: Path, alone: None) -> None:
    one = submitted(kfp, tmp_path)
    way = connection(profile(kfp.host))
    assert {find_run(way, word) for word in (one.run, one.run[:8], one.name)} == {one.run}
    with pytest.raises(UserError, match="nothing-here: there is no such run in modelmill"):
        find_run(way, "nothing-here")


def test_a_run_is_shown_as_one_object(
    kfp: KfpStandIn, tmp_path: Path, tracked: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = submitted(kfp, tmp_path)
    kfp.tell(one.run, {"resolve": "SUCCEEDED", "ingest": "CACHED", "preprocess": "FAILED"}, "FAILED")
    monkeypatch.setenv("MODELMILL_RUN", one.run)
    keep_failure("preprocess", "preprocess: 0 of 20 rows fit; raise max_tokens (2)", ["reading", "failing"], 2)
    monkeypatch.delenv("MODELMILL_RUN")
    path = profile_file(tmp_path, profile(kfp.host))
    code, out, err = modelmill(monkeypatch, capsys, ["runs", "show", one.run[:9], "--profile", path, "--json"])
    told = json.loads(out)
    assert code == 2
    assert set(told) >= {
        "run",
        "recipe",
        "state",
        "seconds",
        "steps",
        "datasets",
        "metrics",
        "verdict",
        "model",
        "report",
    }
    assert {step["name"]: (step["state"], step["cached"]) for step in told["steps"][:3]} == {
        "resolve": ("done", False),
        "ingest": ("cached", True),
        "preprocess": ("failed", False),
    }
    assert told["error"] == "preprocess: 0 of 20 rows fit; raise max_tokens (2)"
    assert "  | failing" in err


def test_a_failed_run_goes_on_under_its_own_id(
    kfp: KfpStandIn, tmp_path: Path, tracked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = submitted(kfp, tmp_path)
    way = connection(profile(kfp.host))
    with pytest.raises(UserError, match="is waiting, there is nothing to resume"):
        resume(way, one.run)
    kfp.tell(one.run, {"resolve": "SUCCEEDED"}, "FAILED")
    kfp.faults.append(Fault(":retry", 1, acts=True))
    resumed = resume(way, one.run)
    assert (resumed.run, resumed.same, kfp.runs[one.run].state) == (one.run, True, "RUNNING")
    kfp.tell(one.run, {}, "SUCCEEDED")
    with pytest.raises(UserError, match="is done, there is nothing to resume; submit it again"):
        resume(way, one.run)
    assert len(kfp.runs) == 1


def test_a_run_whose_workflow_is_gone_goes_on_in_a_new_one_and_in_the_same_mlflow_run(
    kfp: KfpStandIn, tmp_path: Path, tracked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = submitted(kfp, tmp_path)
    before = ran(monkeypatch, one.run, "0.1", 0.5)
    kfp.tell(one.run, {"resolve": "SUCCEEDED"}, "FAILED")
    kfp.faults.append(Fault(":retry", 9, status=400))
    way = connection(profile(kfp.host))
    resumed = resume(way, one.run)
    assert (resumed.same, resumed.name) == (False, f"{one.name}-again")
    new = kfp.runs[resumed.run]
    assert new.pipeline_version_reference == kfp.runs[one.run].pipeline_version_reference
    # What a step of the new run finds is the run of before, with its nested runs.
    monkeypatch.setenv("MODELMILL_RUN", resumed.run)
    after = Tracking.connect()
    assert after.run == before.run
    assert after.find_step("finetune") is not None
    assert find(one.run) is not None
    assert after.client.get_run(after.run).data.tags[RUN_TAG] == resumed.run
    assert after.client.get_run(after.run).data.tags[RESUMED_TAG] == one.run
    # Asked a second time, the run that was started is found.
    assert resume(way, one.run).run == resumed.run
    assert len(kfp.runs) == 2


def test_a_run_is_cancelled_once(kfp: KfpStandIn, tmp_path: Path, alone: None) -> None:
    one = submitted(kfp, tmp_path)
    way = connection(profile(kfp.host))
    kfp.faults.append(Fault(":terminate", 1, acts=True))
    cancel(way, one.run)
    assert kfp.runs[one.run].state == "CANCELING"
    with pytest.raises(UserError, match="is stopping already"):
        cancel(way, one.run)
    kfp.tell(one.run, {"resolve": "SUCCEEDED", "ingest": "RUNNING"}, "CANCELING")
    kfp.tell(one.run, {"resolve": "SUCCEEDED", "ingest": "RUNNING"}, "FAILED")
    assert [run.state for run in list_runs(way, 1)] == ["stopped"]


def test_a_cancelled_runs_trainjobs_are_deleted_and_no_others(
    kfp: KfpStandIn, tmp_path: Path, alone: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other, third = (submitted(kfp, tmp_path) for _ in range(3))
    wide = {"small": {}, "wide": {"device": "nvidia.com/gpu", "count": 8, "nodes": 4}}
    path = profile_file(tmp_path, profile(kfp.host, nodes=wide))
    code, _, err = modelmill(monkeypatch, capsys, ["runs", "cancel", one.run, "--profile", path])
    assert code == 0
    assert f"kubectl -n modelmill delete trainjobs -l modelmill/run={one.run}" in err
    with kubernetes() as cluster:
        monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig(tmp_path)))
        for name, run in (("first", one.run), ("ours", other.run), ("theirs", third.run)):
            reference = {"name": "torch-distributed", "kind": "ClusterTrainingRuntime"}
            labels = {"modelmill/run": run, "modelmill/step": "pretrain"}
            job = {"metadata": {"name": name, "labels": labels}, "spec": {"runtimeRef": reference}}
            cluster.put("trainjobs", job)
        code, out, err = modelmill(monkeypatch, capsys, ["runs", "cancel", other.run, "--profile", path, "--json"])
        assert (code, json.loads(out)["state"]) == (0, "stopping"), err
        assert err == "TrainJob ours is deleted\n"
        assert cluster.get("trainjobs", "ours") is None
        assert cluster.get("trainjobs", "theirs") is not None
        assert kfp.runs[other.run].state == "CANCELING"
        # The first run is stopping already; what it left goes all the same.
        code, _, err = modelmill(monkeypatch, capsys, ["runs", "cancel", one.run, "--profile", path])
        assert (code, cluster.get("trainjobs", "first")) == (2, None), err
        assert "is stopping already" in err


def test_two_runs_are_compared_by_settings_that_differ_and_by_figures(
    kfp: KfpStandIn, tmp_path: Path, tracked: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = submitted(kfp, tmp_path), submitted(kfp, tmp_path)
    ran(monkeypatch, one.run, "0.1", 0.5)
    ran(monkeypatch, other.run, "0.2", 0.75)
    told = compare_runs(one.run, other.run)
    assert told["settings"] == {"finetune.lr": [0.1, 0.2]}
    assert told["figures"] == {"finetune.validation_accuracy": [0.5, 0.75], "test.accuracy": [0.5, 0.75]}
    assert told["cached"] == [["ingest"], ["ingest"]]
    path = profile_file(tmp_path, profile(kfp.host))
    code, out, _ = modelmill(monkeypatch, capsys, ["runs", "compare", one.name, other.name, "--profile", path])
    assert code == 0
    assert "finetune.lr" in out
    assert "0.75" in out
    with pytest.raises(UserError, match="run none: MLflow knows none of that name"):
        compare_runs("none", other.run)


def test_logs_come_from_the_steps_pod(
    kfp: KfpStandIn, tmp_path: Path, alone: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = submitted(kfp, tmp_path)
    kfp.tell(one.run, {"resolve": "SUCCEEDED", "ingest": "RUNNING"})
    path = profile_file(tmp_path, profile(kfp.host))
    asked = ["runs", "logs", one.run, "--profile", path]
    code, _, err = modelmill(monkeypatch, capsys, asked)
    assert code == 2
    assert "Kubernetes is not reached" in err
    with kubernetes() as cluster:
        monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig(tmp_path)))
        cluster.put("pods", pod(one.run, "ingest", {"phase": "Running"}))
        cluster.say("shop-ingest", "reading shop.csv", "done", ended=True)
        code, out, err = modelmill(monkeypatch, capsys, asked)
        assert (code, out) == (0, "reading shop.csv\ndone\n"), err
        code, _, err = modelmill(monkeypatch, capsys, [*asked[:3], "ingst", *asked[3:]])
        assert code == 2
        assert "no step 'ingst'" in err


def test_runs_of_this_machine_are_listed_and_shown_without_a_profile(
    tmp_path: Path, alone: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ".modelmill" / "runs" / "20260101-000000-aaaa"
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text(json.dumps({"recipe": {"name": "shop"}, "until": "register"}))
    rows = json.loads(modelmill(monkeypatch, capsys, ["runs", "list", "--json"])[1])["runs"]
    assert [(row["run"], row["recipe"], row["state"]) for row in rows] == [(folder.name, "shop", "running")]
    known: dict[str, Any] = {"run": folder.name, "recipe": "shop", "state": "done", "seconds": 3.0, "steps": []}
    (folder / "run.json").write_text(json.dumps(known))
    (folder / "ingest.log").write_text("one\ntwo\n")
    assert json.loads(modelmill(monkeypatch, capsys, ["runs", "show", folder.name, "--json"])[1]) == known
    assert modelmill(monkeypatch, capsys, ["runs", "logs", folder.name])[1] == "one\ntwo\n"
    code, _, err = modelmill(monkeypatch, capsys, ["runs", "show", "20260101-000000-aaab"])
    assert code == 2
    assert "did you mean '20260101-000000-aaaa'" in err


def test_what_a_step_ended_with_is_kept_for_who_follows(tracked: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELMILL_RUN", "run-of-exit-code")
    keep_failure("ingest", "ingest: no such file", ["one line"], 2)
    found = find("run-of-exit-code")
    assert found is not None
    step = found.steps["ingest"]
    assert (step.exit_code, step.error, step.lines) == (2, "ingest: no such file", ("one line",))
    tracking = Tracking.connect()
    tracking.open_step("ingest")
    assert EXIT_TAG not in tracking.client.get_run(tracking.find_step("ingest").info.run_id).data.tags  # type: ignore[union-attr]
