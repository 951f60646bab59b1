"""How a step comes to its TrainJob: its own again, a new one, or a sentence that says why there is none."""

import pytest

from modelmill.errors import ModelmillError
from modelmill.trainjob.begin import begin
from modelmill.trainjob.client import Api
from modelmill.trainjob.here import own_pod
from modelmill.trainjob.job import Times, TrainJob
from tests.kubernetes_standin import Object
from tests.modelmill.trainjob.play import QUICK, Play, refused
from tests.modelmill.trainjob.played import KIND, asked, condition, ended, node_pod, running, step_pod


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
    assert "is still there after" in refused(play.wait(times=Times(poll=0.05, gone=0.3, leave=0.1, hurry=0.1)))


def test_another_run_at_the_very_same_training_is_refused(play: Play) -> None:
    first = play.wait(asked(run="run-0"))
    play.job(asked(run="run-0").name)
    assert f"TrainJob {asked(run='run-0').name} of run run-0 is at this very training; wait until" in refused(
        play.wait()
    )
    assert len(play.cluster.all("trainjobs")) == 1
    play.cluster.remove("trainjobs", asked(run="run-0").name)
    refused(first)


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


def test_a_step_without_its_pod_says_how_it_is_named(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api(client=play.cluster.client(), namespace=play.cluster.namespace)
    monkeypatch.setenv("MODELMILL_POD", "run-1-pretrain")
    assert own_pod(api)["metadata"]["name"] == "run-1-pretrain"
    monkeypatch.setenv("MODELMILL_POD", "nothing")
    with pytest.raises(ModelmillError, match=r"there is no pod 'nothing' in the namespace modelmill; .*MODELMILL_POD"):
        own_pod(api)
