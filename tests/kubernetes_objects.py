"""Which object an address of Kubernetes' API names, and what becomes of it: the part of the stand-in that answers."""

import copy
from collections.abc import Mapping
from typing import Any

from tests.kubernetes_cluster import KINDS, REASONS, Cluster, Kind, Object
from tests.kubernetes_models import problem

_USER = "system:serviceaccount:modelmill:modelmill"
_MANAGED = "trainer.kubeflow.org/trainjob-controller"
# Fields of a TrainJob that stay as they were made.
_IMMUTABLE = ("runtimeRef", "trainer", "initializer", "activeDeadlineSeconds", "managedBy", "runtimePatches")


class Failure(Exception):  # noqa: N818 - what the server calls it
    """An answer that is a refusal."""

    def __init__(self, code: int, message: str, reason: str = "", **details: Any) -> None:
        super().__init__(message)
        self.code, self.message, self.reason = code, message, reason or REASONS.get(code, "")
        self.details = details


class Address:
    """What a path names: a kind, and in it a namespace, an object and a part of that, each '' where it is not said."""

    def __init__(self, path: str, cluster: Cluster) -> None:
        parts = path.strip("/").split("/")
        self.api = "/".join(parts[1:2] if parts[0] == "api" else parts[1:3])
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        self.namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces":
            self.namespace, rest = rest[1], rest[2:]
        self.plural, self.name, self.part = (*rest, "", "", "")[:3]
        kind = KINDS.get(self.plural)
        if kind is None or kind.api != self.api or kind.group in cluster.missing_groups:
            raise Failure(404, "404 page not found")
        self.kind: Kind = kind

    @property
    def resource(self) -> str:
        """The kind as refusals name it."""
        return f"{self.plural}.{self.kind.group}" if self.kind.group else self.plural

    def key(self) -> tuple[str, str, str]:
        return (self.plural, self.namespace, self.name)


def status(failure: Failure) -> Any:
    """Return a refusal as Kubernetes writes it; an address that nothing serves gets plain words."""
    if failure.message == "404 page not found":
        return failure.message + "\n"
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": failure.message,
        "reason": failure.reason,
        "details": failure.details,
        "code": failure.code,
    }


def allowed(cluster: Cluster, at: Address, verb: str) -> None:
    """Refuse what the service account may not do."""
    named = f"{at.plural}/{at.part}" if at.part else at.plural
    if (verb, named) in cluster.denied:
        where = f' in the namespace "{at.namespace}"' if at.namespace else " at the cluster scope"
        asked = f'User "{_USER}" cannot {verb} resource "{named}" in API group "{at.kind.group}"{where}'
        raise Failure(403, f'{at.resource} "{at.name}" is forbidden: {asked}')


def review(cluster: Cluster, body: Any, kind: str) -> Object:
    """Answer whether an account may do something; what is denied is denied to the service account, whoever asks."""
    if kind == "SubjectAccessReview" and ("create", "subjectaccessreviews") in cluster.denied:
        raise Failure(403, 'subjectaccessreviews.authorization.k8s.io is forbidden: User "person" cannot create it')
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, **body}
    wrong = problem(review)
    if wrong:
        raise Failure(422, wrong)
    asked = review["spec"]["resourceAttributes"]
    part = f"/{asked['subresource']}" if asked.get("subresource") else ""
    denied = (asked.get("verb"), f"{asked.get('resource')}{part}") in cluster.denied
    return {**review, "status": {"allowed": not denied, "reason": "" if denied else "RBAC: allowed"}}


def wanted(cluster: Cluster, at: Address) -> Object:
    """Return the object that an address names."""
    found = cluster.objects.get(at.key())
    if found is None:
        raise Failure(404, f'{at.resource} "{at.name}" not found', name=at.name, kind=at.plural)
    return copy.deepcopy(found)


def listed(cluster: Cluster, at: Address, asked: Mapping[str, str]) -> Object:
    """Return the objects of a kind that selectors want."""
    items = [one for one in cluster.all(at.plural) if selected(one, at, asked)]
    meta = {"resourceVersion": str(len(cluster.changes))}
    return {"apiVersion": at.api, "kind": f"{at.kind.kind}List", "metadata": meta, "items": items}


def selected(body: Object, at: Address, asked: Mapping[str, str]) -> bool:
    """Return whether an object is in the namespace, and what the selectors want; equality is all that is known."""
    meta = body["metadata"]
    if at.namespace not in {"", meta.get("namespace")} or at.name not in {"", meta["name"]}:
        return False
    for pair in filter(None, asked.get("labelSelector", "").split(",")):
        name, _, value = pair.replace("==", "=").partition("=")
        if meta.get("labels", {}).get(name) != value:
            return False
    for pair in filter(None, asked.get("fieldSelector", "").split(",")):
        name, _, value = pair.replace("==", "=").partition("=")
        found: Any = body
        for part in name.split("."):
            found = found.get(part, "") if isinstance(found, dict) else ""
        if found != value:
            return False
    return True


def create(cluster: Cluster, at: Address, body: Any) -> Object:
    """Make an object that is not there yet."""
    at.name = body["metadata"]["name"]
    if at.key() in cluster.objects:
        raise Failure(409, f'{at.resource} "{at.name}" already exists', "AlreadyExists")
    return _admitted(cluster, at, {"apiVersion": at.api, "kind": at.kind.kind, **body})


def patch(cluster: Cluster, at: Address, asked: Mapping[str, str], body: Any, sort: str) -> tuple[int, Object]:
    """Apply on the server's side: the only sort of patch that is known."""
    if sort != "application/apply-patch+yaml":
        raise Failure(415, f"the stand-in knows application/apply-patch+yaml, not {sort}")
    if not asked.get("fieldManager"):
        raise Failure(422, 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value')
    if (body.get("apiVersion"), body.get("kind")) != (at.kind.api, at.kind.kind) or (
        body.get("metadata", {}).get("name") != at.name
    ):
        raise Failure(400, "the object in the body is not the one that the address names")
    before = cluster.objects.get(at.key())
    if before is None:
        allowed(cluster, at, "create")
        return 201, _admitted(cluster, at, copy.deepcopy(body))
    given = body["metadata"].get("resourceVersion")
    if given and given != before["metadata"]["resourceVersion"]:
        raise Failure(409, f'Operation cannot be fulfilled on {at.resource} "{at.name}": the object has been modified')
    # One manager alone applies: what it says now replaces what it said before.
    merged = copy.deepcopy(before)
    merged["spec"] = copy.deepcopy(body["spec"])
    for part in ("labels", "annotations", "ownerReferences"):
        if part in body["metadata"]:
            merged["metadata"][part] = body["metadata"][part]
    return 200, _admitted(cluster, at, merged, before)


def _admitted(cluster: Cluster, at: Address, body: Object, before: Object | None = None) -> Object:
    """Fill in what the API server fills in, hold an object against its maker's rules, and keep it."""
    wrong = problem(body)
    if wrong:
        raise Failure(422, f'{at.kind.kind}.{at.kind.group} "{at.name}" is invalid: {wrong}')
    body["metadata"]["namespace"] = at.namespace
    if at.plural == "trainjobs":
        spec = body["spec"]
        reference = spec["runtimeRef"]
        reference.setdefault("apiGroup", "trainer.kubeflow.org")
        reference.setdefault("kind", "ClusterTrainingRuntime")
        spec.setdefault("suspend", False)
        spec.setdefault("managedBy", _MANAGED)
        if cluster.get("clustertrainingruntimes", reference["name"]) is None:
            hook = 'admission webhook "validator.trainjob.trainer.kubeflow.org" denied the request'
            missing = f'ClusterTrainingRuntime.trainer.kubeflow.org "{reference["name"]}" not found'
            said = f"{missing}: specified clusterTrainingRuntime must be created before the TrainJob is created"
            raise Failure(403, f"{hook}: spec.RuntimeRef: Invalid value: {said}")
        held = spec if before is None else before["spec"]
        for part in _IMMUTABLE:
            if spec.get(part) != held.get(part):
                raise Failure(
                    422, f'TrainJob.trainer.kubeflow.org "{at.name}" is invalid: spec.{part}: field is immutable'
                )
    return cluster.store(at.plural, body)
