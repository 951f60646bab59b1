"""The commands that send a recipe to a cluster and watch it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelmill.errors import ModelmillError, UserError
from pipelines.saying import Json, say

if TYPE_CHECKING:
    from rich.console import Console

    from modelmill.profile import Profile
    from pipelines.cluster.connection import Connection
    from pipelines.cluster.state import ClusterRun
    from pipelines.cluster.tracked import Tracked
    from pipelines.recipe import Recipe
    from pipelines.steps import Stage

ProfilePath = Annotated[Path, typer.Option("--profile", metavar="FILE", help="The profile's YAML file.")]
_STEP_LINES = 12


def submit(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe's YAML file.", show_default=False)],
    profile: ProfilePath,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, as in finetune.lr=1e-4.")
    ] = None,
    until: Annotated[str, typer.Option(metavar="STAGE", help="Stop after this stage.")] = "register",
    detach: Annotated[bool, typer.Option("--detach", help="Start the run and return.")] = False,
    expect_plan: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="Submit only what was planned: `plan --json` gives its digest.")
    ] = None,
    skip_plan: Annotated[
        bool, typer.Option("--skip-plan", help="Do not look first whether the trainings fit their nodes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run a recipe on a cluster: check, plan, copy local data, upload, start, follow."""
    from pipelines.cluster.connection import check_health
    from pipelines.cluster.submit import check_plan
    from pipelines.cluster.submit import submit as submit_recipe
    from pipelines.recipe_file import load
    from pipelines.steps import nearest_stage

    if not recipe.is_file():
        raise UserError(f"{recipe}: there is no such recipe; `modelmill init` writes one")
    stage = nearest_stage(until)
    checked = load(recipe, overrides or (), look=True)
    connection, console = connect(profile, as_json=as_json)
    check_plan(checked, connection.profile, stage, expect_plan)
    check_health(connection)
    if not skip_plan:
        _plan(connection, checked, stage, console)
    submitted = submit_recipe(connection, checked, stage, lambda text: console.print(text, style="dim", soft_wrap=True))
    console.print(f"run {submitted.run} ({submitted.name})", soft_wrap=True)
    if link := page(connection.profile, submitted.run):
        console.print(link, style="dim", soft_wrap=True)
    if detach:
        told = {"run": submitted.run, "name": submitted.name, "recipe": checked.name, "version": submitted.version.name}
        way = f"modelmill runs show {submitted.run} --profile {profile}"
        say(as_json, {**told, "reused": submitted.version.reused}, lambda: f"follow it: {way}")
        return
    watch(connection, submitted.run, profile, console, as_json=as_json)


def _plan(connection: "Connection", recipe: "Recipe", until: "Stage", console: "Console") -> None:
    """Plan a recipe on a profile's nodes, and refuse what cannot fit."""
    from pipelines.plan.make import make
    from pipelines.profile_file import check_resources

    profile = connection.profile
    check_resources(recipe, profile)
    made = make(recipe, profile, until)
    if made.misfits:
        raise UserError("\n".join([*made.misfits, "nothing was submitted; --skip-plan submits it all the same"]))
    for one in made.trainings:
        if one.cost is not None:
            price = "" if one.cost.price is None else f", about {one.cost.price:,.2f} {profile.currency}"
            told = f"{one.trained.step}: fits {one.node}{price}"
            console.print(told, style="dim", soft_wrap=True, markup=False, highlight=False)


def connect(path: Path, *, as_json: bool) -> tuple["Connection", "Console"]:
    """Return the connection of a profile, and where to print what is no answer."""
    from rich.console import Console

    from pipelines.cluster.connection import Connection
    from pipelines.cluster.submit import use_places
    from pipelines.profile_file import load

    profile = load(path)
    use_places(profile)
    console = Console(stderr=as_json)
    return Connection(profile=profile), console


def page(profile: "Profile", run: str) -> str:
    """Return the address of a run's page for people, '' where the profile names none."""
    return f"{profile.kfp.ui.rstrip('/')}/#/runs/details/{run}" if profile.kfp.ui else ""


def watch(connection: "Connection", run: str, profile: Path, console: "Console", *, as_json: bool) -> None:
    """Follow a run to its end, show how it ended, and leave with 0 where it ended well and 1 where it did not."""
    from pipelines.cluster.follow import Reader, follow
    from pipelines.cluster.pods import Pods
    from pipelines.cluster.show import ClusterView

    # Who only watches can wait long: a night's run is not worth less for an hour without network.
    connection.patience = 3600.0
    reader = Reader(connection=connection, run=run, pods=Pods(connection.namespace))
    again = f"`modelmill runs show {run} --profile {profile}` follows it again"
    try:
        with ClusterView(console, connection.profile) as view:
            connection.on_away = view.away
            ended = follow(reader, view)
    except KeyboardInterrupt:
        raise ModelmillError(f"no longer followed; the run goes on: {again}") from None
    except ModelmillError as error:
        raise ModelmillError(f"{error}\nThe run goes on: {again}") from error
    finish(connection, ended, reader.pods, console, as_json=as_json)


def finish(connection: "Connection", run: "ClusterRun", pods: Any, console: "Console", *, as_json: bool) -> None:
    """Show a run that has ended, with what MLflow knows of it, and leave with its exit code."""
    told, tracked = show_run(connection, run, console, as_json=as_json)
    code = 0 if run.state == "done" else 1
    failed = next((step.name for step in run.steps if step.state == "failed"), None)
    if run.state == "failed" and failed is not None:
        known = tracked.steps.get(failed) if tracked is not None else None
        cause = next(step.cause for step in run.steps if step.name == failed)
        told["error"] = (known.error if known is not None else "") or f"{failed}: {cause or 'failed without a word'}"
        code = known.exit_code if known is not None else code
        console.print(f"\n{told['error']}", style="red", soft_wrap=True, markup=False)
        lines = pods.tail(run.id, failed, _STEP_LINES) or (known.lines[-_STEP_LINES:] if known is not None else ())
        for line in lines:
            console.print(f"  | {line}", style="dim", soft_wrap=True, markup=False)
        if not lines and pods.why_not:
            console.print(f"its log lines are not here: {pods.why_not}", style="dim", soft_wrap=True)
    if code:
        console.print(f"go on with it: modelmill runs resume {run.id} --profile FILE", style="dim", soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False))
    if code:
        raise typer.Exit(code)


def show_run(
    connection: "Connection", run: "ClusterRun", console: "Console", *, as_json: bool
) -> tuple[dict[str, Any], "Tracked | None"]:
    """Print a run's table and figures where a person reads them; return the object that `--json` prints, and more."""
    from pipelines.cluster import tracked as tracking
    from pipelines.cluster.runs import as_data
    from pipelines.cluster.show import table, title

    tracked = report = None
    why = ""
    try:
        tracked = tracking.find(run.id)
        report = tracking.report(tracked) if tracked is not None else None
    except ModelmillError as error:
        why = str(error)
    told = as_data(run, tracked, report)
    if not as_json:
        console.print(title(run, connection.profile.currency))
        console.print()
        console.print(table(run, connection.profile.currency))
        for line in _lines(told):
            console.print(line, soft_wrap=True, markup=False, highlight=False)
    if why:
        console.print(f"no figures: {why}", style="yellow", soft_wrap=True, markup=False)
    return told, tracked


def _lines(told: dict[str, Any]) -> list[str]:
    lines = []
    if test := told["metrics"].get("test"):
        lines.append("test       " + ", ".join(f"{name} {value:.4g}" for name, value in sorted(test.items())))
    if told["verdict"]:
        lines.append(f"verdict    {told['verdict']}")
    if model := told["model"]:
        lines.append(f"model      {model['name']} version {model['version']} ({', '.join(model['aliases'])})")
    return ["", *lines] if lines else []
