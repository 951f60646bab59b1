"""`modelmill plan` and `modelmill doctor`: what a run would do and take, and whether all that it needs is there."""

import json
from pathlib import Path
from typing import Annotated

import typer

from modelmill.errors import UserError
from pipelines.saying import Json

ProfilePath = Annotated[
    Path | None, typer.Option("--profile", metavar="FILE", help="Where it would run; left out, this machine.")
]


def plan(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe's YAML file.", show_default=False)],
    profile: ProfilePath = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, as in finetune.lr=1e-4.")
    ] = None,
    until: Annotated[str, typer.Option(metavar="STAGE", help="Stop after this stage.")] = "register",
    as_json: Json = False,
) -> int:
    """Tell what a run would do and take: steps, cache, memory, hours, price. Nothing runs, nothing is written."""
    from rich.console import Console

    from pipelines.plan.make import make
    from pipelines.plan.view import as_data, show
    from pipelines.profile_file import check_resources
    from pipelines.profile_file import load as load_profile
    from pipelines.recipe_file import load
    from pipelines.steps import nearest_stage

    if not recipe.is_file():
        raise UserError(f"{recipe}: there is no such recipe; `modelmill init` writes one")
    stage = nearest_stage(until)
    checked = load(recipe, overrides or (), look=True)
    placed = None if profile is None else load_profile(profile)
    if placed is not None:
        check_resources(checked, placed)
    made = make(checked, placed, stage)
    if as_json:
        typer.echo(json.dumps(as_data(made, stage), ensure_ascii=False))
    else:
        show(made, Console())
        for line in made.misfits:
            typer.secho("error: ", fg="red", bold=True, nl=False, err=True)
            typer.echo(line, err=True)
    return UserError.exit_code if made.misfits else 0


def doctor(profile: ProfilePath = None, as_json: Json = False) -> int:
    """Try each thing that a run needs, one line each, with the command that mends it: 0 all right, 1 something missing.

    Without a profile: this machine. What is written to store and MLflow on the way is taken away again.
    """
    from rich.console import Console

    from pipelines.doctor.examine import as_data, examine, exit_code
    from pipelines.doctor.view import View
    from pipelines.profile_file import load as load_profile

    placed = None if profile is None else load_profile(profile)
    if as_json:
        findings = examine(placed, lambda _: None)
        typer.echo(json.dumps(as_data(findings, placed), ensure_ascii=False))
        return exit_code(findings)
    view = View(Console())
    findings = examine(placed, view)
    view.end(findings)
    return exit_code(findings)
