"""Objects as a cluster with Kubeflow Trainer has them: the pod of a step, and the pods of a TrainJob in every state."""

from collections.abc import Mapping
from typing import Any

from modelmill.profile import NodeKind
from modelmill.trainjob.spec import CONTAINER, INDEX_LABEL, JOBSET_LABEL, REPLICATED_LABEL, Asked
from tests.kubernetes_cluster import Cluster, Object, now

KIND: dict[str, Any] = {"nodes": 2, "cpu": "4", "memory": "16Gi"}
GPUS: dict[str, Any] = {
    "nodes": 2,
    "cpu": "8",
    "memory": "64Gi",
    "device": "nvidia.com/gpu",
    "count": 4,
    "selector": {"nvidia.com/gpu.product": "NVIDIA-L4"},
    "tolerations": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}],
    "shared_memory": "8Gi",
    "scratch": "100Gi",
    "time_limit": "12h",
    "queue": "large-gpu",
    "environment": {"NCCL_SOCKET_IFNAME": "eth0"},
}


def asked(kind: Mapping[str, Any] = KIND, **changes: Any) -> Asked:
    """What a step asks for; a kind is written as a profile has it."""
    made = NodeKind.model_validate({**kind, "tolerations": tuple(kind.get("tolerations", ()))})
    told: dict[str, Any] = {
        "step": "pretrain",
        "run": "run-1",
        "key": "a" * 64,
        "command": ("python3", "-m", "components.pretrain", "--settings", "{}"),
        "kind": made,
        "processes": made.count,
    }
    return Asked(**{**told, **changes})


def step_pod(name: str = "run-1-pretrain", **environment: str) -> Object:
    """The pod of a step, as Argo Workflows makes it for Kubeflow Pipelines."""
    env: list[Object] = [
        {"name": "KFP_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "MODELMILL_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "MODELMILL_RUN", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['pipeline/runid']"}}},
        {"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": _key("modelmill-s3", "secret_key")},
        {"name": "MODELMILL_NOTIFY", "valueFrom": _key("modelmill-notify", "addresses", optional=True)},
        *({"name": each, "value": value} for each, value in environment.items()),
    ]
    main = {
        "name": "main",
        "image": "registry.example.com/ml/modelmill-train:1",
        "command": ["/var/run/argo/argoexec", "emissary"],
        "env": env,
        "securityContext": {"allowPrivilegeEscalation": False},
    }
    spec = {
        "containers": [{"name": "wait", "image": "argoexec"}, main],
        "serviceAccountName": "modelmill",
        "imagePullSecrets": [{"name": "registry"}],
        "securityContext": {"runAsNonRoot": True},
    }
    labels = {
        "pipeline/runid": "run-1",
        "app.kubernetes.io/part-of": "modelmill",
        "modelmill/pipeline": "reviews",
        "modelmill/step": "pretrain",
    }
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


def _key(name: str, key: str, **more: Any) -> Object:
    return {"secretKeyRef": {"name": name, "key": key, **more}}


def node_pod(job: str, number: int, **status: Any) -> Object:
    """A pod of a TrainJob, as Trainer, JobSet and Job make it; `state` and `last` are its container's."""
    state, last = status.pop("state", None), status.pop("last", None)
    limits = {"memory": "16Gi"}
    told = {"name": CONTAINER, "image": "some", "imageID": "", "ready": False, "restartCount": 1 if last else 0}
    container = {**told, "state": state or {}, **({"lastState": last} if last else {})}
    if state or last:
        status["containerStatuses"] = [container]
    return {
        "metadata": {
            "name": f"{job}-node-0-{number}-abcde",
            "labels": {JOBSET_LABEL: job, REPLICATED_LABEL: CONTAINER, INDEX_LABEL: str(number)},
            "annotations": {INDEX_LABEL: str(number)},
        },
        "spec": {"containers": [{"name": CONTAINER, "image": "some", "resources": {"limits": limits}}]},
        "status": status,
    }


def running() -> Object:
    return {"running": {"startedAt": now()}}


def ended(code: int, reason: str = "", at: str = "") -> Object:
    return {
        "terminated": {
            "exitCode": code,
            "reason": reason or ("Error" if code else "Completed"),
            "finishedAt": at or now(),
        }
    }


def waits(reason: str, message: str = "") -> Object:
    return {"waiting": {"reason": reason, "message": message}}


def condition(sort: str, reason: str = "", message: str = "") -> Object:
    """The status of a TrainJob that is so."""
    told = {"type": sort, "status": "True", "reason": reason or sort, "message": message, "lastTransitionTime": now()}
    return {"conditions": [told]}


def unplaced(message: str, reason: str = "Unschedulable") -> Object:
    """Conditions of a pod that no machine takes."""
    return {"conditions": [{"type": "PodScheduled", "status": "False", "reason": reason, "message": message}]}


def warning(cluster: Cluster, of: str, reason: str, message: str) -> None:
    """Tell something of an object, as a controller does."""
    about = {"kind": "Job", "name": of, "namespace": cluster.namespace}
    meta = {"name": f"{of}.{len(cluster.changes)}", "namespace": cluster.namespace}
    told = {"involvedObject": about, "type": "Warning", "reason": reason, "message": message, "lastTimestamp": now()}
    cluster.put("events", {"metadata": meta, **told})
