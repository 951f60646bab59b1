"""What Kubeflow Pipelines 2.17 tells of a run's tasks: the nodes of its Argo workflow, by their display names.

A task `ingest` is three nodes: the pod `ingest-driver`, which looks into the cache; the DAG `ingest`; and in it the pod
`executor`, which is skipped where the cache has the answer. No node names its parent; children are named by ids.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from kfp_server_api import models

_ZERO = timedelta()


def tasks(
    run: Any,
    steps: Mapping[str, str],
    *,
    seconds: Mapping[str, float] = {},
    within: str = "",
    workflow: str = "",
) -> list[Any]:
    """Return a run's task details: state by the name of a task, in the order in which they began.

    `seconds` says how long a step took, 10 where it does not; `within` names the exit handler that the tasks are in.
    """
    workflow = workflow or f"{run.display_name}-x7d2k"
    made: list[Any] = []

    def add(name: str, state: str, start: Any, took: timedelta | None, children: int = 0) -> None:
        known = {"display_name": name, "state": state, "create_time": run.created_at, "start_time": start}
        known["end_time"] = start + took if took is not None else _epoch(run)
        kids = [models.PipelineTaskDetailChildTask(pod_name=f"{workflow}-{len(made)}{n}") for n in range(children)]
        made.append(
            models.V2beta1PipelineTaskDetail(
                run_id=run.run_id, task_id=f"task-{len(made)}", child_tasks=kids or None, **known
            )
        )

    now = run.created_at + timedelta(seconds=5)
    add(workflow, "RUNNING", run.created_at, None, 1)
    add("root-driver", "SUCCEEDED", run.created_at, timedelta(seconds=5), 1)
    for dag in filter(None, ("root", within)):
        add(dag, "RUNNING", now, None, 1)
    for name, state in steps.items():
        if state == "WAITING":
            continue
        took = timedelta(seconds=seconds.get(name, 10))
        driving = state == "DRIVER"
        add(f"{name}-driver", "RUNNING" if driving else "SUCCEEDED", now, None if driving else timedelta(seconds=4), 1)
        now += timedelta(seconds=4)
        if driving:
            continue
        cached, ended = state == "CACHED", state in {"SUCCEEDED", "FAILED"}
        add(name, "SUCCEEDED" if cached else "RUNNING" if state == "PENDING" else state, now, _took(state, took), 1)
        add("executor", "SKIPPED" if cached else state, now, _took(state, took))
        now += took if ended else _ZERO
    return made


def _took(state: str, took: timedelta) -> timedelta | None:
    return _ZERO if state == "CACHED" else took if state in {"SUCCEEDED", "FAILED"} else None


def _epoch(run: Any) -> Any:
    return run.created_at.replace(year=1970, month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
