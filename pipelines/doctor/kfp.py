"""The Kubeflow Pipelines server: health, version, rights in the namespace."""

from collections.abc import Callable
from typing import Any

from modelmill.errors import ModelmillError, UserError
from modelmill.profile import Profile
from pipelines.cluster.connection import OLDEST, Connection, Lost, WrongInput, check_health
from pipelines.doctor.finding import Doctor, Seen

GROUP = "kfp"


def look_at_kfp(doctor: Doctor, profile: Profile) -> None:
    """Ask a profile's server, reading alone."""
    # One look, one question: who is away is away now.
    connection = Connection(profile=profile, patience=0.0)
    namespace, token = profile.kfp.namespace, profile.kfp.token_variable
    forward = "kubectl port-forward -n kubeflow svc/ml-pipeline 8888  # with kfp.host http://localhost:8888"
    sign_in = f"export {token}=…  # a bearer token of a member of {namespace}"
    upgrade = f"kubectl apply -k …  # the manifests of Kubeflow Pipelines {'.'.join(map(str, OLDEST))} or later"
    if not doctor.look(GROUP, "health", lambda: _health(connection, forward, sign_in, upgrade), stops=True):
        return
    for what, service, call, key in _LISTS:
        doctor.look(GROUP, f"rights: {what}", _listing(connection, service, call, key, namespace), sign_in)


_LISTS = (
    ("runs", "Run", "run_service_list_runs", "runs"),
    ("experiments", "Experiment", "experiment_service_list_experiments", "experiments"),
    ("recurring runs", "RecurringRun", "recurring_run_service_list_recurring_runs", "recurringRuns"),
)


def _health(connection: Connection, forward: str, sign_in: str, upgrade: str) -> Seen:
    try:
        found = check_health(connection)
    except Lost as lost:
        return Seen(saw=str(lost), outcome="missing", mend=forward)
    except WrongInput as wrong:
        return Seen(saw=str(wrong), outcome="missing", mend=sign_in if "bearer token" in str(wrong) else forward)
    except UserError as old:
        return Seen(saw=str(old), outcome="missing", mend=upgrade)
    users = "many users" if found.multi_user else "one user"
    if not found.version:
        wanted = ".".join(map(str, OLDEST))
        return Seen(
            saw=f"{connection.host}, of unknown version ({wanted} or later is needed), {users}", outcome="warned"
        )
    return Seen(saw=f"{connection.host}, version {found.shown}, {users}")


def _listing(connection: Connection, service: str, call: str, key: str, namespace: str) -> Callable[[], Seen]:
    def ask() -> Seen:
        found: Any = connection.act(
            f"listing {key}", getattr(connection.api(service), call), namespace=namespace, page_size=1
        )
        if found is None:
            raise ModelmillError(f"{connection.host}: listed no {key} and gave no reason")
        return Seen(saw=f"may list them in {namespace}")

    return ask
