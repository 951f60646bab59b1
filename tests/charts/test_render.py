"""What helm makes of each set of values, held against the schemas of those who take it."""

from pathlib import Path

import pytest

from tests.charts import kserve
from tests.charts.helm import CHART, Helm, Object, containers, of_kind, pods
from tests.kubernetes_models import check

LONG = "a-release-whose-name-has-all-of-the-53-letters-it-may"


def valid(each: Object) -> None:
    if each["kind"] == "InferenceService":
        kserve.validate(each)
    else:
        check(each)


def test_helm_finds_nothing_to_say_of_any_set_of_values(helm: Helm, values: Path) -> None:
    done = helm.run("lint", "--strict", "--quiet", str(CHART), values=values)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout


def test_kubernetes_and_kserve_take_every_object(helm: Helm, values: Path) -> None:
    objects = helm.render(values)
    assert objects
    for each in objects:
        valid(each)


def test_the_schemas_are_strict() -> None:
    pod = {"containers": [{"name": "kserve-container", "image": "a:1"}]}
    service = {
        "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": {"name": "a"},
        "spec": {"predictor": {**pod, "canaryTrafficPercent": 10}},
    }  # fmt: skip
    valid(service)
    for wrong in ({"canaryTrafficPercentage": 10}, {"canaryTrafficPercent": 101}, {"minReplicas": "1"}):
        with pytest.raises(Exception, match=r"canaryTrafficPercentage|101|'1'"):
            valid({**service, "spec": {"predictor": {**pod, **wrong}}})


def test_every_object_says_where_it_belongs(helm: Helm, values: Path) -> None:
    for each in helm.render(values, namespace="elsewhere"):
        said = each["metadata"]
        assert said["namespace"] == "elsewhere"
        labels = said["labels"]
        assert labels["app.kubernetes.io/part-of"] == labels["app.kubernetes.io/name"] == "modelmill"
        assert labels["app.kubernetes.io/instance"] == "modelmill"
        assert labels["app.kubernetes.io/component"]
        assert labels["app.kubernetes.io/managed-by"] == "Helm"


def test_no_two_objects_have_one_name(helm: Helm, values: Path) -> None:
    named = [(each["kind"], each["metadata"]["name"]) for each in helm.render(values)]
    assert len(named) == len(set(named))


def test_names_fit_where_the_releases_is_as_long_as_it_may_be(helm: Helm, values: Path) -> None:
    assert len(LONG) == 53
    for each in helm.render(values, release=LONG):
        valid(each)
        # Pods of a CronJob and of a StatefulSet have 11 characters more in a label.
        most = 52 if each["kind"] in {"CronJob", "StatefulSet"} else 63
        assert len(each["metadata"]["name"]) <= most, each["metadata"]["name"]
        assert all(len(str(value)) <= 63 for value in each["metadata"]["labels"].values())


def test_names_that_were_cut_stay_apart(helm: Helm) -> None:
    names = [{each["metadata"]["name"] for each in helm.render({}, release=f"{LONG[:-1]}{end}")} for end in "ab"]
    assert not names[0] & names[1]


def test_every_selector_finds_the_pods_of_one_workload(helm: Helm, values: Path) -> None:
    objects = helm.render(values)
    made = [(each["kind"], each["metadata"]["name"], labels) for each, labels, _ in pods(objects)]
    for each in of_kind(objects, "Deployment") + of_kind(objects, "StatefulSet") + of_kind(objects, "Service"):
        selector = each["spec"]["selector"]
        wanted = selector.get("matchLabels", selector).items()
        found = [name for _, name, labels in made if wanted <= labels.items()]
        assert found == [each["metadata"]["name"]]


def test_what_a_pod_names_is_there(helm: Helm, values: Path) -> None:
    objects = helm.render(values)
    claims = {each["metadata"]["name"] for each in of_kind(objects, "PersistentVolumeClaim")}
    accounts = {each["metadata"]["name"] for each in of_kind(objects, "ServiceAccount")} | {"ml-services"}
    for each, _, spec in pods(objects):
        assert spec["serviceAccountName"] in accounts
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        claimed = {
            volume["persistentVolumeClaim"]["claimName"]
            for volume in volumes.values()
            if "persistentVolumeClaim" in volume
        }
        assert claimed <= claims
        own = {claim["metadata"]["name"] for claim in each["spec"].get("volumeClaimTemplates", [])}
        for container in spec["containers"]:
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted == set(volumes) | own


def test_ports_are_named_as_the_services_and_probes_call_them(helm: Helm, values: Path) -> None:
    objects = helm.render(values)
    for _, container in containers(objects):
        named = {port["name"] for port in container.get("ports", [])} | {5000}
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            if kind in container:
                assert container[kind]["httpGet"]["port"] in named
    for service in of_kind(objects, "Service"):
        (container,) = [
            container
            for _, labels, spec in pods(objects)
            if service["spec"]["selector"].items() <= labels.items()
            for container in spec["containers"]
        ]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert [ports[port["targetPort"]] for port in service["spec"]["ports"]] == [service["spec"]["ports"][0]["port"]]


def test_names_that_yaml_takes_for_something_else_stay_names(helm: Helm) -> None:
    values = {
        "fullnameOverride": "null",
        "image": {"pullSecrets": ["007"]},
        "secrets": {"s3": {"existing": "1e3"}},
        "seaweedfs": {"enabled": True, "buckets": ["123"], "storageClass": "0x1"},
        "mlflow": {"backend": "postgresql", "postgresql": {"secret": "12.5", "key": "1"}},
        "retention": {"timeLimitSeconds": 5_000_000, "keepVersions": 1_000_000},
        "serving": {"enabled": True, "model": f"s3://123/models/{'a' * 64}", "timeoutSeconds": 2_000_000},
        "network": {"serving": {"namespaces": ["456"]}},
        "s3": {"store": "s3://123", "region": "1"},
    }
    objects = helm.render(values, release="true", namespace="789")
    for each in objects:
        valid(each)
        assert each["metadata"]["labels"]["app.kubernetes.io/instance"] == "true"
    (job,) = [container for name, container in containers(objects) if name == "Job buckets"]
    assert job["args"][1:] == ["123", "modelmill"]
    (retention,) = [container for name, container in containers(objects) if name == "CronJob retention"]
    assert "--keep-versions=1000000" in retention["args"]
