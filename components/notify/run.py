"""Finds out how a run ended, from Kubeflow Pipelines' word for it and from what its steps left in MLflow.

Neither is enough: Kubeflow Pipelines says no reason, and where a pod was killed it still has its task as running;
MLflow knows nothing of a step that never started.
"""

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from components.notify.settings import NotifySettings
from modelmill.errors import ModelmillError, without_secrets
from modelmill.registry.ending import Ending
from modelmill.registry.judgement import REPORT_TAG, VERDICT_TAG, VERSION_TAG
from modelmill.tracking import CACHED_TAG, ERROR_TAG, LINES_TAG, RUN_VARIABLE, STEP_TAG, Tracking

log = logging.getLogger(__name__)

# Kubeflow Pipelines' words for how a task, or a group of them, ended; any other one is no answer.
_ENDED = {"COMPLETE": True, "SUCCEEDED": True, "CACHED": True, "FAILED": False, "CANCELED": False, "CANCELLED": False}
_LAST = "register"


@dataclass(frozen=True, kw_only=True)
class Found:
    """What MLflow has of a run."""

    steps: Mapping[str, Any] = field(default_factory=dict)
    """Each step's nested run, by its name."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Of the pipeline's run."""
    began: float | None = None
    """In seconds since the epoch."""
    fault: str = ""
    """Why MLflow could not be asked."""

    def status(self, step: str) -> str:
        """Return MLflow's word for a step, '' where it has none."""
        return str(self.steps[step].info.status) if step in self.steps else ""

    def tag(self, step: str, name: str) -> str:
        """Return what a step's run is tagged with, '' for nothing."""
        return str(self.steps[step].data.tags.get(name, "")) if step in self.steps else ""


def ending(settings: NotifySettings, *, began: str, state: str) -> Ending:
    """Return how the run that this process belongs to ended; what is still open of it in MLflow is closed.

    `began` is a time (RFC 3339), `state` Kubeflow Pipelines' word for all steps together.
    """
    found = _close_after(state)
    start = _seconds(began) or found.began
    run = os.environ.get(RUN_VARIABLE, "")
    done = _done(found, state)
    step, error = ("", "") if done else _failure(settings, found, state)
    return Ending(
        recipe=settings.recipe,
        run=run,
        state="done" if done else "failed",
        seconds=None if start is None else max(time.time() - start, 0.0),
        step=step,
        error=error,
        lines=found.tag(step, LINES_TAG).splitlines(),
        verdict=found.tags.get(VERDICT_TAG, "") if done else "",
        version=found.tags.get(VERSION_TAG, "") if done else "",
        report=found.tags.get(REPORT_TAG, "") if done else "",
        cached=[name for name in settings.steps if found.tag(name, CACHED_TAG)],
        cost=_cost(settings, found),
        currency=settings.currency,
        page=f"{settings.page.rstrip('/')}/#/runs/details/{run}" if settings.page and run else "",
    )


def _close_after(state: str) -> Found:
    """Ask MLflow, and end what runs there as if its step did; return it as it was."""
    try:
        tracking = Tracking.connect()
        found = _ask(tracking)
        status = "FINISHED" if _done(found, state) else "FAILED"
        for run in found.steps.values():
            if run.info.status == "RUNNING":
                tracking.client.set_terminated(run.info.run_id, status)
        tracking.client.set_terminated(tracking.run, status)
    except ModelmillError as error:
        return Found(fault=str(error))
    except Exception as error:  # noqa: BLE001 - what a server does is no reason to keep silent
        return Found(fault=without_secrets(f"MLflow: {type(error).__name__}: {error}"))
    return found


def _ask(tracking: Tracking) -> Found:
    parent = tracking.client.get_run(tracking.run)
    nested = tracking.client.search_runs(
        [tracking.experiment], filter_string=f"tags.`mlflow.parentRunId` = '{tracking.run}'", max_results=1000
    )
    return Found(
        steps={run.data.tags.get(STEP_TAG, ""): run for run in nested},
        tags=parent.data.tags,
        began=parent.info.start_time / 1000,
    )


def _done(found: Found, state: str) -> bool:
    said = _ENDED.get(state)
    return found.status(_LAST) == "FINISHED" if said is None else said


def _failure(settings: NotifySettings, found: Found, state: str) -> tuple[str, str]:
    """Return which step failed, '' if that is not known, and what is known of it."""
    by_status = {
        status: [name for name in settings.steps if found.status(name) == status]
        for status in ("FAILED", "RUNNING", "KILLED")
    }
    for name in by_status["FAILED"]:
        # Its message begins with the step's name or a file's, as every message does.
        return name, found.tag(name, ERROR_TAG) or f"{name} failed, and left no word why"
    for name in by_status["RUNNING"]:
        return name, (
            f"{name} ended without a word: killed (out of memory, or its time limit), or its pod or node is gone"
        )
    for name in by_status["KILLED"]:
        return name, f"{name} was stopped from outside: the run was cancelled, or its pod or node was taken away"
    if found.fault:
        return "", f"which step failed is not known: Kubeflow Pipelines says {state or 'nothing'}, and {found.fault}"
    missing = next((name for name in settings.steps if name not in found.steps and name != "resolve"), "")
    where = f"; the first without a word is {missing}" if missing else ""
    return "", f"no step says that it failed{where}: it may never have started (its image, or no room on any node)"


def _cost(settings: NotifySettings, found: Found) -> float | None:
    """Return what the nodes of the steps that ran cost, as far as their prices are known; None where none is."""
    prices = [
        settings.hourly[name] * _took(run) / 3600
        for name, run in found.steps.items()
        if name in settings.hourly and not found.tag(name, CACHED_TAG)
    ]
    return sum(prices) if prices else None


def _took(run: Any) -> float:
    """Return the seconds of a step from its first start to its end, or to now."""
    end = run.info.end_time / 1000 if run.info.end_time else time.time()
    return float(max(end - run.info.start_time / 1000, 0.0))


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
