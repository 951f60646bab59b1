"""What the stand-in for KFP's API server answers to each request, and keeps."""

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import yaml
from kfp_server_api import models

from tests.kfp_controller import check_trigger
from tests.kfp_models import Refused, read, selected

_BASE = "/apis/v2beta1"
_ID = r"([^/:]+)"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""How the server writes a time that has not come."""
FINAL = ("SUCCEEDED", "FAILED", "CANCELED")


def _page(self: Any, key: str, values: list[Any], asked: Any) -> dict[str, Any]:
    values = selected(values, asked.query.get("filter", ""))
    size, start = min(int(asked.query.get("page_size", "20")), 200), int(asked.query.get("page_token") or 0)
    if asked.query.get("sort_by", "").endswith(" desc"):
        values = values[::-1]
    page: dict[str, Any] = {key: values[start : start + size], "total_size": len(values)}
    return page | ({"next_page_token": str(start + size)} if start + size < len(values) else {})


def rights(self: Any, namespace: str | None) -> str:
    if not self.multi_user:
        return ""
    if not namespace:
        raise Refused(400, "Invalid input error: a namespace is needed in multi-user mode")
    if namespace not in self.namespaces:
        raise Refused(403, f"User is not authorized with reason: no access to namespace {namespace}")
    return namespace


def _source(self: Any, reference: Any) -> None:
    version = self.versions.get(reference.pipeline_version_id) if reference is not None else None
    if version is None or version.pipeline_id != reference.pipeline_id:
        raise Refused(404, "Failed to fetch a template: pipeline version not found")


def _experiment_of(self: Any, value: Any) -> Any:
    if value.experiment_id not in self.experiments:
        raise Refused(400, f"Invalid input error: experiment {value.experiment_id} not found")
    experiment = self.experiments[value.experiment_id]
    rights(self, experiment.namespace)
    return experiment


def _healthz(self: Any, asked: Any) -> Any:
    known = {"commit_sha": "unknown", "tag_name": self.version, "multi_user": self.multi_user}
    return known | {"pipeline_store": "database"}


def _list_pipelines(self: Any, asked: Any) -> Any:
    namespace = rights(self, asked.query.get("namespace"))
    return _page(self, "pipelines", [one for one in self.pipelines.values() if one.namespace == namespace], asked)


def _create_pipeline(self: Any, asked: Any) -> Any:
    pipeline = read("V2beta1Pipeline", json.loads(asked.text))
    pipeline.namespace = rights(self, pipeline.namespace)
    name = pipeline.name or pipeline.display_name
    if not name:
        raise Refused(400, "Invalid input error: pipeline's name cannot be empty")
    if any((one.name, one.namespace) == (name, pipeline.namespace) for one in self.pipelines.values()):
        raise Refused(409, f"Already exist error: The name {name} already exists. Please specify a new name")
    pipeline.name, pipeline.display_name = name, pipeline.display_name or name
    pipeline.pipeline_id, pipeline.created_at = str(uuid.uuid4()), self.now()
    return self.pipelines.setdefault(pipeline.pipeline_id, pipeline)


def _pipeline_named(self: Any, asked: Any, name: str) -> Any:
    namespace = rights(self, asked.query.get("namespace"))
    for pipeline in self.pipelines.values():
        if (pipeline.name, pipeline.namespace) == (name, namespace):
            return pipeline
    raise Refused(404, f"ResourceNotFoundError: pipeline {name} not found")


def _list_versions(self: Any, asked: Any, pipeline: str) -> Any:
    return _page(
        self, "pipeline_versions", [one for one in self.versions.values() if one.pipeline_id == pipeline], asked
    )


def _upload_version(self: Any, asked: Any) -> Any:
    pipeline, name = asked.query.get("pipelineid", ""), asked.query.get("name", "")
    if pipeline not in self.pipelines or not name or len(name) > 127:
        raise Refused(400, "Failed to create a pipeline version")
    rights(self, self.pipelines[pipeline].namespace)
    if any((one.pipeline_id, one.name) == (pipeline, name) for one in self.versions.values()):
        raise Refused(409, "Failed to create a pipeline version")
    spec = _uploaded(asked.text)
    version = models.V2beta1PipelineVersion(
        pipeline_id=pipeline,
        pipeline_version_id=str(uuid.uuid4()),
        name=name,
        display_name=asked.query.get("display_name") or name,
        description=asked.query.get("description", ""),
        created_at=self.now(),
        pipeline_spec=spec,
    )
    return self.versions.setdefault(version.pipeline_version_id, version)


def _uploaded(text: str) -> Any:
    boundary = text.partition("\r\n")[0]
    head, _, content = text.split(boundary)[1].partition("\r\n\r\n")
    if 'name="uploadfile"' not in head or ".yaml" not in head:
        raise Refused(400, "Failed to read pipeline from file")
    documents = list(yaml.safe_load_all(content.removesuffix("\r\n")))
    if not isinstance(documents[0], dict) or "pipelineInfo" not in documents[0]:
        raise Refused(400, "Failed to read a pipeline spec file")
    return documents[0] if len(documents) == 1 else {"pipeline_spec": documents[0], "platform_spec": documents[1]}


def _create_experiment(self: Any, asked: Any) -> Any:
    experiment = read("V2beta1Experiment", json.loads(asked.text))
    experiment.namespace = rights(self, experiment.namespace)
    own = (experiment.display_name, experiment.namespace)
    if any((one.display_name, one.namespace) == own for one in self.experiments.values()):
        raise Refused(409, f"Already exist error: The experiment {own[0]} already exists")
    experiment.experiment_id, experiment.created_at = str(uuid.uuid4()), self.now()
    return self.experiments.setdefault(experiment.experiment_id, experiment)


def _list_experiments(self: Any, asked: Any) -> Any:
    namespace = rights(self, asked.query.get("namespace"))
    return _page(self, "experiments", [one for one in self.experiments.values() if one.namespace == namespace], asked)


def _create_run(self: Any, asked: Any) -> Any:
    run = read("V2beta1Run", json.loads(asked.text))
    if not run.display_name:
        raise Refused(400, "The run name is empty. Please specify a valid name")
    _experiment_of(self, run)
    _source(self, run.pipeline_version_reference)
    run.run_id, run.state, run.storage_state = str(uuid.uuid4()), "PENDING", "AVAILABLE"
    run.created_at = run.scheduled_at = self.now()
    run.finished_at = EPOCH
    self.runs[run.run_id] = run
    self.on_start(run.run_id)
    return run


def _run(self: Any, asked: Any, run: str) -> Any:
    if run not in self.runs:
        raise Refused(404, f"ResourceNotFoundError: Run {run} not found.")
    _experiment_of(self, self.runs[run])
    return self.runs[run]


def _list_runs(self: Any, asked: Any) -> Any:
    namespace, experiment = asked.query.get("namespace"), asked.query.get("experiment_id")
    if experiment is None:
        namespace = rights(self, namespace)
    inside = [
        run
        for run in self.runs.values()
        if experiment in {None, run.experiment_id}
        and (namespace is None or self.experiments[run.experiment_id].namespace == namespace)
    ]
    return _page(self, "runs", inside, asked)


def _terminate(self: Any, asked: Any, run: str) -> Any:
    found = _run(self, asked, run)
    if found.state in FINAL:
        raise Refused(400, f"Invalid input error: Failed to terminate a run {run}. Row not found")
    found.state = "CANCELING"
    return {}


def _retry(self: Any, asked: Any, run: str) -> Any:
    found = _run(self, asked, run)
    if found.state not in {"FAILED", "CANCELED"}:
        raise Refused(400, "Workflow must be Failed/Error to retry: workflow cannot be retried")
    found.state, found.finished_at = "RUNNING", EPOCH
    return {}


def _archive(self: Any, asked: Any, run: str) -> Any:
    _run(self, asked, run).storage_state = "ARCHIVED"
    return {}


def _create_recurring(self: Any, asked: Any) -> Any:
    made = read("V2beta1RecurringRun", json.loads(asked.text))
    if not made.display_name:
        raise Refused(400, "Recurring run name is empty. Please specify a valid name")
    made.namespace = _experiment_of(self, made).namespace
    _source(self, made.pipeline_version_reference)
    if not 1 <= int(made.max_concurrency or 0) <= 10:
        raise Refused(400, "Max concurrency of a recurring run must be at least 1 and at most 10.")
    check_trigger(made.trigger)
    made.recurring_run_id, made.created_at, made.updated_at = str(uuid.uuid4()), self.now(), self.now()
    made.mode = "ENABLE" if made.mode == "ENABLE" else "DISABLE"
    made.status = f"{made.mode}D"
    return self.recurring.setdefault(made.recurring_run_id, made)


def _recurring(self: Any, asked: Any, recurring: str) -> Any:
    if recurring not in self.recurring:
        raise Refused(404, f"ResourceNotFoundError: Job {recurring} not found.")
    rights(self, self.recurring[recurring].namespace)
    return self.recurring[recurring]


def _list_recurring(self: Any, asked: Any) -> Any:
    namespace = rights(self, asked.query.get("namespace"))
    return _page(self, "recurringRuns", [one for one in self.recurring.values() if one.namespace == namespace], asked)


def _mode(self: Any, asked: Any, recurring: str, mode: str) -> Any:
    found = _recurring(self, asked, recurring)
    found.mode, found.status, found.updated_at = mode.upper(), f"{mode.upper()}D", self.now()
    return {}


def _delete_recurring(self: Any, asked: Any, recurring: str) -> Any:
    _recurring(self, asked, recurring)
    if asked.query.get("propagation_policy", "BACKGROUND") != "ORPHAN":
        # As Kubernetes does: what the ScheduledWorkflow owns goes with it.
        for run in self.runs.values():
            if run.recurring_run_id == recurring and run.state not in FINAL:
                run.state = "FAILED"
    del self.recurring[recurring]
    return {}


def _version(self: Any, asked: Any, _pipeline: str, version: str) -> Any:
    if version not in self.versions:
        raise Refused(404, f"ResourceNotFoundError: PipelineVersion {version} not found.")
    return self.versions[version]


ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", f"{_BASE}/healthz", _healthz),
    ("GET", f"{_BASE}/pipelines", _list_pipelines),
    ("POST", f"{_BASE}/pipelines", _create_pipeline),
    ("GET", f"{_BASE}/pipelines/names/{_ID}", _pipeline_named),
    ("GET", f"{_BASE}/pipelines/{_ID}/versions", _list_versions),
    ("GET", f"{_BASE}/pipelines/{_ID}/versions/{_ID}", _version),
    ("POST", f"{_BASE}/pipelines/upload_version", _upload_version),
    ("GET", f"{_BASE}/experiments", _list_experiments),
    ("POST", f"{_BASE}/experiments", _create_experiment),
    ("GET", f"{_BASE}/runs", _list_runs),
    ("POST", f"{_BASE}/runs", _create_run),
    ("GET", f"{_BASE}/runs/{_ID}", _run),
    ("POST", f"{_BASE}/runs/{_ID}:terminate", _terminate),
    ("POST", f"{_BASE}/runs/{_ID}:retry", _retry),
    ("POST", f"{_BASE}/runs/{_ID}:archive", _archive),
    ("GET", f"{_BASE}/recurringruns", _list_recurring),
    ("POST", f"{_BASE}/recurringruns", _create_recurring),
    ("GET", f"{_BASE}/recurringruns/{_ID}", _recurring),
    ("POST", f"{_BASE}/recurringruns/{_ID}:(enable|disable)", _mode),
    ("DELETE", f"{_BASE}/recurringruns/{_ID}", _delete_recurring),
]
