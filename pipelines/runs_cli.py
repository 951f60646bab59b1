"""`modelmill runs`: those of this machine, or with a profile those of a cluster."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from modelmill.errors import ModelmillError, UserError
from pipelines.cluster_cli import ProfilePath, connect, finish, page, show_run, watch
from pipelines.saying import Json, say

runs_app = typer.Typer(no_args_is_help=True, help="List, show, compare, cancel and resume runs.")

MaybeProfile = Annotated[
    Path | None, typer.Option("--profile", metavar="FILE", help="A cluster's; without it, the runs of this machine.")
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="Its id, the beginning of it, or its name.")]


@runs_app.command("list")
def list_runs(
    profile: MaybeProfile = None,
    recipe: Annotated[str, typer.Option(help="Only those of the recipe of this name.")] = "",
    most: Annotated[int, typer.Option("--most", min=1, help="How many, the newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """List runs, the newest first."""
    rows = _cluster_rows(profile, most, recipe) if profile is not None else _local_rows(most, recipe)
    if as_json:
        typer.echo(json.dumps({"runs": rows}, ensure_ascii=False))
        return
    _table(rows)


def _local_rows(most: int, recipe: str) -> list[dict[str, Any]]:
    from pipelines.local_runs import list_local

    found = [run for run in list_local() if recipe in {"", run["recipe"]}][:most]
    return [{key: run.get(key) for key in ("run", "recipe", "state", "seconds", "verdict")} for run in found]


def _cluster_rows(profile: Path, most: int, recipe: str) -> list[dict[str, Any]]:
    from pipelines.cluster.runs import list_runs as list_cluster

    connection, _ = connect(profile, as_json=True)
    rows: list[dict[str, Any]] = []
    for run in list_cluster(connection, most, recipe):
        facts = run.facts
        row = {"run": run.id, "recipe": run.recipe, "state": run.state, "seconds": round(run.seconds, 1)}
        by = {"schedule": facts.schedule or None, "git_commit": facts.git_commit or None} if facts is not None else {}
        rows.append({**row, "created": run.created.isoformat(), "name": run.name, **by})
    return rows


def _table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from pipelines.view import duration

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("run", "recipe", "state", "time", "began", "by"):
        table.add_column(name, overflow="fold", justify="right" if name == "time" else "left")
    for row in rows:
        took = "" if row["seconds"] is None else duration(row["seconds"])
        by = row.get("schedule") or row.get("verdict") or ""
        table.add_row(row["run"], row["recipe"], row["state"], took, row.get("created", "")[:16].replace("T", " "), by)
    console = Console()
    console.print(table if rows else "no runs")


@runs_app.command()
def show(
    run: RunName,
    profile: MaybeProfile = None,
    no_follow: Annotated[bool, typer.Option("--no-follow", help="Show it as it is now.")] = False,
    as_json: Json = False,
) -> None:
    """Show a run; one that goes on is followed on a terminal."""
    if profile is None:
        from pipelines.local_runs import show_local

        known = show_local(run)
        say(as_json, known, lambda: _local(known))
        return
    from pipelines.cluster.follow import Reader
    from pipelines.cluster.pods import Pods
    from pipelines.cluster.runs import find_run

    connection, console = connect(profile, as_json=as_json)
    reader = Reader(connection=connection, run=find_run(connection, run), pods=Pods(connection.namespace))
    found = reader.read()
    if found.ended:
        finish(connection, found, reader.pods, console, as_json=as_json)
    elif console.is_terminal and not no_follow and not as_json:
        watch(connection, found.id, profile, console, as_json=as_json)
    else:
        told, _ = show_run(connection, found, console, as_json=as_json)
        if link := page(connection.profile, found.id):
            console.print(link, style="dim", soft_wrap=True)
        if as_json:
            typer.echo(json.dumps(told, ensure_ascii=False))


def _local(known: dict[str, Any]) -> str:
    """What a person reads of a run of this machine."""
    from pipelines.view import duration

    took = "" if known["seconds"] is None else f" in {duration(known['seconds'])}"
    lines = [f"{known['recipe']}  {known['state']}{took}  run {known['run']}"]
    for step in known["steps"]:
        lines.append(f"  {step['name']:<24} {step['state']:<8} {'' if step['cached'] else duration(step['seconds'])}")
    if test := known.get("metrics", {}).get("test"):
        lines.append("test     " + ", ".join(f"{name} {value:.4g}" for name, value in sorted(test.items())))
    if known.get("verdict"):
        lines.append(f"verdict  {known['verdict']}")
    if known.get("report"):
        lines.append(f"report   {known['report']}")
    return "\n".join(line.rstrip() for line in lines)


@runs_app.command()
def logs(
    run: RunName,
    step: Annotated[
        str | None, typer.Argument(help="Of which step; without it, of the one that runs or failed.")
    ] = None,
    profile: MaybeProfile = None,
    as_json: Json = False,
) -> None:
    """Print what a step says; of one that runs, as it comes."""
    if profile is None:
        from pipelines.local_runs import local_log

        lines = local_log(run, step)
        say(as_json, {"run": run, "step": step, "lines": lines}, lambda: "\n".join(lines))
        return
    from pipelines.cluster.follow import Reader
    from pipelines.cluster.pods import Pods
    from pipelines.cluster.runs import find_run

    connection, _ = connect(profile, as_json=as_json)
    reader = Reader(connection=connection, run=find_run(connection, run), pods=Pods(connection.namespace))
    found = reader.read()
    name = step or _talking(found)
    if name not in [one.name for one in found.steps]:
        raise UserError(f"run {found.id}: no step {name!r}; its steps are {', '.join(s.name for s in found.steps)}")
    if as_json:
        lines = reader.pods.tail(found.id, name, 10_000)
        typer.echo(json.dumps({"run": found.id, "step": name, "lines": lines}, ensure_ascii=False))
    else:
        for line in reader.pods.follow(found.id, name):
            typer.echo(line)
    if reader.pods.why_not:
        raise UserError(f"{name}: {reader.pods.why_not}; logs are read from its pod, through your kubeconfig")


def _talking(run: Any) -> str:
    """The step whose log a person means who names none."""
    for state in ("running", "failed", "stopped"):
        for step in run.steps:
            if step.state == state:
                return str(step.name)
    ran = [step.name for step in run.steps if step.state == "done"]
    return str(ran[-1]) if ran else ""


@runs_app.command()
def compare(
    one: Annotated[str, typer.Argument(metavar="A")],
    other: Annotated[str, typer.Argument(metavar="B")],
    profile: MaybeProfile = None,
    as_json: Json = False,
) -> None:
    """Show in which settings two runs differ, and their figures side by side."""
    from pipelines.cluster.compare import compare_runs, lines

    names = [one, other]
    if profile is not None:
        from pipelines.cluster.runs import find_run

        connection, _ = connect(profile, as_json=as_json)
        names = [find_run(connection, name) for name in names]
    told = compare_runs(names[0], names[1])
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    from rich.console import Console

    for part in lines(told):
        Console().print(part)


@runs_app.command()
def cancel(run: RunName, profile: ProfilePath, as_json: Json = False) -> None:
    """End a run on a cluster; `resume` goes on from its last checkpoints."""
    from pipelines.cluster.runs import cancel as cancel_run
    from pipelines.cluster.runs import find_run

    connection, _ = connect(profile, as_json=as_json)
    found = find_run(connection, run)
    try:
        cancel_run(connection, found)
    finally:
        # Of a run that was cancelled before, too: Kubernetes may not have been reached then.
        if any(kind.nodes > 1 for kind in connection.profile.nodes.values()):
            _free_nodes(connection.namespace, found)
    way = f"modelmill runs resume {found} --profile {profile}"
    say(as_json, {"run": found, "state": "stopping"}, lambda: f"run {found} is being stopped; go on with it: {way}")


def _free_nodes(namespace: str, run: str) -> None:
    """Delete what trains on several nodes, where the step that waits for it was ended before it could."""
    from modelmill.trainjob.spec import RUN_LABEL
    from pipelines.cluster.trainjobs import delete_trainjobs

    try:
        deleted = delete_trainjobs(namespace, run)
    except ModelmillError as error:
        way = f"kubectl -n {namespace} delete trainjobs -l {RUN_LABEL}={run}"
        typer.echo(f"{error}; its TrainJobs, if there are any, go with: {way}", err=True)
    else:
        for name in deleted:
            typer.echo(f"TrainJob {name} is deleted", err=True)


@runs_app.command()
def resume(
    run: RunName,
    profile: ProfilePath,
    detach: Annotated[bool, typer.Option("--detach", help="Start it and return.")] = False,
    as_json: Json = False,
) -> None:
    """Go on with a run on a cluster that failed, was cancelled, or lost a pod or a node."""
    from pipelines.cluster.runs import find_run
    from pipelines.cluster.runs import resume as resume_run

    connection, console = connect(profile, as_json=as_json)
    resumed = resume_run(connection, find_run(connection, run))
    if resumed.same:
        console.print(f"run {resumed.run} goes on", soft_wrap=True)
    else:
        console.print(f"{resumed.why_new}\nA new run goes on for it: {resumed.run} ({resumed.name})", soft_wrap=True)
    if detach:
        if as_json:
            typer.echo(json.dumps({"run": resumed.run, "name": resumed.name, "same": resumed.same}))
        return
    watch(connection, resumed.run, profile, console, as_json=as_json)
