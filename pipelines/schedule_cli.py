"""`modelmill schedule`: recurring runs as code."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from modelmill.errors import ModelmillError, UserError
from pipelines.cluster_cli import ProfilePath, connect
from pipelines.saying import Json, say

schedule_app = typer.Typer(no_args_is_help=True, help="Make a cluster's recurring runs equal to files.")


@schedule_app.command()
def apply(
    path: Annotated[Path, typer.Argument(metavar="FILE|FOLDER", help="A schedule's YAML file, or a folder of them.")],
    profile: ProfilePath,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference, and change nothing.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove schedules that no file here names.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Change without being asked again.")] = False,
    as_json: Json = False,
) -> None:
    """Show in what the cluster's schedules differ from the files, and make them equal."""
    from pipelines.cluster import schedules
    from pipelines.cluster.connection import check_health
    from pipelines.cluster.follow import server_time
    from pipelines.cluster.schedule_apply import apply as apply_change
    from pipelines.schedule_file import load

    files = load(path)
    connection, console = connect(profile, as_json=as_json)
    health = check_health(connection)
    now = server_time(connection)
    wanted = [schedules.wanted_by(connection, schedule, recipe, now) for schedule, recipe in files]
    changes = schedules.differences(wanted, schedules.there(connection), prune=prune)
    told: dict[str, Any] = {"changes": [schedules.as_data(one) for one in changes], "applied": False}
    schedules.lines(changes, lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True))
    if changes and not dry_run:
        _ask(len(changes), yes)
        for change in changes:
            apply_change(connection, health, change, lambda text: console.print(text, style="dim", soft_wrap=True))
        told["applied"] = True
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False))
    else:
        console.print(_end(len(files), len(changes), dry_run=dry_run))


def _ask(count: int, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError(f"{count} schedules would change; add --yes, or --dry-run to look alone")
    if not typer.confirm("Change this?"):
        raise ModelmillError("nothing was changed")


def _end(files: int, changes: int, *, dry_run: bool) -> str:
    if not changes:
        return f"{files} {'schedule is' if files == 1 else 'schedules are'} as wanted; nothing to change"
    return f"{changes} to change; nothing was changed" if dry_run else f"{changes} changed"


@schedule_app.command("list")
def list_schedules(profile: ProfilePath, as_json: Json = False) -> None:
    """List the cluster's schedules that are of ours."""
    from pipelines.cluster.follow import server_time
    from pipelines.cluster.schedule_apply import next_tick
    from pipelines.cluster.schedules import there

    connection, console = connect(profile, as_json=as_json)
    rows: dict[str, dict[str, Any]] = {}
    for one in there(connection):
        says = one.facts.says
        row = rows.setdefault(one.facts.schedule, {"schedule": one.facts.schedule, "recipe": one.facts.recipe})
        tick = next_tick(one, server_time(connection))
        ticks = [each for each in (row.get("next"), tick.isoformat() if tick is not None else None) if each is not None]
        row |= {"trigger": says.get("trigger", ""), "time_zone": says.get("time_zone", "UTC")}
        row |= {"enabled": one.enabled or row.get("enabled", False), "next": min(ticks, default=None)}
        row["recurring_runs"] = [*row.get("recurring_runs", []), one.id]
    if as_json:
        typer.echo(json.dumps({"schedules": list(rows.values())}, ensure_ascii=False))
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("schedule", "recipe", "when", "zone", "next run", ""):
        table.add_column(name, overflow="fold")
    for row in rows.values():
        coming = (row["next"] or "")[:16].replace("T", " ")
        enabled = "" if row["enabled"] else "disabled"
        table.add_row(row["schedule"], row["recipe"], row["trigger"], row["time_zone"], coming, enabled)
    console.print(table if rows else "no schedules")


@schedule_app.command()
def delete(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the schedule.")],
    profile: ProfilePath,
    as_json: Json = False,
) -> None:
    """Delete a schedule; a run that it has started goes on."""
    from modelmill.sources import nearest
    from pipelines.cluster.connection import check_health
    from pipelines.cluster.schedule_apply import remove
    from pipelines.cluster.schedules import there

    connection, console = connect(profile, as_json=as_json)
    health = check_health(connection)
    every = there(connection)
    found = [one for one in every if one.facts.schedule == name]
    if not found:
        names = sorted({one.facts.schedule for one in every})
        hint = nearest(name, names) or f"; there are: {', '.join(names) or 'none'}"
        raise UserError(f"{name}: no schedule of that name in {connection.namespace}{hint}")
    remove(connection, health, found, lambda text: console.print(text, style="dim", soft_wrap=True))
    say(as_json, {"schedule": name, "deleted": [one.id for one in found]}, lambda: f"{name}: deleted")
