"""What every container of every set of values has, and what no text holds."""

import base64
import re
from pathlib import Path

import yaml

from tests.charts.cluster import cluster
from tests.charts.helm import CI, Helm, containers, environment, of_kind, pods

CONTAINER = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
POD = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "fsGroup": 65532,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}


def test_every_container_runs_without_rights(helm: Helm, values: Path) -> None:
    for name, container in containers(helm.render(values)):
        assert container["securityContext"] == CONTAINER, name


def test_every_pod_says_so_too_but_knatives_which_may_not(helm: Helm, values: Path) -> None:
    for each, _, spec in pods(helm.render(values)):
        mode = each["metadata"].get("annotations", {}).get("serving.kserve.io/deploymentMode")
        assert spec.get("securityContext") == (None if mode == "Knative" else POD)
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostAliases"} & set(spec)


def test_every_container_asks_for_what_it_takes_and_takes_no_more(helm: Helm, values: Path) -> None:
    for name, container in containers(helm.render(values)):
        for kind in ("requests", "limits"):
            assert {"cpu", "memory"} <= set(container["resources"][kind]), name


def test_what_runs_on_is_probed_and_what_ends_is_not(helm: Helm, values: Path) -> None:
    probes = {"startupProbe", "readinessProbe", "livenessProbe"}
    for name, container in containers(helm.render(values)):
        wanted = set() if name.startswith(("Job ", "CronJob ")) else probes
        assert probes & set(container) == wanted, name


def test_what_ends_has_a_time_by_which_it_must(helm: Helm, values: Path) -> None:
    objects = helm.render(values)
    jobs = [each["spec"] for each in of_kind(objects, "Job")]
    for spec in jobs + [each["spec"]["jobTemplate"]["spec"] for each in of_kind(objects, "CronJob")]:
        assert spec["activeDeadlineSeconds"] > 0
        assert spec["backoffLimit"] < 6


def test_containers_write_to_scratch_of_a_said_size_and_to_volumes_alone(helm: Helm, values: Path) -> None:
    for _, _, spec in pods(helm.render(values)):
        for volume in spec["volumes"]:
            (kind,) = set(volume) - {"name"}
            assert kind in {"emptyDir", "persistentVolumeClaim"}
            assert kind != "emptyDir" or volume["emptyDir"]["sizeLimit"]
        for container in spec["containers"]:
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}
            assert environment(container)["HOME"] == "/tmp"


def test_no_pod_of_the_chart_has_a_token_or_the_account_of_the_steps(helm: Helm, values: Path) -> None:
    objects = helm.render(values)
    for _, _, spec in pods(objects):
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["serviceAccountName"] in {"modelmill-services", "ml-services"}


def test_images_are_named_with_a_version(helm: Helm, values: Path) -> None:
    for name, container in containers(helm.render(values)):
        assert re.fullmatch(r"[a-z0-9.:]+(/[a-z0-9-]+)+:v?\d[\w.-]*(@sha256:[0-9a-f]{64})?", container["image"]), name


def test_digests_pin_images(helm: Helm) -> None:
    found = {container["image"] for _, container in containers(helm.render(CI / "production-values.yaml"))}
    assert found == {
        f"registry.example.com/ml/modelmill-data:0.1.0-0123456789ab@sha256:{'1' * 64}",
        f"ghcr.io/mlflow/mlflow:v3.17.2-full@sha256:{'3' * 64}",
    }


def test_a_secret_reaches_a_container_by_its_name_alone(helm: Helm, values: Path) -> None:
    for name, container in containers(helm.render(values)):
        for variable, value in environment(container).items():
            if re.search("KEY|SECRET|PASSWORD|TOKEN", variable):
                assert set(value) == {"secretKeyRef"}, f"{name}: {variable}"


def test_made_keys_stand_in_their_secret_and_nowhere_else(helm: Helm) -> None:
    said = helm.installed(CI / "trial-values.yaml")
    assert "NOTES:" in said
    keys = dict(re.findall(r"^  (access_key|secret_key): (\S+)$", said, re.MULTILINE))
    assert set(keys) == {"access_key", "secret_key"}
    assert [len(base64.b64decode(value)) for value in (keys["access_key"], keys["secret_key"])] == [20, 40]
    for value in keys.values():
        assert said.count(value) == 1
        assert base64.b64decode(value).decode() not in said


def test_made_keys_differ_from_one_install_to_the_next_and_outlive_it(helm: Helm) -> None:
    first, second = (of_kind(helm.render(CI / "trial-values.yaml"), "Secret") for _ in range(2))
    assert first[0]["data"] != second[0]["data"]
    assert first[0]["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_made_keys_are_kept_where_the_cluster_has_them(helm: Helm, tmp_path: Path) -> None:
    (made,) = of_kind(helm.render(CI / "trial-values.yaml"), "Secret")
    # As helm marks what it installs.
    made["metadata"]["annotations"] |= {
        "meta.helm.sh/release-name": "modelmill", "meta.helm.sh/release-namespace": "modelmill",
    }  # fmt: skip
    with cluster(tmp_path, [made]) as known:
        (kept,) = of_kind(helm.render(CI / "trial-values.yaml", cluster=known), "Secret")
    with cluster(tmp_path, []) as empty:
        (fresh,) = of_kind(helm.render(CI / "trial-values.yaml", cluster=empty), "Secret")
    assert kept["data"] == made["data"] != fresh["data"]


def test_no_secret_is_made_where_one_is_named(helm: Helm) -> None:
    objects = helm.render(CI / "production-values.yaml")
    assert not of_kind(objects, "Secret")
    named = {
        value["secretKeyRef"]["name"]
        for _, container in containers(objects)
        for value in environment(container).values()
        if isinstance(value, dict)
    }
    assert named == {"ml-s3", "ml-postgresql"}


def test_where_no_keys_are_named_none_are_given(helm: Helm) -> None:
    text = yaml.safe_dump(helm.render(CI / "identity-values.yaml"))
    assert "secretKeyRef" not in text
    assert "eks.amazonaws.com/role-arn" in text
