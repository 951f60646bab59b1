"""What Kubeflow Trainer is asked for: everything of the profile and of the step's own pod, and no secret."""

import json

import pytest

from modelmill.trainjob.spec import train_job
from tests.kubernetes_models import problem
from tests.modelmill.trainjob.played import GPUS, KIND, asked, step_pod

POD = {**step_pod(MODELMILL_STORE="s3://modelmill/store"), "apiVersion": "v1", "kind": "Pod"}
POD["metadata"]["uid"] = "1234"


def test_a_train_job_has_all_that_profile_and_pod_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELMILL_RUN", "run-1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "marker-of-a-secret")
    wanted = asked(GPUS)
    made = train_job(wanted, POD)
    assert not problem(POD)
    assert not problem(made)
    assert "marker-of-a-secret" not in json.dumps(made)
    assert made["metadata"]["labels"] == {
        "app.kubernetes.io/part-of": "modelmill",
        "modelmill/run": "run-1",
        "modelmill/step": "pretrain",
        "modelmill/pipeline": "reviews",
        "modelmill/key": "a" * 32,
        "kueue.x-k8s.io/queue-name": "large-gpu",
    }
    assert made["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": "run-1-pretrain", "uid": "1234"}
    ]
    spec = made["spec"]
    assert spec["runtimeRef"]["name"] == "torch-distributed"
    assert spec["activeDeadlineSeconds"] == 12 * 3600
    trainer = spec["trainer"]
    assert trainer["image"] == "registry.example.com/ml/modelmill-train:1"
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (2, 4)
    assert trainer["command"] == list(wanted.command)
    wants = {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "4"}
    assert trainer["resourcesPerNode"] == {"requests": wants, "limits": wants}
    environment = {one["name"]: one for one in trainer["env"]}
    assert environment.keys() == {
        "MODELMILL_RUN",
        "AWS_SECRET_ACCESS_KEY",
        "MODELMILL_NOTIFY",
        "MODELMILL_STORE",
        "NCCL_SOCKET_IFNAME",
        "TMPDIR",
        "MODELMILL_TRAINJOB",
    }
    assert environment["MODELMILL_RUN"]["value"] == "run-1"
    secret = {"secretKeyRef": {"name": "modelmill-s3", "key": "secret_key"}}
    assert environment["AWS_SECRET_ACCESS_KEY"] == {"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": secret}
    assert environment["MODELMILL_NOTIFY"]["valueFrom"]["secretKeyRef"]["optional"]
    [patch] = spec["runtimePatches"]
    [job] = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod = job["template"]["spec"]["template"]
    assert pod["metadata"]["labels"]["app.kubernetes.io/part-of"] == "modelmill"
    assert pod["spec"] == {
        "containers": [
            {
                "name": "node",
                "volumeMounts": [
                    {"name": "shared-memory", "mountPath": "/dev/shm"},
                    {"name": "scratch", "mountPath": "/scratch"},
                ],
                "securityContext": {"allowPrivilegeEscalation": False},
            }
        ],
        "volumes": [
            {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}},
            {"name": "scratch", "emptyDir": {"sizeLimit": "100Gi"}},
        ],
        "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-L4"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "serviceAccountName": "modelmill",
        "imagePullSecrets": [{"name": "registry"}],
        "securityContext": {"runAsNonRoot": True},
        "terminationGracePeriodSeconds": 30,
    }


def test_a_job_without_devices_or_limits_asks_for_none() -> None:
    made = train_job(asked(KIND), POD)
    assert not problem(made)
    assert "activeDeadlineSeconds" not in made["spec"]
    assert made["spec"]["trainer"]["resourcesPerNode"]["limits"] == {"cpu": "4", "memory": "16Gi"}
    assert "kueue.x-k8s.io/queue-name" not in made["metadata"]["labels"]


def test_a_name_is_the_same_for_the_same_step_of_the_same_run_and_for_no_other() -> None:
    names = [
        asked().name,
        asked(run="run-2").name,
        asked(key="b" * 64).name,
        asked(step="finetune").name,
        asked(step="4 ÄPFEL und noch viel mehr als in einen Namen passt " * 3).name,
    ]
    assert len(set(names)) == 5
    assert asked(GPUS).name == names[0]
    for name in names:
        assert not problem(train_job(asked(step="x"), POD) | {"metadata": {"name": name}})
        assert len(f"{name}-node-0-1023") <= 63


def test_words_that_only_look_like_variables_reach_the_step_as_they_are() -> None:
    made = train_job(asked(command=("python3", "$(HOME)", "a$b")), POD)
    # Kubernetes makes $ of $$, and then puts nothing in.
    assert made["spec"]["trainer"]["command"] == ["python3", "$$(HOME)", "a$$b"]


def test_what_is_asked_for_is_told_apart_by_its_digest_whoever_owns_it() -> None:
    other = {**POD, "metadata": {**POD["metadata"], "name": "another", "uid": "5678"}}
    digests = [
        train_job(*each)["metadata"]["annotations"]["modelmill/spec"]
        for each in ((asked(), POD), (asked(), other), (asked(GPUS), POD))
    ]
    assert digests[0] == digests[1] != digests[2]
