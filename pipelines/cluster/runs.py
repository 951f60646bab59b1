"""Runs on a cluster, from any machine: listed, shown, cancelled and resumed by what server and MLflow know of them.

To resume, Kubeflow Pipelines' own retry is asked first (`POST runs/<id>:retry`). It keeps the run's id, and so its
MLflow run and the checkpoints; it keeps what the finished steps gave, so that data that changed since cannot slip in;
and it starts again only what failed, a pod that was deleted with its node included. It is refused where the server has
the workflow no longer. Then a new run of the very same version is started: finished steps are answered from the cache,
and MLflow's run is told the new id.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from modelmill.errors import ModelmillError, UserError
from modelmill.evaluation.document import Report
from pipelines.cluster import tracked as tracking
from pipelines.cluster.connection import Connection, Lost, Refused
from pipelines.cluster.facts import Facts
from pipelines.cluster.follow import get_run, server_time
from pipelines.cluster.objects import Version, named, pages, start_run
from pipelines.cluster.state import ENDED, ClusterRun, read_run
from pipelines.cluster.tracked import Tracked


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """How a run goes on."""

    run: str
    """Its id now."""
    name: str
    same: bool
    """Whether it kept its id."""
    why_new: str = ""
    """Why it did not."""


def list_runs(connection: Connection, most: int, recipe: str = "") -> list[ClusterRun]:
    """Return the newest runs of the profile's namespace that are of ours, newest first, without their steps."""
    found: list[ClusterRun] = []
    schedules: dict[str, Facts | None] | None = None
    for raw in _newest(connection):
        own = Facts.read(raw.description)
        if own is None and raw.recurring_run_id:
            schedules = schedules if schedules is not None else _schedules(connection)
            own = schedules.get(raw.recurring_run_id)
        if own is None or (recipe and own.recipe != recipe):
            continue
        found.append(read_run(raw, {}, connection.profile, now=server_time(connection), facts=own))
        if len(found) == most:
            break
    return found


def find_run(connection: Connection, word: str) -> str:
    """Return the id of the run that a word names: an id, its beginning, or the run's name.

    Raises:
        UserError: none, or several.
    """
    if len(word) == 36 and word.count("-") == 4:
        return word
    known = {"namespace": connection.namespace, "filter": named("display_name", word)}
    listing = connection.api("Run").run_service_list_runs
    by_name = [run.run_id for run in pages(connection, f"run {word}", listing, "runs", **known)]
    found = by_name or [run.run_id for run in _newest(connection) if len(word) >= 4 and run.run_id.startswith(word)]
    if len(found) != 1:
        counts = f"{len(found)} runs begin so" if found else "there is no such run"
        raise UserError(f"{word}: {counts} in {connection.namespace}; `modelmill runs list --profile FILE` shows them")
    return str(found[0])


def cancel(connection: Connection, run: str) -> None:
    """Have a run ended; it goes on from its last checkpoints.

    Raises:
        UserError: it has ended already.
        ModelmillError: there is none, or the server is away.
    """
    state = _state(connection, run)
    if state in ENDED or state == "stopping":
        raise UserError(f"run {run}: is {state} already")
    ask = connection.api("Run").run_service_terminate_run
    _do(connection, f"cancelling run {run}", ask, run, lambda: _state(connection, run) in {*ENDED, "stopping"})


def resume(connection: Connection, run: str) -> Resumed:
    """Start again what a deleted pod or a lost node ended.

    Raises:
        UserError: the run goes on, or ended well.
        ModelmillError: there is none, or the server is away.
    """
    raw = get_run(connection, run)
    state = _state(connection, run, raw)
    if state not in {"failed", "stopped"}:
        way_out = "submit it again for a new one" if state == "done" else f"`modelmill runs show {run}` follows it"
        raise UserError(f"run {run}: is {state}, there is nothing to resume; {way_out}")
    ask = connection.api("Run").run_service_retry_run
    try:
        _do(connection, f"resuming run {run}", ask, run, lambda: _state(connection, run) not in {"failed", "stopped"})
    except Refused as refused:
        return _start_anew(connection, raw, str(refused))
    return Resumed(run=run, name=raw.display_name, same=True)


def _start_anew(connection: Connection, raw: Any, why: str) -> Resumed:
    reference = raw.pipeline_version_reference
    if reference is None or not reference.pipeline_version_id:
        raise ModelmillError(
            f"{why}; its pipeline's version is not known, so that no other can go on for it: submit it"
        )
    version = Version(pipeline=reference.pipeline_id, version=reference.pipeline_version_id, name="", reused=True)
    facts = Facts.read(raw.description)
    name = f"{raw.display_name}-again"
    # The name is its own, so that a second `resume` finds the first one's run and starts no other.
    known = {"namespace": connection.namespace, "filter": named("display_name", name)}
    found = next(pages(connection, f"run {name}", connection.api("Run").run_service_list_runs, "runs", **known), None)
    run = found or start_run(connection, name, facts.text() if facts else "", version, raw.experiment_id)
    tracking.go_on_as(raw.run_id, run.run_id)
    return Resumed(run=run.run_id, name=name, same=False, why_new=why)


def _do(connection: Connection, doing: str, ask: Any, run: str, done: Any) -> None:
    """Ask for what may be asked twice, looking whether it was done where an answer was lost."""
    for _ in range(3):
        try:
            connection.act(doing, ask, run)
        except Lost:
            if done():
                return
            continue
        except Refused:
            if done():
                return
            raise
        return
    raise ModelmillError(f"{connection.host}: {doing}: three answers were lost; look with `modelmill runs show {run}`")


def _state(connection: Connection, run: str, raw: Any = None) -> str:
    raw = raw or get_run(connection, run)
    return read_run(raw, {}, connection.profile, now=server_time(connection)).state


def _newest(connection: Connection) -> Iterator[Any]:
    known = {"namespace": connection.namespace, "sort_by": "created_at desc"}
    yield from pages(connection, "its runs", connection.api("Run").run_service_list_runs, "runs", **known)


def _schedules(connection: Connection) -> dict[str, Facts | None]:
    listing = connection.api("RecurringRun").recurring_run_service_list_recurring_runs
    found = pages(connection, "recurring runs", listing, "recurring_runs", namespace=connection.namespace)
    return {one.recurring_run_id: Facts.read(one.description) for one in found}


def as_data(run: ClusterRun, tracked: Tracked | None, report: Report | None) -> dict[str, Any]:
    """Return the object that `--json` prints of a run."""
    told = report.lineage if report is not None else {}
    trained = told.get("finetune") or told.get("pretrain") or {}
    inner = trained if isinstance(trained, dict) else {}
    registered = report.registered if report is not None else None
    return {
        "run": run.id,
        "recipe": run.recipe,
        "state": run.state,
        "seconds": round(run.seconds, 1),
        "steps": [
            {
                "name": step.name,
                "state": step.state,
                "seconds": round(step.seconds, 1),
                "cached": step.state == "cached",
                "node": step.kind or None,
                "cost": None if step.cost is None else round(step.cost, 4),
                "cause": step.cause or None,
            }
            for step in run.steps
        ],
        "datasets": {
            "ingest": {key: told.get(key) or None for key in ("corpus", "labelled")},
            "preprocess": {key: inner.get(key) or None for key in ("corpus", "labelled")},
        },
        "metrics": {**report.metrics, **report.comparisons} if report is not None else {},
        "verdict": report.verdict.decision if report is not None and report.verdict is not None else None,
        "model": registered.model_dump(mode="json") if registered is not None else None,
        "report": f"runs:/{tracked.id}/report.html" if tracked is not None and report is not None else None,
        "cost": None if run.cost is None else round(run.cost, 4),
        "name": run.name,
    }
