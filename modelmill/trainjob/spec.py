"""The TrainJob of a step, made from its kind of node and from its own pod; what is secret stays a reference."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelmill.digest import digest
from modelmill.profile import SCRATCH, NodeKind
from modelmill.trainjob.client import GROUP, MANAGER, VERSION, Object

JOB_VARIABLE = "MODELMILL_TRAINJOB"
"""Set in the pods of a TrainJob: its name."""
JOBSET_LABEL = "jobset.sigs.k8s.io/jobset-name"
"""On the pods of a TrainJob, whose JobSet has its name."""
REPLICATED_LABEL = "jobset.sigs.k8s.io/replicatedjob-name"
"""On them: which job of the JobSet they are of. A runtime may have others that fetch data or models."""
INDEX_LABEL = "batch.kubernetes.io/job-completion-index"
"""On them, and as an annotation: which node a pod is."""
CONTAINER = "node"
"""Of a pod that trains, by Trainer's convention; the replicated job has the same name."""
SPEC_ANNOTATION = "modelmill/spec"
KEY_LABEL, RUN_LABEL, STEP_LABEL = "modelmill/key", "modelmill/run", "modelmill/step"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
# A checkpoint on SIGTERM takes at most 20 s.
_GRACE_SECONDS = 30
# Kubeflow Pipelines' own, and what is of this one pod.
_NOT_COPIED = re.compile(r"KFP_.*|ARGO_.*|PET_.*|KUBERNETES_.*|MODELMILL_(POD|TRAINJOB|EVENTS|LOGS)|TMPDIR|NAMESPACE")
# References that mean the same in every pod of the namespace.
_REFERENCES = {"secretKeyRef", "configMapKeyRef"}
_COPIED_LABELS = ("app.kubernetes.io/part-of", "modelmill/pipeline", STEP_LABEL)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a step wants to be done on several nodes."""

    step: str
    """For people, and in the name."""
    run: str
    """The pipeline run that the step belongs to."""
    key: str
    """Digest of what decides the training's outcome: its settings, inputs and code, 64 hexadecimal digits."""
    command: tuple[str, ...]
    kind: NodeKind
    processes: int
    """On each node."""

    @property
    def name(self) -> str:
        """The TrainJob's name: a step that is started again, in whatever pod, finds its own, and no other's.

        Its pods' host names are longer by 12 characters, and have 63 at most.
        """
        word = re.sub(r"[^a-z0-9]+", "-", self.step.lower()).strip("-")[:30].rstrip("-") or "step"
        return f"{word if word[0].isalpha() else f's-{word}'}-{digest([self.run, self.step, self.key])[:16]}"


def train_job(asked: Asked, pod: Mapping[str, Any]) -> Object:
    """Return the TrainJob for what is asked by the step that runs in a pod.

    Its owner is that pod: whatever becomes of the step, nodes are not held for longer than its pod is there. Image,
    environment, service account, pull secrets and security context are the pod's own; a value from a Secret or a
    ConfigMap goes as the reference to it.
    """
    kind, container = asked.kind, _container(pod)
    spec: Object = {
        "runtimeRef": {"apiGroup": GROUP, "kind": "ClusterTrainingRuntime", "name": kind.runtime},
        "trainer": {
            "image": container["image"],
            # Kubernetes puts variables in for $(NAME), also where a text only looks so.
            "command": [word.replace("$", "$$") for word in asked.command],
            "env": _environment(container.get("env") or (), asked),
            "numNodes": kind.nodes,
            "numProcPerNode": asked.processes,
            "resourcesPerNode": _resources(kind),
        },
        "runtimePatches": [{"manager": MANAGER, "trainingRuntimeSpec": {"template": {"spec": _patch(asked, pod)}}}],
    }
    if kind.time_limit_seconds is not None:
        spec["activeDeadlineSeconds"] = kind.time_limit_seconds
    labels = {**_labels(asked, pod), KEY_LABEL: asked.key[:32]}
    if kind.queue is not None:
        labels[QUEUE_LABEL] = kind.queue
    meta: Object = {
        "name": asked.name,
        "labels": labels,
        "annotations": {SPEC_ANNOTATION: digest({"spec": spec, "labels": labels})},
        "ownerReferences": [_owner(pod)],
    }
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "TrainJob", "metadata": meta, "spec": spec}


def _container(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the container that a step runs in: Argo Workflows calls it main."""
    containers: Sequence[Mapping[str, Any]] = pod["spec"]["containers"]
    return next((one for one in containers if one["name"] == "main"), containers[0])


def _owner(pod: Mapping[str, Any]) -> Object:
    meta = pod["metadata"]
    # Without blockOwnerDeletion: to set it one may need rights over the pod's finalizers.
    return {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}


def _labels(asked: Asked, pod: Mapping[str, Any]) -> dict[str, str]:
    """Return labels by which people and network policies find what belongs together."""
    own = pod["metadata"].get("labels") or {}
    copied = {name: own[name] for name in _COPIED_LABELS if name in own}
    told = {RUN_LABEL: _label(asked.run), STEP_LABEL: _label(asked.step)}
    return {
        "app.kubernetes.io/part-of": "modelmill",
        **{name: value for name, value in told.items() if value},
        **copied,
    }


def _label(text: str) -> str:
    """Return a text as a label's value."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[:63].strip("-_.")


def _environment(own: Sequence[Mapping[str, Any]], asked: Asked) -> list[Object]:
    """Return the environment of the pods: the step's, by reference where it is one.

    A field of the step's pod, such as the label with the run's id, is another's elsewhere: its value goes along.
    """
    made: dict[str, Object] = {}
    for entry in own:
        name, source = entry["name"], entry.get("valueFrom") or {}
        if _NOT_COPIED.fullmatch(name):
            continue
        if source and not _REFERENCES & source.keys():
            if name in os.environ:
                made[name] = {"name": name, "value": os.environ[name]}
            continue
        made[name] = dict(entry)
    for name, value in asked.kind.environment.items():
        made.setdefault(name, {"name": name, "value": value})
    if asked.kind.scratch is not None:
        made["TMPDIR"] = {"name": "TMPDIR", "value": SCRATCH}
    made[JOB_VARIABLE] = {"name": JOB_VARIABLE, "value": asked.name}
    return list(made.values())


def _resources(kind: NodeKind) -> Object:
    """Return what a pod gets of its node: what it asks for is the most that it may have."""
    wanted: Object = {"cpu": kind.cpu, "memory": kind.memory}
    if kind.device is not None:
        wanted[kind.device] = str(kind.count)
    return {"requests": wanted, "limits": dict(wanted)}


def _patch(asked: Asked, pod: Mapping[str, Any]) -> Object:
    """Return what the runtime's pods are to have beyond the runtime's own."""
    kind, own = asked.kind, pod["spec"]
    inside: Object = {"name": CONTAINER}
    volumes, mounts = _volumes(kind)
    if mounts:
        inside["volumeMounts"] = mounts
    if _container(pod).get("securityContext"):
        inside["securityContext"] = _container(pod)["securityContext"]
    outside: Object = {"terminationGracePeriodSeconds": _GRACE_SECONDS}
    for name, value in {
        "containers": [inside] if len(inside) > 1 else [],
        "volumes": volumes,
        "nodeSelector": dict(kind.selector),
        "tolerations": [one.model_dump(exclude_none=True) for one in kind.tolerations],
        "serviceAccountName": own.get("serviceAccountName"),
        "imagePullSecrets": own.get("imagePullSecrets"),
        "securityContext": own.get("securityContext"),
    }.items():
        if value:
            outside[name] = value
    # A mesh's sidecar never ends, and stands between processes that meet by address.
    labels = {**_labels(asked, pod), "sidecar.istio.io/inject": "false"}
    template = {"metadata": {"labels": labels}, "spec": outside}
    return {"replicatedJobs": [{"name": CONTAINER, "template": {"spec": {"template": template}}}]}


def _volumes(kind: NodeKind) -> tuple[list[Object], list[Object]]:
    """Return the volumes of a pod, and where they are mounted."""
    volumes: list[Object] = []
    mounts: list[Object] = []
    if kind.shared_memory is not None:
        volumes.append({"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": kind.shared_memory}})
        mounts.append({"name": "shared-memory", "mountPath": "/dev/shm"})  # noqa: S108 - the kernel's own place
    if kind.scratch is not None:
        volumes.append({"name": "scratch", "emptyDir": {"sizeLimit": kind.scratch}})
        mounts.append({"name": "scratch", "mountPath": SCRATCH})
    return volumes, mounts
