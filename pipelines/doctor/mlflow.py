"""An MLflow server: health, version, an experiment and a run written and deleted, an artifact sent and read."""

import contextlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from modelmill.errors import ModelmillError, without_credentials
from modelmill.home import TRACKING_VARIABLE
from pipelines.doctor.finding import Doctor, Seen

GROUP = "mlflow"
EXPERIMENT = "modelmill-doctor"
"""One for all looks, deleted after each: MLflow keeps the names of what was deleted."""
_SECONDS = 15
_OLDEST = (3, 0)
_FILE = "doctor.txt"
_TEXT = "of modelmill doctor\n"


def look_at_mlflow(doctor: Doctor, address: str) -> None:
    """Try an MLflow server by its address, with the environment's user and password or token."""
    address = address.rstrip("/")
    away = f"kubectl get pods -A | grep mlflow  # is it up? then a port-forward, or another address than {address}"
    if not doctor.look(GROUP, "health", lambda: _health(address), away, stops=True):
        return
    doctor.look(GROUP, "version", lambda: _version(address), f"pip install 'mlflow>={_OLDEST[0]}' on the server")
    rights = "export MLFLOW_TRACKING_USERNAME=… MLFLOW_TRACKING_PASSWORD=…  # of who may write"
    with _client(address) as client, _clean(client) as made:
        if doctor.look(GROUP, "write", lambda: _write(client, made), rights):
            artifacts = "see the server's log: its artifact store refuses it (--artifacts-destination, AWS_* there)"
            doctor.look(GROUP, "artifact", lambda: _artifact(client, made["run"]), artifacts)


def _ask(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310 - http(s), as the profile's schema says
            return str(answer.read(1 << 16).decode(errors="replace"))
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise ModelmillError(f"{url}: not allowed ({error.code})") from error
        raise ModelmillError(f"{url}: answered {error.code} ({error.reason})") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ModelmillError(f"{url}: cannot be reached ({reason})") from error


def _health(address: str) -> Seen:
    said = _ask(f"{address}/health").strip()
    if said != "OK":
        raise ModelmillError(f"{address}/health: says {said[:60]!r}, and MLflow says 'OK'; it is another server")
    return Seen(saw=address)


def _version(address: str) -> Seen:
    said = _ask(f"{address}/version").strip()
    numbers = tuple(int(part) for part in said.split(".")[:2] if part.isdecimal())
    if len(numbers) < 2:
        return Seen(saw=f"it says {said[:40]!r}", outcome="unknown")
    if numbers < _OLDEST:
        return Seen(saw=f"{said} is too old; {_OLDEST[0]}.{_OLDEST[1]} or later is needed", outcome="missing")
    return Seen(saw=said)


@contextlib.contextmanager
def _client(address: str) -> Iterator[Any]:
    """Give a client; while the block lasts artifacts go through the same server."""
    from modelmill.tracking import mlflow_client

    before = os.environ.get(TRACKING_VARIABLE)
    os.environ[TRACKING_VARIABLE] = address
    try:
        yield mlflow_client()
    finally:
        if before is None:
            os.environ.pop(TRACKING_VARIABLE, None)
        else:
            os.environ[TRACKING_VARIABLE] = before


@contextlib.contextmanager
def _clean(client: Any) -> Iterator[dict[str, str]]:
    """Give a dictionary for what is made, which is deleted at the end, whatever came in between."""
    from mlflow.exceptions import MlflowException

    made: dict[str, str] = {}
    try:
        yield made
    finally:
        # One after the other: an artifact of a deleted run could not be found any more.
        with contextlib.suppress(MlflowException, OSError):
            if "run" in made:
                _artifacts(client, made["run"]).delete_artifacts(_FILE)
        with contextlib.suppress(MlflowException):
            if "run" in made:
                client.delete_run(made["run"])
        with contextlib.suppress(MlflowException):
            if "experiment" in made:
                client.delete_experiment(made["experiment"])


def _write(client: Any, made: dict[str, str]) -> Seen:
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            made["experiment"] = str(client.create_experiment(EXPERIMENT))
        else:
            made["experiment"] = str(found.experiment_id)
            if found.lifecycle_stage == "deleted":
                client.restore_experiment(made["experiment"])
        made["run"] = str(client.create_run(made["experiment"], run_name="doctor").info.run_id)
        client.log_metric(made["run"], "doctor", 1.0)
        if client.get_run(made["run"]).data.metrics.get("doctor") != 1.0:
            return Seen(saw="a figure was written, and is not there", outcome="missing")
    except MlflowException as error:
        raise ModelmillError(_said(error)) from error
    return Seen(saw="an experiment, a run and a figure, and all of it deleted")


def _artifact(client: Any, run: str) -> Seen:
    from mlflow.exceptions import MlflowException

    try:
        client.log_text(run, _TEXT, _FILE)
        found = [one.path for one in client.list_artifacts(run)]
    except (MlflowException, OSError) as error:
        raise ModelmillError(_said(error)) from error
    if _FILE not in found:
        return Seen(saw=f"{_FILE} was sent, and is not among {len(found)} files", outcome="missing")
    return Seen(saw="sent, listed and deleted")


def _artifacts(client: Any, run: str) -> Any:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(client.get_run(run).info.artifact_uri)


def _said(error: Exception) -> str:
    said = getattr(error, "message", None) or str(error)
    with contextlib.suppress(ValueError, AttributeError):
        said = json.loads(said)["message"]
    lines = without_credentials(str(said)).splitlines()
    return lines[0][:300] if lines else type(error).__name__
