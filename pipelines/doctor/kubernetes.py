"""What Kubernetes holds for a profile's runs: names and rights, never a value of a Secret."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from modelmill.errors import ModelmillError
from modelmill.kubeconfig import NoCluster, client
from modelmill.profile import FromConfigMap, FromSecret, Profile
from pipelines.doctor.finding import Doctor, Seen

GROUP = "kubernetes"
_TIMEOUT = (10, 30)
_CHART = "helm upgrade --install modelmill charts/modelmill"
TRAINER = ("trainer.kubeflow.org", ("v1alpha1",), "trainjobs")
QUEUES = ("kueue.x-k8s.io", ("v1beta1", "v1beta2"), "localqueues")
SERVICES = ("serving.kserve.io", ("v1beta1",), "inferenceservices")


class Refused(ModelmillError):  # noqa: N818 - it is an answer
    """The API server said no; `status` is its code."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@contextlib.contextmanager
def asked(what: str) -> Iterator[None]:
    """Turn what the client raises into one sentence.

    Raises:
        Refused: the server said no.
        ModelmillError: it does not answer.
    """
    import urllib3
    from kubernetes.client import ApiException

    try:
        yield
    except ApiException as error:
        raise Refused(f"{what}: {_sentence(error)} ({error.status})", int(error.status or 0)) from None
    except urllib3.exceptions.HTTPError as error:
        reason = getattr(error, "reason", None) or error
        raise ModelmillError(f"{what}: the API server does not answer ({type(reason).__name__})") from None
    except ValueError as error:
        # The published client reads whatever came as objects of its own models.
        raise ModelmillError(f"{what}: the answer is none of Kubernetes' API ({error})") from None


def _sentence(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (ValueError, TypeError, KeyError):
        return str(error.reason or error.body or "no reason given").strip()


def look_at_kubernetes(doctor: Doctor, profile: Profile) -> None:
    """Ask the API server for all that a profile names, as the person that kubectl is."""
    from kubernetes import client as api

    from pipelines.doctor.nodes import look_at_nodes
    from pipelines.doctor.rights import look_at_rights

    namespace = profile.kfp.namespace
    try:
        made = client()
    except ModelmillError as error:
        seen = Seen(saw=str(error), outcome="unknown" if isinstance(error, NoCluster) else "missing")
        doctor.look(GROUP, "API server", lambda: seen, "kubectl config view", stops=True)
        return
    core = api.CoreV1Api(made)
    if not doctor.look(GROUP, "API server", lambda: _version(made), "kubectl cluster-info", stops=True):
        return
    doctor.look(
        GROUP,
        f"namespace {namespace}",
        lambda: _there(f"namespace {namespace}", core.read_namespace, namespace),
        f"kubectl create namespace {namespace}",
    )
    account = profile.service_account
    doctor.look(
        GROUP,
        f"service account {account}",
        lambda: _there(f"service account {account}", core.read_namespaced_service_account, account, namespace),
        f"{_CHART} -n {namespace}",
    )
    look_at_rights(doctor, profile, made)
    _look_at_secrets(doctor, profile, core)
    _look_at_kinds_of_objects(doctor, profile, made)
    look_at_nodes(doctor, profile, core)


def _version(made: Any) -> Seen:
    from kubernetes import client as api

    with asked("its version"):
        found = api.VersionApi(made).get_code(_request_timeout=_TIMEOUT)
    return Seen(saw=f"{made.configuration.host}, Kubernetes {found.git_version}")


def _there(what: str, read: Callable[..., Any], *names: str) -> Seen:
    """Return that an object is there; that one may not look is not that it is missing."""
    try:
        with asked(what):
            read(*names, _request_timeout=_TIMEOUT)
    except Refused as refused:
        return _refusal(refused)
    return Seen(saw="there")


def _refusal(refused: Refused) -> Seen:
    if refused.status == 403:
        return Seen(saw=f"you may not look: {refused}", outcome="unknown")
    raise refused


def _look_at_secrets(doctor: Doctor, profile: Profile, core: Any) -> None:
    namespace = profile.kfp.namespace
    for secret in profile.secrets:
        literals = " ".join(f"--from-literal={key}=…" for key in secret.keys.values())
        mend = f"kubectl create secret generic {secret.name} -n {namespace} {literals}"
        ask = _keys_of(core.read_namespaced_secret, secret, namespace)
        doctor.look(GROUP, f"secret {secret.name}", ask, mend)
    for held in profile.config_maps:
        literals = " ".join(f"--from-literal={key}=…" for key in held.keys.values())
        mend = f"kubectl create configmap {held.name} -n {namespace} {literals}"
        ask = _keys_of(core.read_namespaced_config_map, held, namespace)
        doctor.look(GROUP, f"config map {held.name}", ask, mend)
    for name in profile.image_pull_secrets:
        doctor.look(
            GROUP,
            f"pull secret {name}",
            lambda name=name: _pull_secret(core, name, namespace),  # type: ignore[misc]
            f"kubectl create secret docker-registry {name} -n {namespace} --docker-server={profile.registry} "
            "--docker-username=… --docker-password=…",
        )


def _keys_of(read: Callable[..., Any], wanted: FromSecret | FromConfigMap, namespace: str) -> Callable[[], Seen]:
    def ask() -> Seen:
        try:
            with asked(wanted.name):
                # Of the values nothing is kept: the names of the keys alone.
                there = set(read(wanted.name, namespace, _request_timeout=_TIMEOUT).data or ())
        except Refused as refused:
            if refused.status == 404 and wanted.optional:
                return Seen(saw="not there, and optional", outcome="unknown")
            return _refusal(refused)
        absent = [key for key in dict.fromkeys(wanted.keys.values()) if key not in there]
        if absent:
            said = f"has no key {', '.join(absent)}; it has {', '.join(sorted(there)) or 'none'}"
            return Seen(
                saw=said, outcome="unknown" if wanted.optional else "missing", mend=_patch(wanted, absent, namespace)
            )
        return Seen(saw=f"has {', '.join(dict.fromkeys(wanted.keys.values()))}")

    return ask


def _patch(wanted: FromSecret | FromConfigMap, absent: list[str], namespace: str) -> str:
    """Return the command that adds keys to an object that is there."""
    kind, part = ("secret", "stringData") if isinstance(wanted, FromSecret) else ("configmap", "data")
    values = json.dumps({part: dict.fromkeys(absent, "…")}, ensure_ascii=False)
    return f"kubectl patch {kind} {wanted.name} -n {namespace} --type merge -p '{values}'"


def _pull_secret(core: Any, name: str, namespace: str) -> Seen:
    try:
        with asked(name):
            kind = core.read_namespaced_secret(name, namespace, _request_timeout=_TIMEOUT).type
    except Refused as refused:
        return _refusal(refused)
    if kind not in ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg"):
        return Seen(
            saw=f"is of type {kind}, and images are pulled with kubernetes.io/dockerconfigjson", outcome="missing"
        )
    return Seen(saw="there")


def _look_at_kinds_of_objects(doctor: Doctor, profile: Profile, made: Any) -> None:
    namespace = profile.kfp.namespace
    several = sorted({kind.runtime for kind in profile.nodes.values() if kind.nodes > 1})
    if several:
        install = "kubectl apply --server-side -k 'https://github.com/kubeflow/trainer.git/manifests/overlays/manager'"
        if doctor.look(GROUP, "TrainJobs", lambda: _served(made, TRAINER, namespace), install):
            for runtime in several:
                doctor.look(
                    GROUP,
                    f"training runtime {runtime}",
                    lambda runtime=runtime: _runtime(made, runtime),  # type: ignore[misc]
                    install.replace("overlays/manager", "overlays/runtimes"),
                )
    queues = sorted({kind.queue for kind in profile.nodes.values() if kind.queue is not None})
    for queue in queues:
        doctor.look(
            GROUP,
            f"queue {queue}",
            lambda queue=queue: _object(made, QUEUES, namespace, queue),  # type: ignore[misc]
            f"kubectl get clusterqueues  # then a LocalQueue {queue} in {namespace} that names one of them",
        )
    doctor.look(GROUP, "InferenceServices", lambda: _serving(made, namespace))


def _served(made: Any, what: tuple[str, tuple[str, ...], str], namespace: str) -> Seen:
    version = _version_of(made, what, namespace)
    if version is None:
        raise ModelmillError(f"{what[2]}.{what[0]}: this cluster has no such kind of object")
    return Seen(saw=f"{what[2]} {version}")


def _version_of(made: Any, what: tuple[str, tuple[str, ...], str], namespace: str) -> str | None:
    """Return the version in which a kind of object is served, or None; listing one shows it without rights to more."""
    from kubernetes import client as api

    group, versions, plural = what
    for version in versions:
        try:
            with asked(f"{plural}.{group}"):
                api.CustomObjectsApi(made).list_namespaced_custom_object(
                    group, version, namespace, plural, limit=1, _request_timeout=_TIMEOUT
                )
        except Refused as refused:
            if refused.status == 404:
                continue
            # Who may not list it is told so only where it is served.
            if refused.status != 403:
                raise
        return version
    return None


def _object(made: Any, what: tuple[str, tuple[str, ...], str], namespace: str, name: str) -> Seen:
    from kubernetes import client as api

    group, _, plural = what
    version = _version_of(made, what, namespace)
    if version is None:
        raise ModelmillError(f"{plural}.{group}: this cluster has no such kind of object; install Kueue")
    get = api.CustomObjectsApi(made).get_namespaced_custom_object
    return _there(
        f"{plural} {name}", lambda *names, **told: get(group, version, namespace, plural, *names, **told), name
    )


def _runtime(made: Any, name: str) -> Seen:
    from kubernetes import client as api

    get = api.CustomObjectsApi(made).get_cluster_custom_object
    group, (version, *_), _ = TRAINER
    place: Mapping[str, str] = {"group": group, "version": version, "plural": "clustertrainingruntimes"}
    return _there(f"training runtime {name}", lambda one, **told: get(**place, name=one, **told), name)


def _serving(made: Any, namespace: str) -> Seen:
    version = _version_of(made, SERVICES, namespace)
    if version is None:
        return Seen(saw="KServe is not installed; only serving a champion in the cluster needs it", outcome="unknown")
    return Seen(saw=f"inferenceservices {version}")
