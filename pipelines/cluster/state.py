"""How far a run is, read from what Kubeflow Pipelines tells of it: the nodes of its workflow.

A task `ingest` is there as three nodes: the pod `ingest-driver`, which looks into the cache; the DAG `ingest`; and in
it the pod `executor`, skipped where the cache had the answer. No node names its parent, so an executor is known by when
it began: the moment at which its DAG did.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from modelmill.profile import Profile
from pipelines.cluster.facts import Facts, node_of
from pipelines.steps import CHAMPION, FROM_SCRATCH, Stage, stage_of

StepState = Literal["waiting", "starting", "pending", "running", "done", "cached", "failed", "stopped"]
RunState = Literal["waiting", "running", "stopping", "done", "failed", "stopped"]

ENDED = frozenset({"done", "failed", "stopped"})
_STATES: Mapping[str, RunState] = {
    "PENDING": "waiting",
    "RUNNING": "running",
    "PAUSED": "waiting",
    "CANCELING": "stopping",
    "SUCCEEDED": "done",
    "SKIPPED": "done",
    "FAILED": "failed",
    "CANCELED": "stopped",
}
_EXECUTOR = re.compile(r"executor(\(\d+\))?")
# Moments are whole seconds, and a DAG's first pod is made in the same breath or the next.
_SAME_MOMENT = 2.0


@dataclass(kw_only=True)
class ClusterStep:
    """One step of a run."""

    name: str
    state: StepState = "waiting"
    """`starting`: the cache is asked; `pending`: its pod has no node yet, or no image."""
    began: datetime | None = None
    seconds: float = 0.0
    kind: str = ""
    """Kind of node."""
    cost: float | None = None
    """In the profile's currency; None where the kind has no price."""
    cause: str = ""
    """Why it waits, or what it failed of."""


@dataclass(kw_only=True)
class ClusterRun:
    """A run as the server knows it."""

    id: str
    name: str
    state: RunState
    created: datetime
    seconds: float
    steps: list[ClusterStep] = field(default_factory=list)
    facts: Facts | None = None
    recurring: str = ""
    """Id of the recurring run that started it."""

    @property
    def recipe(self) -> str:
        """Return the recipe's name."""
        return self.facts.recipe if self.facts is not None else self.name

    @property
    def ended(self) -> bool:
        """Return whether nothing more will happen by itself."""
        return self.state in ENDED

    @property
    def cost(self) -> float | None:
        """Return what the steps have cost so far, None where no price is known."""
        known = [step.cost for step in self.steps if step.cost is not None]
        return sum(known) if known else None


def step_tasks(spec: Mapping[str, Any]) -> dict[str, str]:
    """Return a pipeline's steps by the key of their task, those within an exit handler or a group included."""
    found = dict(_tasks(spec, spec.get("root", {})))
    return dict(sorted(found.items(), key=lambda item: _order(item[1])))


def _tasks(spec: Mapping[str, Any], component: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, task in component.get("dag", {}).get("tasks", {}).items():
        inner = spec.get("components", {}).get(task.get("componentRef", {}).get("name", ""), {})
        if "dag" in inner:
            yield from _tasks(spec, inner)
        else:
            yield key, task.get("taskInfo", {}).get("name", key)


def _order(name: str) -> tuple[int, int]:
    stages = ["resolve", *get_args(Stage)]
    stage = stage_of(name)
    branch = 1 if name.endswith(FROM_SCRATCH) else 2 if name.endswith(CHAMPION) else 0
    return stages.index(stage) if stage in stages else len(stages), branch


def read_run(
    run: Any, tasks: Mapping[str, str], profile: Profile, *, now: datetime, facts: Facts | None = None
) -> ClusterRun:
    """Return a run of the API as it is at a moment of the server's clock; `tasks` are its steps by task key.

    `facts` are those of the schedule that started it, where the run has none of its own.
    """
    state = _STATES.get(run.state or "", "waiting")
    if state == "failed" and any(one.state in {"CANCELING", "CANCELED"} for one in run.state_history or ()):
        state = "stopped"
    ended = run.finished_at if state in ENDED and _told(run.finished_at) else now
    read = ClusterRun(
        id=run.run_id,
        name=run.display_name or run.run_id,
        state=state,
        created=run.created_at,
        seconds=max(0.0, (ended - run.created_at).total_seconds()),
        facts=Facts.read(run.description) or facts,
        recurring=run.recurring_run_id or "",
    )
    nodes = list((run.run_details.task_details if run.run_details is not None else None) or ())
    for key, name in tasks.items():
        step = _step(nodes, key, name, read, ended)
        kind = node_of(profile, read.facts, name)
        step.kind = read.facts.nodes.get(name, "") if read.facts is not None else ""
        step.cost = kind.price(_paid(step)) if kind is not None else None
        read.steps.append(step)
    return read


def _paid(step: ClusterStep) -> float:
    """Return the seconds for which a step has had its nodes."""
    return 0.0 if step.state in {"waiting", "starting", "pending", "cached"} else step.seconds


def _step(nodes: list[Any], key: str, name: str, run: ClusterRun, now: datetime) -> ClusterStep:
    node, driver = _latest(nodes, key), _latest(nodes, f"{key}-driver")
    step = ClusterStep(name=name)
    if node is None or node.state in {None, "SKIPPED", "RUNTIME_STATE_UNSPECIFIED"}:
        if driver is not None and driver.state == "FAILED":
            step.state = "failed"
        elif driver is not None and node is None and driver.state != "SUCCEEDED":
            step.state, step.began = "starting", driver.start_time
    else:
        step.state, step.began = _state(nodes, node), node.start_time
    if run.ended and step.state in {"starting", "pending", "running"}:
        # It was ended with the run, and nobody told its node.
        step.state = "stopped" if run.state == "stopped" else "failed"
    if step.began is not None:
        ended = node.end_time if node is not None and _told(node.end_time) else now
        step.seconds = 0.0 if step.state == "cached" else max(0.0, (ended - step.began).total_seconds())
    return step


def _state(nodes: list[Any], node: Any) -> StepState:
    if node.state == "FAILED":
        return "failed"
    pods = [one for one in nodes if _EXECUTOR.fullmatch(one.display_name or "") and _together(one, node)]
    if node.state == "SUCCEEDED":
        took = (node.end_time - node.start_time).total_seconds()
        # No pod starts, runs Python and ends within this.
        quick = took <= _SAME_MOMENT
        return "cached" if quick and any(one.state == "SKIPPED" for one in pods) else "done"
    return "pending" if pods and all(one.state in {"PENDING", "SKIPPED"} for one in pods) else "running"


def _together(executor: Any, node: Any) -> bool:
    if executor.start_time is None or node.start_time is None:
        return False
    return bool(abs((executor.start_time - node.start_time).total_seconds()) <= _SAME_MOMENT)


def _latest(nodes: list[Any], name: str) -> Any | None:
    found = [one for one in nodes if one.display_name == name and one.start_time is not None]
    return max(found, key=lambda one: one.start_time, default=None)


def _told(moment: datetime | None) -> bool:
    # The server writes a time that has not come as the first second of 1970.
    return moment is not None and moment.year > 1970
