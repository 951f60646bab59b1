"""A step that waits for its TrainJob, against the stand-in for Kubernetes' API server; the test plays the cluster."""

import time

import pytest

from modelmill.errors import Interrupted
from modelmill.trainjob.job import Times
from modelmill.trainjob.result import hand_back
from modelmill.trainjob.spec import JOB_VARIABLE
from tests.modelmill.trainjob.play import MADE, Play, refused
from tests.modelmill.trainjob.played import asked, condition, ended, node_pod, unplaced, waits, warning


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


def test_on_sigterm_the_job_is_deleted_in_the_foreground_and_its_pods_are_waited_for(play: Play) -> None:
    future = play.wait(times=Times(poll=0.05, leave=30))
    play.nodes()
    play.cluster.wait_for(lambda: play.asked_for("GET", "/log"))
    play.stop.ask(15)
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
    first, second = play.wait(), play.wait()
    play.nodes()
    play.cluster.wait_for(lambda: play.asked_for("GET", "/log") == 2)
    play.cluster.away = True
    play.cluster.wait_for(lambda: "Kubernetes' API server does not answer" in caplog.text)
    monkeypatch.setenv(JOB_VARIABLE, asked().name)
    hand_back(play.store, MADE)
    assert first.result(60) == MADE, "the result came by the store"
    # The other one may have asked before the result was there, or not at all meanwhile.
    play.cluster.change("trainjobs", asked().name, status=condition("Complete"))
    play.cluster.away = False
    assert second.result(60) == MADE
    assert play.job(), "a training that is done was removed"


def test_a_server_in_trouble_is_asked_again(play: Play) -> None:
    for code in (503, 500, 429):
        play.cluster.refuse("GET", "trainjobs", code)
    future = play.wait()
    play.job()
    play.cluster.remove("trainjobs", asked().name)
    assert "was deleted" in refused(future)


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
