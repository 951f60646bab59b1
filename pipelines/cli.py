"""The command line. Heavy imports come where they are used: `modelmill --help` answers at once."""

import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelmill.errors import ModelmillError, UserError, without_credentials
from modelmill.home import be_private, share_cores
from pipelines.cluster_cli import submit
from pipelines.gc_cli import gc
from pipelines.images_cli import images_app
from pipelines.models_cli import models_app
from pipelines.plan_cli import doctor, plan
from pipelines.runs_cli import runs_app
from pipelines.saying import Json, say
from pipelines.schedule_cli import schedule_app

if TYPE_CHECKING:
    from modelmill.profile import Profile
    from pipelines.recipe import Recipe

# What typer makes of a KeyboardInterrupt.
_CTRL_C = 130

app = typer.Typer(
    name="modelmill",
    help="From raw data to a promoted model: one recipe, six steps, one Kubeflow Pipelines graph.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe's YAML file.", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, as in finetune.lr=1e-4.")
]
ProfilePath = Annotated[
    Path | None, typer.Option("--profile", metavar="PROFILE", help="The profile's YAML file: where it is to run.")
]
app.add_typer(models_app, name="models")
app.add_typer(runs_app, name="runs")
app.add_typer(schedule_app, name="schedule")
app.command()(submit)
app.command()(plan)
app.command()(doctor)
app.command()(gc)
app.add_typer(images_app, name="images")


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 the user's input is wrong."""
    be_private()
    share_cores()
    try:
        code = app(standalone_mode=False)
        if code == _CTRL_C:
            raise KeyboardInterrupt
    except ModelmillError as error:
        _say_error(str(error), error.exit_code)
        code = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        _say_error("stopped", 1)
        code = 1
    except Exception as error:  # noqa: BLE001 - the last line of defence: a traceback may hold a password
        if hasattr(error, "format_message"):
            # click's own complaint about the command line
            _say_error(error.format_message(), UserError.exit_code)
            code = UserError.exit_code
        else:
            # What no one foresaw, for whoever mends it.
            sys.stderr.write(without_credentials(traceback.format_exc()))
            code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _say_error(message: str, exit_code: int) -> None:
    message = without_credentials(message)
    if "--json" in sys.argv:
        typer.echo(json.dumps({"error": message, "exit_code": exit_code}))
    else:
        typer.secho("error: ", fg="red", bold=True, nl=False, err=True)
        typer.echo(message, err=True)


@app.command()
def validate(
    recipe: RecipePath, overrides: Overrides = None, profile: ProfilePath = None, as_json: Json = False
) -> None:
    """Check a recipe, and a profile for it, offline: every error with file, line and the nearest right word."""
    from pipelines.steps import step_names

    checked = _load(recipe, overrides, look=True)
    where = _load_profile(profile, checked, recipe, overrides)
    steps = step_names(checked)
    told = {"recipe": checked.name, "valid": True, "digest": checked.digest, "steps": steps}
    on = f", on {where.name}" if where is not None else ""
    say(
        as_json,
        told if where is None else {**told, "profile": where.name},
        lambda: f"{recipe}: right{on}. {checked.name}: {' → '.join(steps)}",
    )


@app.command()
def schema(
    profile: Annotated[bool, typer.Option("--profile", help="Of profiles instead.")] = False,
    as_json: Json = False,  # noqa: ARG001 - the schema is JSON in any case
) -> None:
    """Print the JSON Schema of recipes, for editors."""
    from pipelines import profile_file, recipe_file

    typer.echo(json.dumps((profile_file if profile else recipe_file).schema(), indent=1))


@app.command()
def run(
    recipe: RecipePath,
    overrides: Overrides = None,
    until: Annotated[str, typer.Option(metavar="STAGE", help="Stop after this stage.")] = "register",
    runner: Annotated[str, typer.Option(help="subprocess: each step a process; docker: a container.")] = "subprocess",
    as_json: Json = False,
) -> None:
    """Run a recipe here: each step a process or a container, finished steps answered from the cache."""
    import time
    from typing import get_args

    from rich.console import Console

    from pipelines import run as running
    from pipelines.result import keep, show
    from pipelines.steps import Stage, nearest_stage
    from pipelines.view import View

    stage = nearest_stage(until)
    assert stage in get_args(Stage)
    runner_name = running.nearest_runner(runner)
    checked = _load(recipe, overrides, look=True)
    if runner_name == "docker":
        from pipelines import docker_runner

        docker_runner.check(checked, stage)
    started = running.new_run(checked, stage)
    console = Console(stderr=as_json)
    began = time.time()
    try:
        with View(console) as view:
            running.execute(started, view, runner_name)
    except ModelmillError:
        result = keep(started, time.time() - began)
        show(started, result, console)
        console.print(f"\nlogs      {started.folder}", style="dim", soft_wrap=True)
        if as_json:
            typer.echo(json.dumps(result))
        raise
    result = keep(started, time.time() - began)
    if as_json:
        typer.echo(json.dumps(result))
    else:
        show(started, result, console)


@app.command("compile")
def compile_recipe(
    recipe: RecipePath,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where the YAML goes.")],
    overrides: Overrides = None,
    profile: ProfilePath = None,
    as_json: Json = False,
) -> None:
    """Write the Kubeflow Pipelines YAML of a recipe, placed as a profile says."""
    checked = _load(recipe, overrides)
    where = _load_profile(profile, checked, recipe, overrides)
    from typing import get_args

    from pipelines.compiling import Form, compiled

    forms: tuple[Form, ...] = get_args(Form)
    form = next((form for form in forms if form == output.suffix), None)
    if form is None:
        raise UserError(f"{output}: wants a name that ends in .yaml or .json")
    if not output.parent.is_dir():
        raise UserError(f"{output}: there is no folder {output.parent}")
    output.write_text(compiled(checked, profile=where, form=form))
    say(as_json, {"recipe": checked.name, "output": str(output)}, lambda: f"{output}: {checked.name}")


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="NAME@ALIAS, models:/NAME@ALIAS, models/<address> or a folder.")],
    rows: Annotated[
        list[str] | None,
        typer.Argument(help="Texts, paths of pictures, or JSON objects; without any, standard input, a line each."),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--input", help="Score whole files: a path, a folder, a pattern, or s3://…")
    ] = None,
    output: Annotated[str | None, typer.Option(help="Where the answers go: a folder, or s3://bucket/prefix.")] = None,
    form: Annotated[str | None, typer.Option("--format", help="parquet, csv, tsv, jsonl, text or images.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(metavar="NAME=COLUMN", help="The input's column for one of the model's.")
    ] = None,
    keep: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="Of the input, beside the answers.")] = None,
    shard_rows: Annotated[int | None, typer.Option(help="Rows of a part at most.")] = None,
    as_json: Json = False,
) -> None:
    """Answer raw texts, pictures or a table's rows with a registered model: a few, or whole files."""
    if source is not None or output is not None:
        from pipelines.predict import score_files

        score_files(model, rows, (source, output, form, column, keep, shard_rows), as_json)
        return
    from pipelines.predict import predict_rows

    predictions = predict_rows(model, rows or [line.rstrip("\n") for line in sys.stdin])
    say(as_json, {"model": model, "predictions": predictions}, lambda: "\n".join(map(_prediction, predictions)))


@app.command()
def init(
    data: Annotated[
        str | None, typer.Argument(help="A CSV, JSON Lines, Parquet or text file, or a folder of them.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE")] = Path("recipe.yaml"),
    name: Annotated[str | None, typer.Option(help="Name of recipe and model.")] = None,
    text: Annotated[str | None, typer.Option(help="Column that holds the text.")] = None,
    label: Annotated[str | None, typer.Option(help="Column that holds the label.")] = None,
    as_json: Json = False,
) -> None:
    """Write a commented recipe for your own data."""
    from pipelines.init import write_recipe

    written = write_recipe(data, output, name=name, text=text, label=label, ask=sys.stdin.isatty() and not as_json)
    say(as_json, {"recipe": str(output), **written}, lambda: f"{output} written; next: modelmill run {output}")


def _load(path: Path, overrides: Sequence[str] | None, *, look: bool = False) -> "Recipe":
    from pipelines.recipe_file import load

    if not path.is_file():
        raise UserError(f"{path}: there is no such recipe; `modelmill init` writes one")
    return load(path, overrides or (), look=look)


def _load_profile(
    path: Path | None, recipe: "Recipe", recipe_path: Path, overrides: Sequence[str] | None
) -> "Profile | None":
    if path is None:
        return None
    from pipelines.profile_file import check_resources, load

    profile = load(path)
    check_resources(recipe, profile, (recipe_path, overrides or ()))
    return profile


def _prediction(prediction: dict[str, Any]) -> str:
    asked = next(iter(prediction.values()))
    if "prediction" in prediction:
        return f"{prediction['prediction']:.6g}  {asked}"
    if "label" not in prediction:
        return f"{asked} → {list(prediction.values())[1]}"
    others = ", ".join(f"{label} {share:.3f}" for label, share in prediction["probabilities"].items())
    return f"{prediction['label']}  {prediction['probability']:.3f}  ({others})  {asked}"


if __name__ == "__main__":
    main()
