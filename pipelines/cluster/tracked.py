"""What MLflow knows of a run: each step's settings and figures, and the report with its verdict."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelmill.errors import ModelmillError, without_credentials
from modelmill.evaluation.document import Report
from modelmill.tracking import (
    CACHED_TAG,
    ERROR_TAG,
    EXIT_TAG,
    EXPERIMENT,
    LINES_TAG,
    RUN_TAG,
    STEP_TAG,
    mlflow_client,
)

RESUMED_TAG = "modelmill.resumed"
"""Ids of earlier runs that went on in this one, separated by spaces."""
_REPORT = "report.json"


@dataclass(frozen=True, kw_only=True)
class TrackedStep:
    """One step's nested run."""

    settings: Mapping[str, str]
    figures: Mapping[str, float]
    cached: bool
    error: str = ""
    """Why its last attempt failed."""
    lines: tuple[str, ...] = ()
    """What it logged last, where it failed."""
    exit_code: int = 1
    """Of that attempt: 2 where the user's input was wrong."""


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """A pipeline run in MLflow."""

    id: str
    """MLflow's own id of it."""
    tags: Mapping[str, str]
    figures: Mapping[str, float]
    steps: Mapping[str, TrackedStep] = field(default_factory=dict)


def find(run: str) -> Tracked | None:
    """Return what MLflow knows of a pipeline's run, None where it has none of that name yet.

    Raises:
        ModelmillError: MLflow does not answer.
    """
    from mlflow.exceptions import MlflowException

    try:
        client = mlflow_client()
        parent = _parent(client, run)
        if parent is None:
            return None
        asked = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
        nested = client.search_runs([parent.info.experiment_id], filter_string=asked, max_results=1000)
    except MlflowException as error:
        said = without_credentials(" ".join(str(error.message or error).split()))[:200]
        raise ModelmillError(
            f"MLflow does not answer ({said}); set MLFLOW_TRACKING_URI to where it is reached"
        ) from None
    steps = {one.data.tags[STEP_TAG]: _step(one) for one in nested if STEP_TAG in one.data.tags}
    return Tracked(id=parent.info.run_id, tags=parent.data.tags, figures=parent.data.metrics, steps=steps)


def _step(run: Any) -> TrackedStep:
    tags = run.data.tags
    return TrackedStep(
        settings=run.data.params,
        figures=run.data.metrics,
        cached=tags.get(CACHED_TAG) == "true",
        error=tags.get(ERROR_TAG, ""),
        lines=tuple(tags.get(LINES_TAG, "").splitlines()),
        exit_code=2 if tags.get(EXIT_TAG) == "2" else 1,
    )


def report(tracked: Tracked) -> Report | None:
    """Return the report that register left with a run, None where it did not come so far."""
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory(prefix="modelmill-report-") as folder:
        try:
            path = mlflow_client().download_artifacts(tracked.id, _REPORT, folder)
        except (MlflowException, OSError):
            return None
        return Report.read(Path(path).read_bytes())


def go_on_as(before: str, after: str) -> bool:
    """Let a new run's steps find the MLflow run of an earlier one; return whether there was one.

    A step looks for the run that carries the name of its own pipeline run as a tag.

    Raises:
        ModelmillError: MLflow does not answer.
    """
    tracked = find(before)
    if tracked is None:
        return False
    client = mlflow_client()
    earlier = [*tracked.tags.get(RESUMED_TAG, "").split(), before]
    client.set_tag(tracked.id, RESUMED_TAG, " ".join(dict.fromkeys(earlier)))
    client.set_tag(tracked.id, RUN_TAG, after)
    return True


def settings(tracked: Tracked) -> dict[str, Any]:
    """Return every step's settings, each as `step.key`, nested ones taken apart."""
    found: dict[str, Any] = {}
    for name, step in tracked.steps.items():
        for key, text in step.settings.items():
            _apart(f"{name}.{key}", _value(text), found)
    return found


def figures(tracked: Tracked) -> dict[str, float]:
    """Return the figures of the test rows, then every step's last ones, each as `step.key`."""
    own = {f"test.{key}": value for key, value in tracked.figures.items()}
    return own | {f"{name}.{key}": value for name, step in tracked.steps.items() for key, value in step.figures.items()}


def _apart(key: str, value: Any, found: dict[str, Any]) -> None:
    if isinstance(value, dict) and value:
        for name, one in value.items():
            _apart(f"{key}.{name}", one, found)
    else:
        found[key] = value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _parent(client: Any, run: str) -> Any | None:
    experiment = client.get_experiment_by_name(os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT))
    if experiment is None or "'" in run:
        return None
    for asked in (f"tags.`{RUN_TAG}` = '{run}'", f"tags.`{RESUMED_TAG}` LIKE '%{run}%'"):
        found = client.search_runs([experiment.experiment_id], filter_string=asked, max_results=1)
        if found:
            return found[0]
    return None
