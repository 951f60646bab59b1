"""The stand-in for Kubernetes' API server answers as the real one, and takes nothing that that one would not take."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException

from tests.kubernetes_standin import Cluster, kubernetes

GROUP = ("trainer.kubeflow.org", "v1alpha1", "modelmill", "trainjobs")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with kubernetes() as made:
        yield made


def pod(name: str = "some", **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"name": "node", "image": "some"}]}}


def apply(cluster: Cluster, body: dict[str, Any], manager: str = "someone") -> Any:
    """What the package kubernetes sends for a server-side apply."""
    path = f"/apis/trainer.kubeflow.org/v1alpha1/namespaces/modelmill/trainjobs/{body['metadata']['name']}"
    return cluster.client().call_api(
        path,
        "PATCH",
        query_params=[("fieldManager", manager)],
        header_params={"Content-Type": "application/apply-patch+yaml", "Accept": "application/json"},
        body=body,
        auth_settings=["BearerToken"],
        response_type="object",
    )


def train_job(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": "some"},
        "spec": {"runtimeRef": {"name": "torch-distributed"}, **spec},
    }


def refused(error: pytest.ExceptionInfo[ApiException]) -> tuple[int, str]:
    return int(error.value.status), str(error.value.body)


def test_objects_are_listed_by_label_and_read_by_name(cluster: Cluster) -> None:
    cluster.put("pods", pod("one", a="1"))
    cluster.put("pods", pod("two", a="2"))
    core = client.CoreV1Api(cluster.client())
    assert [one.metadata.name for one in core.list_namespaced_pod("modelmill", label_selector="a=2").items] == ["two"]
    assert core.read_namespaced_pod("one", "modelmill").metadata.uid
    with pytest.raises(ApiException) as error:
        core.read_namespaced_pod("three", "modelmill")
    assert refused(error)[0] == 404
    assert [one.metadata.name for one in core.list_namespace().items] == ["modelmill"]


def test_a_job_is_applied_twice_changed_in_nothing_that_is_fixed_and_deleted_when_its_pods_are(
    cluster: Cluster,
) -> None:
    body, code, _ = apply(cluster, train_job(trainer={"numNodes": 2}))
    assert (code, body["spec"]["runtimeRef"]["kind"]) == (201, "ClusterTrainingRuntime")
    assert apply(cluster, train_job(trainer={"numNodes": 2}))[1] == 200
    with pytest.raises(ApiException, match=r"spec\.trainer: field is immutable"):
        apply(cluster, train_job(trainer={"numNodes": 3}))
    cluster.put("pods", pod("some-node-0-0-abcde", **{"jobset.sigs.k8s.io/jobset-name": "some"}))
    jobs = client.CustomObjectsApi(cluster.client())
    jobs.delete_namespaced_custom_object(*GROUP, "some", propagation_policy="Foreground")
    assert "deletionTimestamp" in jobs.get_namespaced_custom_object(*GROUP, "some")["metadata"]
    cluster.remove("pods", "some-node-0-0-abcde")
    assert cluster.get("trainjobs", "some") is None


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"trainer": {"numNode": 2}}, "unknown field spec.trainer.numNode"),
        ({"trainer": {"numNodes": "2"}}, "valid integer"),
        ({"trainer": {"env": [{"name": "PET_NNODES", "value": "2"}]}}, "reserved envs"),
        ({"runtimePatches": [{"manager": "modelmill"}]}, "domain-prefixed path"),
        ({"runtimeRef": {"name": "nothing"}}, "specified clusterTrainingRuntime must be created before"),
    ],
)
def test_what_trainer_would_refuse_is_refused(cluster: Cluster, spec: dict[str, Any], said: str) -> None:
    with pytest.raises(ApiException) as error:
        apply(cluster, train_job(**spec))
    assert said in refused(error)[1]
    assert cluster.all("trainjobs") == []


def test_rights_are_reviewed_and_what_is_not_allowed_is_forbidden(cluster: Cluster) -> None:
    cluster.denied.add(("create", "trainjobs"))
    asked = client.V1ResourceAttributes(verb="create", resource="trainjobs", group=GROUP[0], namespace="modelmill")
    body = client.V1SelfSubjectAccessReview(spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=asked))
    api = client.AuthorizationV1Api(cluster.client())
    assert not api.create_self_subject_access_review(body).status.allowed
    asked.verb = "get"
    assert api.create_self_subject_access_review(body).status.allowed
    with pytest.raises(ApiException, match='cannot create resource \\\\"trainjobs') as error:
        apply(cluster, train_job())
    assert refused(error)[0] == 403


def test_a_kind_whose_definition_is_missing_is_no_page(cluster: Cluster) -> None:
    cluster.missing_groups.add("trainer.kubeflow.org")
    with pytest.raises(ApiException) as error:
        apply(cluster, train_job())
    assert refused(error) == (404, "404 page not found\n")


def test_a_watch_tells_what_happens_until_it_is_dropped(cluster: Cluster) -> None:
    cluster.put("pods", pod("one"))
    seen: list[tuple[str, str]] = []

    def change() -> None:
        cluster.put("pods", pod("two"))
        cluster.remove("pods", "one")

    changes = threading.Thread(target=change)
    core = client.CoreV1Api(cluster.client())
    for event in watch.Watch().stream(core.list_namespaced_pod, "modelmill", timeout_seconds=30):
        if not seen:
            changes.start()
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            break
    changes.join()
    assert seen == [("ADDED", "one"), ("ADDED", "two"), ("DELETED", "one")]
    cluster.drop_streams(gone=True)
    with pytest.raises(ApiException, match="too old resource version"):
        list(watch.Watch().stream(core.list_namespaced_pod, "modelmill", resource_version="1", timeout_seconds=5))


def test_a_log_is_followed_to_its_end_and_read_from_a_time_on(cluster: Cluster) -> None:
    cluster.put("pods", pod())
    cluster.say("some", "first", "second")
    core = client.CoreV1Api(cluster.client())
    assert core.read_namespaced_pod_log("some", "modelmill", tail_lines=1) == "second\n"
    stream = core.read_namespaced_pod_log("some", "modelmill", follow=True, timestamps=True, _preload_content=False)
    cluster.say("some", "third", ended=True)
    said = [line.decode().split(" ", 1) for line in b"".join(stream.stream()).splitlines(keepends=True)]
    assert [line for _, line in said] == ["first\n", "second\n", "third\n"]
    assert said[0][0].endswith("Z")


def test_it_can_be_away_and_refuse(cluster: Cluster) -> None:
    core = client.CoreV1Api(cluster.client())
    cluster.refuse("GET", "/pods", 409)
    with pytest.raises(ApiException, match="Conflict"):
        core.list_namespaced_pod("modelmill")
    assert core.list_namespaced_pod("modelmill").items == []
    cluster.away = True
    with pytest.raises(Exception, match=r"Max retries|aborted|closed"):
        core.list_namespaced_pod("modelmill")


def test_who_asks_without_the_token_is_unknown(cluster: Cluster, tmp_path: Any) -> None:
    config.load_kube_config(str(cluster.kubeconfig(tmp_path)), client_configuration=(known := client.Configuration()))
    assert client.CoreV1Api(client.ApiClient(known)).list_node().items == []
    with pytest.raises(ApiException, match="Unauthorized"):
        client.CoreV1Api(client.ApiClient(client.Configuration(host=cluster.url))).list_node()
