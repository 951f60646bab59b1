"""A step that waits for its TrainJob, against the stand-in for Kubernetes' API server; the test plays the cluster."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from modelmill.command import Result
from modelmill.errors import Interrupted, ModelmillError
from modelmill.store import Store, open_store
from modelmill.trainjob.client import Api
from modelmill.trainjob.here import own_pod
from modelmill.trainjob.job import Stop, Times, TrainJob
from modelmill.trainjob.result import hand_back
from modelmill.trainjob.spec import JOB_VARIABLE, Asked
from modelmill.trainjob.wait import Wait
from tests.kubernetes_standin import Cluster, Object, kubernetes
from tests.modelmill.trainjob.played import (
    KIND,
    asked,
    condition,
    ended,
    node_pod,
    running,
    step_pod,
    unplaced,
    waits,
    warning,
)

QUICK = Times(poll=0.05, away=2, gone=2, leave=2, settle=0.2, result=0.3, quiet=0.05)
MADE = Result(outputs={"model": "models/some.json"}, summary={"loss": 1.5}, metadata={"model": {"loss": 1.5}})


@dataclass
class Play:
    """A cluster, and steps that wait in it."""

    cluster: Cluster
    store: Store
    threads: ThreadPoolExecutor
    stop: Stop = field(default_factory=Stop)

    def wait(self, wanted: Asked | None = None, times: Times = QUICK) -> "Future[Result]":
        """Start a step that waits, in a thread."""
        api = Api(client=self.cluster.client(), namespace=self.cluster.namespace)
        job = TrainJob(api=api, asked=wanted or asked(), stop=self.stop, times=times)
        pod = self.cluster.get("pods", "run-1-pretrain")
        assert pod is not None
        return self.threads.submit(Wait(job=job, store=self.store).run, pod)

    def job(self, name: str = "") -> Object:
        """The TrainJob, once it is there."""
        name = name or asked().name
        self.cluster.wait_for(lambda: self.cluster.get("trainjobs", name))
        found = self.cluster.get("trainjobs", name)
        assert found is not None
        return found

    def nodes(self, **second: Any) -> None:
        """Let both nodes run; the second may be otherwise."""
        self.job()
        self.cluster.put("pods", node_pod(asked().name, 0, state=running()))
        self.cluster.put("pods", node_pod(asked().name, 1, **(second or {"state": running()})))

    def clear(self) -> None:
        """End the pods of a TrainJob that is being deleted."""
        name = asked().name
        self.cluster.wait_for(lambda: "deletionTimestamp" in self.job()["metadata"])
        for pod in self.cluster.pods_of(self.job()):
            self.cluster.remove("pods", pod["metadata"]["name"])
        self.cluster.wait_for(lambda: self.cluster.get("trainjobs", name) is None)

    def asked_for(self, method: str, word: str) -> int:
        return sum(1 for sort, path, _ in self.cluster.requests if sort == method and word in path)


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Play]:
    with kubernetes() as cluster, ThreadPoolExecutor(4) as threads:
        cluster.put("pods", step_pod())
        made = Play(cluster, open_store(str(tmp_path / "store")), threads)
        try:
            yield made
        finally:
            # A test that failed leaves no thread waiting.
            made.stop._note(15, None)


def refused(future: "Future[Result]") -> str:
    """The sentence that a step failed with."""
    with pytest.raises(ModelmillError) as error:
        future.result(60)
    return str(error.value)


def test_a_job_that_is_done_gives_its_result_and_its_log(
    play: Play, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    future = play.wait()
    play.nodes()
    first = f"{asked().name}-node-0-0-abcde"
    play.cluster.say(first, "step 1", "step 2")
    play.cluster.wait_for(lambda: play.asked_for("GET", f"{first}/log"))
    play.cluster.drop_streams()
    play.cluster.say(first, "step 3")
    monkeypatch.setenv(JOB_VARIABLE, asked().name)
    hand_back(play.store, MADE)
    play.cluster.say(first, "step 4", ended=True)
    play.cluster.change("pods", first, status=node_pod(asked().name, 0, state=ended(0))["status"])
    play.cluster.change("trainjobs", asked().name, status=condition("Complete"))
    assert future.result(60) == MADE
    # Each line once, although the log was opened anew.
    assert [line for line in capfd.readouterr().err.splitlines() if line.startswith("step ")] == [
        f"step {number}" for number in (1, 2, 3, 4)
    ]
    assert play.wait().result(60) == MADE
    assert play.asked_for("PATCH", "trainjobs") == 1, "a step whose nodes had ended started others"


def test_a_step_that_is_started_again_finds_its_own_and_becomes_its_owner(play: Play) -> None:
    first = play.wait()
    play.nodes()
    uid = play.job()["metadata"]["uid"]
    play.cluster.put("pods", {**step_pod(), "metadata": {**step_pod()["metadata"], "uid": "of-another-pod"}})
    second = play.wait()
    play.cluster.wait_for(lambda: play.job()["metadata"]["ownerReferences"][0]["uid"] == "of-another-pod")
    assert play.job()["metadata"]["uid"] == uid
    assert len(play.cluster.all("trainjobs")) == 1
    play.cluster.remove("trainjobs", asked().name)
    for future in (first, second):
        assert "was deleted while it trained; the same command goes on" in refused(future)


@pytest.mark.parametrize("why", ["spec", "failed", "complete", "broken", "deleted"])
def test_a_job_of_an_older_attempt_is_replaced(why: str, play: Play) -> None:
    before = asked({**KIND, "memory": "8Gi"}) if why == "spec" else asked()
    api = Api(client=play.cluster.client(), namespace=play.cluster.namespace)
    old = TrainJob(api=api, asked=before, stop=play.stop, times=QUICK)
    from modelmill.trainjob.begin import begin

    begin(old, own_pod_of(play))
    uid = play.job()["metadata"]["uid"]
    if why in {"failed", "complete"}:
        play.cluster.change("trainjobs", before.name, status=condition(why.capitalize()))
    if why in {"broken", "deleted"}:
        play.cluster.put("pods", node_pod(before.name, 0, state=ended(1) if why == "broken" else running()))
    if why == "deleted":
        play.cluster.delete("trainjobs", before.name, "Foreground")
    future = play.wait()
    if why in {"broken", "deleted"}:
        play.clear()
    play.cluster.wait_for(lambda: play.job()["metadata"]["uid"] != uid)
    play.cluster.remove("trainjobs", asked().name)
    refused(future)


def own_pod_of(play: Play) -> Object:
    pod = play.cluster.get("pods", "run-1-pretrain")
    assert pod is not None
    return pod


def test_an_older_attempt_that_does_not_go_is_said_to_be_held(play: Play) -> None:
    future = play.wait()
    play.nodes(state=ended(1))
    assert "node 2 of 2" in refused(future)
    assert "is still there after" in refused(play.wait(times=Times(poll=0.05, gone=0.3, leave=0.1)))


def test_another_run_at_the_very_same_training_is_refused(play: Play) -> None:
    first = play.wait(asked(run="run-0"))
    play.job(asked(run="run-0").name)
    assert f"TrainJob {asked(run='run-0').name} of run run-0 is at this very training; wait until" in refused(
        play.wait()
    )
    assert len(play.cluster.all("trainjobs")) == 1
    play.cluster.remove("trainjobs", asked(run="run-0").name)
    refused(first)


def test_on_sigterm_the_job_is_deleted_in_the_foreground_and_its_pods_are_waited_for(play: Play) -> None:
    future = play.wait(times=Times(poll=0.05, leave=30))
    play.nodes()
    play.cluster.wait_for(lambda: play.asked_for("GET", "/log"))
    play.stop._note(15, None)
    play.cluster.wait_for(lambda: "deletionTimestamp" in play.job()["metadata"])
    time.sleep(0.2)
    assert not future.done(), "the pods have not ended yet"
    play.clear()
    with pytest.raises(Interrupted, match="stopped by SIGTERM; run again to go on"):
        future.result(60)
    assert [body for method, _, body in play.cluster.requests if method == "DELETE"] == [
        {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"}
    ]


def test_a_node_that_fails_fails_the_step_and_leaves_no_nodes(play: Play, capfd: pytest.CaptureFixture[str]) -> None:
    future = play.wait()
    play.nodes()
    second = f"{asked().name}-node-0-1-abcde"
    play.cluster.say(second, "it begins", "2026 ERROR modelmill: pretrain: the batch is broken", ended=True)
    play.cluster.change("pods", second, status=node_pod(asked().name, 1, state=ended(1))["status"])
    play.clear()
    assert refused(future) == "node 2 of 2: the batch is broken"
    assert "node 2 | it begins" in capfd.readouterr().err
    assert play.cluster.all("trainjobs") == []


def test_a_result_that_was_made_counts_also_where_a_node_failed_after_it(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    future = play.wait()
    monkeypatch.setenv(JOB_VARIABLE, asked().name)
    hand_back(play.store, MADE)
    play.nodes(state=ended(134))
    play.clear()
    assert future.result(60) == MADE


def test_a_job_without_a_result_says_that_its_store_may_be_another(play: Play) -> None:
    future = play.wait()
    play.job()
    play.cluster.change("trainjobs", asked().name, status=condition("Complete"))
    assert "do its pods see another MODELMILL_STORE?" in refused(future)


def test_a_server_that_is_away_is_waited_for_and_the_training_goes_on(
    play: Play, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    future = play.wait()
    play.nodes()
    play.cluster.away = True
    play.cluster.wait_for(lambda: "Kubernetes' API server does not answer" in caplog.text)
    monkeypatch.setenv(JOB_VARIABLE, asked().name)
    hand_back(play.store, MADE)
    play.cluster.change("trainjobs", asked().name, status=condition("Complete"))
    play.cluster.away = False
    assert future.result(60) == MADE


def test_a_server_that_never_answers_is_given_up_before_anything_began(play: Play) -> None:
    play.cluster.away = True
    assert "Kubernetes' API server does not answer" in refused(play.wait(times=Times(poll=0.05, away=0.3)))


def test_an_answer_that_someone_else_was_quicker_is_no_failure(play: Play) -> None:
    play.cluster.refuse("PATCH", "trainjobs", 409, times=2)
    future = play.wait()
    play.job()
    play.cluster.remove("trainjobs", asked().name)
    assert "was deleted" in refused(future)
    assert play.asked_for("PATCH", "trainjobs") == 3
    play.cluster.refuse("PATCH", "trainjobs", 409, times=99)
    assert "was changed by someone else each of the 5 times" in refused(play.wait())


def test_a_server_in_trouble_is_asked_again(play: Play) -> None:
    for code in (503, 500, 429):
        play.cluster.refuse("GET", "trainjobs", code)
    future = play.wait()
    play.job()
    play.cluster.remove("trainjobs", asked().name)
    assert "was deleted" in refused(future)


def test_what_is_missing_in_the_cluster_is_said_with_the_command_that_installs_it(play: Play) -> None:
    said = refused(play.wait(asked({**KIND, "runtime": "another"})))
    assert "no ClusterTrainingRuntime 'another'; name one as `runtime` of the kind of node, or install" in said
    assert "manifests/overlays/runtimes?ref=v" in said
    play.cluster.missing_groups.add("trainer.kubeflow.org")
    said = refused(play.wait())
    assert said.startswith("Kubeflow Trainer is not installed in this cluster; kubectl apply --server-side -k ")
    assert "manifests/overlays/manager?ref=v" in said


@pytest.mark.parametrize("verb", ["get", "list", "create", "patch"])
def test_a_right_that_is_missing_is_named(verb: str, play: Play) -> None:
    play.cluster.denied.add((verb, "trainjobs"))
    said = refused(play.wait())
    assert f'cannot {verb} resource "trainjobs" in API group "trainer.kubeflow.org"' in said
    assert "charts/modelmill" in said


def test_events_that_may_not_be_read_are_done_without(play: Play) -> None:
    play.cluster.denied.add(("list", "events"))
    future = play.wait()
    play.cluster.wait_for(lambda: play.asked_for("GET", "events") > 1)
    play.cluster.remove("trainjobs", asked().name)
    assert "was deleted" in refused(future)


def test_what_hinders_is_told_and_what_cannot_end_fails(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    future = play.wait()
    play.nodes(**unplaced("0/2 nodes are available: 2 Insufficient nvidia.com/gpu."))
    play.cluster.wait_for(lambda: "too little nvidia.com/gpu is free" in caplog.text)
    assert not future.done()
    second = f"{asked().name}-node-0-1-abcde"
    play.cluster.change("pods", second, status=node_pod("x", 1, state=waits("InvalidImageName"))["status"])
    play.clear()
    assert refused(future) == f"TrainJob {asked().name}: node 2 of 2: 'some' is no name of an image"


def test_a_quota_that_will_never_do_fails(play: Play) -> None:
    future = play.wait()
    play.job()
    said = "forbidden: exceeded quota: q, requested: cpu=4, used: cpu=0, limited: cpu=2"
    warning(play.cluster, f"{asked().name}-node-0", "FailedCreate", said)
    warning(play.cluster, "another-job", "FailedCreate", "something else")
    assert "the quota gives 2 cpu at most, so that it will never do" in refused(future)
    assert play.cluster.all("trainjobs") == []


def test_a_step_without_its_pod_says_how_it_is_named(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api(client=play.cluster.client(), namespace=play.cluster.namespace)
    monkeypatch.setenv("MODELMILL_POD", "run-1-pretrain")
    assert own_pod(api)["metadata"]["name"] == "run-1-pretrain"
    monkeypatch.setenv("MODELMILL_POD", "nothing")
    with pytest.raises(ModelmillError, match="there is no pod 'nothing' in the namespace modelmill; .*MODELMILL_POD"):
        own_pod(api)
