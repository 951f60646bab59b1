"""What the stand-in for Kubernetes' API server knows: objects, logs, faults; a test plays the cluster's part here."""

import copy
import json
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.kubernetes_models import problem

TOKEN = "token-of-the-service-account"
Object = dict[str, Any]
JOB_LABEL = "jobset.sigs.k8s.io/jobset-name"
REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    500: "InternalError",
    503: "ServiceUnavailable",
}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of object, as the API's addresses name it."""

    api: str
    kind: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        return self.api.rpartition("/")[0]


KINDS = {
    **{
        plural: Kind(api="v1", kind=kind)
        for plural, kind in {
            "pods": "Pod",
            "events": "Event",
            "secrets": "Secret",
            "configmaps": "ConfigMap",
            "services": "Service",
            "serviceaccounts": "ServiceAccount",
            "resourcequotas": "ResourceQuota",
        }.items()
    },
    "namespaces": Kind(api="v1", kind="Namespace", namespaced=False),
    "nodes": Kind(api="v1", kind="Node", namespaced=False),
    "trainjobs": Kind(api="trainer.kubeflow.org/v1alpha1", kind="TrainJob"),
    "clustertrainingruntimes": Kind(
        api="trainer.kubeflow.org/v1alpha1", kind="ClusterTrainingRuntime", namespaced=False
    ),
    "customresourcedefinitions": Kind(api="apiextensions.k8s.io/v1", kind="CustomResourceDefinition", namespaced=False),
    "localqueues": Kind(api="kueue.x-k8s.io/v1beta1", kind="LocalQueue"),
}
"""By the plural that the addresses have; a test may add others."""


@dataclass
class Refusal:
    """An answer that some requests get instead of their own."""

    method: str
    word: str
    """That stands in the path."""
    code: int
    reason: str
    message: str
    times: int


@dataclass
class Log:
    """What a container has said, and whether it may say more."""

    lines: list[tuple[datetime, str]] = field(default_factory=list)
    ended: bool = False


@dataclass
class Cluster:
    """What the stand-in knows, and how a test plays the cluster's part; objects are plain dictionaries."""

    url: str = ""
    namespace: str = "modelmill"
    away: bool = False
    """Whether every connection is cut without an answer."""
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    """Method, path with query, and body of every request that came through, in their order."""
    objects: dict[tuple[str, str, str], Object] = field(default_factory=dict)
    """By plural, namespace ('' for none) and name."""
    changes: list[tuple[int, str, str, Object]] = field(default_factory=list)
    """Version, type, plural and object of all that happened, for who watches."""
    logs: dict[tuple[str, str], Log] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    denied: set[tuple[str, str]] = field(default_factory=set)
    """Verb and plural of what the service account may not do."""
    missing_groups: set[str] = field(default_factory=set)
    """API groups whose definitions are not installed."""
    dropped: int = 0
    """How often the streams were cut."""
    oldest: int = 0
    """Versions before it are forgotten: who watches from one is told that it is gone."""
    changed: threading.Condition = field(default_factory=threading.Condition)

    # How a test reaches it.

    def client(self) -> Any:
        """Return a client of the package kubernetes that speaks to it."""
        from kubernetes import client

        made = client.Configuration(host=self.url, api_key={"authorization": f"Bearer {TOKEN}"})
        made.retries = 0
        return client.ApiClient(made)

    def kubeconfig(self, folder: Path) -> Path:
        """Write the file that KUBECONFIG names."""
        path = folder / "kubeconfig"
        contents = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "standin", "cluster": {"server": self.url}}],
            "users": [{"name": "standin", "user": {"token": TOKEN}}],
            "contexts": [
                {"name": "standin", "context": {"cluster": "standin", "user": "standin", "namespace": self.namespace}}
            ],
            "current-context": "standin",
        }
        path.write_text(json.dumps(contents))
        return path

    # What a test, or the server for a request, does to objects.

    def put(self, plural: str, body: Mapping[str, Any]) -> Object:
        """Add an object, or replace the one of its name; it must be one that its maker takes."""
        kind = KINDS[plural]
        made: Object = {"apiVersion": kind.api, "kind": kind.kind, **copy.deepcopy(dict(body))}
        wrong = problem(made)
        assert not wrong, f"{plural}: {wrong}"
        return self.store(plural, made)

    def store(self, plural: str, made: Object) -> Object:
        """Keep an object under a new version, and tell who watches."""
        meta = made.setdefault("metadata", {})
        if KINDS[plural].namespaced:
            meta.setdefault("namespace", self.namespace)
        with self.changed:
            key = (plural, meta.get("namespace", ""), meta["name"])
            before = self.objects.get(key)
            meta.setdefault("uid", before["metadata"]["uid"] if before else str(uuid.uuid4()))
            meta.setdefault("creationTimestamp", before["metadata"]["creationTimestamp"] if before else now())
            self.objects[key] = made
            self._tell("MODIFIED" if before else "ADDED", plural, made)
        return copy.deepcopy(made)

    def get(self, plural: str, name: str) -> Object | None:
        """Return a copy of an object, or None."""
        with self.changed:
            found = self.objects.get((plural, self.namespace if KINDS[plural].namespaced else "", name))
            return copy.deepcopy(found)

    def all(self, plural: str) -> list[Object]:
        """Return copies of all objects of a kind."""
        with self.changed:
            return [copy.deepcopy(one) for (kind, _, _), one in self.objects.items() if kind == plural]

    def change(self, plural: str, name: str, **parts: Any) -> Object:
        """Replace top-level parts of an object, such as its status."""
        with self.changed:
            found = self.get(plural, name)
            assert found is not None, f"{plural}: there is no {name}"
            return self.put(plural, {**found, **parts})

    def remove(self, plural: str, name: str) -> None:
        """Remove an object at once, and what waited for it: a TrainJob that is deleted in the foreground."""
        with self.changed:
            namespace = self.namespace if KINDS[plural].namespaced else ""
            gone = self.objects.pop((plural, namespace, name), None)
            if gone is None:
                return
            self._tell("DELETED", plural, gone)
            if plural == "pods":
                self.logs.setdefault((namespace, name), Log()).ended = True
                owner = self.get("trainjobs", gone["metadata"].get("labels", {}).get(JOB_LABEL, ""))
                if owner and "deletionTimestamp" in owner["metadata"] and not self.pods_of(owner):
                    self.remove("trainjobs", owner["metadata"]["name"])

    def delete(self, plural: str, name: str, policy: str) -> None:
        """Do what a DELETE asks for: pods get a time stamp, and are removed by the test that plays the kubelet."""
        with self.changed:
            found = self.get(plural, name)
            assert found is not None
            pods = self.pods_of(found) if plural == "trainjobs" and policy != "Orphan" else []
            for pod in [*pods, *([found] if plural == "pods" else [])]:
                pod["metadata"].setdefault("deletionTimestamp", now())
                self.store("pods", pod)
            if plural == "trainjobs" and policy == "Foreground" and pods:
                found["metadata"].setdefault("deletionTimestamp", now())
                found["metadata"]["finalizers"] = ["foregroundDeletion"]
                self.store(plural, found)
            elif plural != "pods":
                self.remove(plural, name)

    def pods_of(self, owner: Object) -> list[Object]:
        """Return the pods that JobSet would have made for a TrainJob, told by its label."""
        name = owner["metadata"]["name"]
        return [pod for pod in self.all("pods") if pod["metadata"].get("labels", {}).get(JOB_LABEL) == name]

    def say(self, pod: str, *lines: str, ended: bool = False) -> None:
        """Add lines to a pod's log."""
        with self.changed:
            kept = self.logs.setdefault((self.namespace, pod), Log())
            kept.lines += [(datetime.now(UTC), line) for line in lines]
            kept.ended = kept.ended or ended
            self.changed.notify_all()

    # Faults.

    def refuse(
        self, method: str, word: str, code: int, reason: str = "", message: str = "refused", times: int = 1
    ) -> None:
        """Answer the next requests of a method with `word` in their path by a failure."""
        self.refusals.append(Refusal(method, word, code, reason or REASONS.get(code, ""), message, times))

    def drop_streams(self, *, gone: bool = False) -> None:
        """Cut every watch and log that is open; with `gone` what happened before is forgotten, too."""
        with self.changed:
            self.dropped += 1
            self.oldest = len(self.changes) if gone else self.oldest
            self.changed.notify_all()

    def wait_for(self, met: Callable[[], object], seconds: float = 60) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + seconds
        while not met():
            assert time.monotonic() < deadline, "it did not come to be"
            time.sleep(0.02)

    def _tell(self, what: str, plural: str, body: Object) -> None:
        version = len(self.changes) + 1
        body["metadata"]["resourceVersion"] = str(version)
        self.changes.append((version, what, plural, copy.deepcopy(body)))
        self.changed.notify_all()


def now() -> str:
    """Return the time as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
