"""Whether the service account of the steps may do what they do, by the API server's own review."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelmill.profile import Profile
from pipelines.doctor.finding import Doctor, Seen
from pipelines.doctor.kubernetes import GROUP, Refused, asked

_TIMEOUT = (10, 30)


@dataclass(frozen=True, kw_only=True)
class Right:
    """Verbs on a kind of object."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    name: str = ""
    """Of the one object; '' for all."""
    part: str = ""

    @property
    def shown(self) -> str:
        """Return it for people."""
        return f"{'/'.join(self.verbs)} {self.resource}{f'/{self.part}' if self.part else ''}"


# Of Argo's executor and of the launcher of Kubeflow Pipelines, in every step's pod.
_EVERY = (
    Right(group="argoproj.io", resource="workflowtaskresults", verbs=("create", "patch")),
    Right(group="", resource="pods", verbs=("get",)),
    Right(group="", resource="configmaps", verbs=("get",), name="kfp-launcher"),
)
# Of a step that trains on several nodes.
_SEVERAL = (
    Right(
        group="trainer.kubeflow.org", resource="trainjobs", verbs=("create", "get", "list", "watch", "patch", "delete")
    ),
    Right(group="", resource="pods", verbs=("list", "watch")),
    Right(group="", resource="pods", verbs=("get",), part="log"),
)


def look_at_rights(doctor: Doctor, profile: Profile, made: Any) -> None:
    """Review the rights of a profile's service account in its namespace."""
    namespace, account = profile.kfp.namespace, profile.service_account
    several = any(kind.nodes > 1 for kind in profile.nodes.values())
    mend = f"helm upgrade --install modelmill charts/modelmill -n {namespace}"
    mend += " --set trainer.enabled=true" if several else ""
    for right in (*_EVERY, *(_SEVERAL if several else ())):
        doctor.look(GROUP, f"{account} may {right.shown}", _review(made, right, namespace, account), mend)


def _review(made: Any, right: Right, namespace: str, account: str) -> Callable[[], Seen]:
    def ask() -> Seen:
        try:
            denied = [verb for verb in right.verbs if not _allowed(made, right, verb, namespace, account)]
        except Refused as refused:
            if refused.status != 403:
                raise
            return Seen(
                saw="you may not ask for another's rights (create subjectaccessreviews)",
                outcome="unknown",
                mend=f"kubectl auth can-i {right.verbs[0]} {right.resource} -n {namespace} "
                f"--as system:serviceaccount:{namespace}:{account}  # by an administrator",
            )
        if denied:
            return Seen(saw=f"may not {', '.join(denied)}", outcome="missing")
        return Seen(saw="yes")

    return ask


def _allowed(made: Any, right: Right, verb: str, namespace: str, account: str) -> bool:
    from kubernetes import client as api

    attributes = api.V1ResourceAttributes(
        group=right.group,
        resource=right.resource,
        subresource=right.part or None,
        verb=verb,
        namespace=namespace,
        name=right.name or None,
    )
    review = api.V1SubjectAccessReview(
        spec=api.V1SubjectAccessReviewSpec(
            user=f"system:serviceaccount:{namespace}:{account}",
            groups=["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"],
            resource_attributes=attributes,
        )
    )
    with asked(f"the rights of {account}"):
        answer = api.AuthorizationV1Api(made).create_subject_access_review(review, _request_timeout=_TIMEOUT)
    return bool(answer.status.allowed)
