"""`modelmill models …`: the registry from the command line."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from pipelines.export import export, quantize
from pipelines.saying import Json, say
from pipelines.serve import serve

models_app = typer.Typer(
    help="Registered models: their versions, who is champion and how that came about; served, and in other forms.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
for command in (serve, export, quantize):
    models_app.command()(command)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The registered model.", show_default=False)]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="A number or an alias.", show_default=False)]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; the history keeps it.")]
Who = Annotated[
    str, typer.Option(metavar="NAME", help="Who acts; else MODELMILL_USER, git's user.email, or the login name.")
]


@models_app.command("list")
def list_models(as_json: Json = False) -> None:
    """List the registered models with their aliases."""
    from pipelines import models

    found = models.list_models()
    rows = [
        (one["name"], one["versions"], one["newest"], *(one["aliases"].get(alias, "") for alias in _ALIASES))
        for one in found["models"]
    ]
    say(as_json, found, lambda: _table(("model", "versions", "newest", *_ALIASES), rows))


@models_app.command()
def show(
    name: Name,
    version: Annotated[str, typer.Argument(metavar="[VERSION]", help="A number or an alias.")] = "",
    as_json: Json = False,
) -> None:
    """Show a model's versions, or one of them with its verdict, approvals and lineage."""
    from pipelines import models

    found = models.show(name, version)
    if version:
        say(as_json, found, lambda: _facts(found))
        return
    rows = [
        (one["version"], ", ".join(one["aliases"]), one["verdict"], one["approval"], one["model"][:19])
        for one in found["versions"]
    ]
    say(as_json, found, lambda: _table(("version", "aliases", "verdict", "approval", "content"), rows))


@models_app.command()
def history(name: Name, as_json: Json = False) -> None:
    """Tell who was champion when, by whom, and why."""
    from pipelines import models

    found = models.history(name)
    rows = [
        (
            one["when"],
            one["action"],
            f"{one['from_version'] or '-'} → {one['to_version']}",
            one["who"],
            one["decision"],
            ", ".join(approval["who"] for approval in one["approvals"]),
            one["why"],
        )
        for one in found["entries"]
    ]
    heads = ("when", "what", "champion", "who", "verdict", "approved by", "why")
    say(as_json, found, lambda: _table(heads, rows) if rows else _no_history(found))


@models_app.command()
def promote(
    name: Name,
    version: Version,
    force: Annotated[bool, typer.Option("--force", help="Pass over the verdict; needs --reason.")] = False,
    reason: Reason = "",
    expect: Annotated[
        str, typer.Option(metavar="VERSION", help="Only if this version is champion now; 'none' for no version.")
    ] = "",
    who: Who = "",
    as_json: Json = False,
) -> None:
    """Make a version champion, if its verdict is promote."""
    from pipelines import models

    found = models.promote(name, version, force=force, reason=reason, expected=expect, who=who)
    say(as_json, found, lambda: _champion(found, "is champion already; nothing was changed"))


@models_app.command()
def rollback(
    name: Name,
    to: Annotated[str, typer.Option(metavar="VERSION", help="A champion further back.")] = "",
    reason: Reason = "",
    who: Who = "",
    as_json: Json = False,
) -> None:
    """Return to the champion before, once it has been loaded and has answered its golden rows as ever."""
    from pipelines import models

    found = models.rollback(name, to=to, reason=reason, who=who)
    say(as_json, found, lambda: _champion(found, "was returned to already; --to goes further back"))


@models_app.command()
def approve(name: Name, version: Version, reason: Reason = "", who: Who = "", as_json: Json = False) -> None:
    """Approve a version's present verdict, where its recipe requires that."""
    from pipelines import models

    found = models.approve(name, version, reason=reason, who=who)
    verdict = found["verdict"] or "no verdict"
    say(as_json, found, lambda: f"{name} version {found['version']} ({verdict}): approved by {found['who']}")


@models_app.command()
def verify(
    name: Name,
    version: Annotated[str, typer.Argument(metavar="[VERSION]", help="Else all that have an alias.")] = "",
    as_json: Json = False,
) -> None:
    """Walk what versions were made from, and name each artifact that is missing or whose bytes changed."""
    from pipelines import models

    found = models.verify(name, version)
    say(as_json, found, lambda: _verified(found))
    if found["faults"]:
        raise typer.Exit(1)


_ALIASES = ("champion", "challenger")


def _champion(found: dict[str, Any], otherwise: str) -> str:
    entry = found["entry"]
    if not found["changed"]:
        return f"{found['name']} version {found['champion']} {otherwise}"
    came = f", after version {entry['from_version']}" if entry["from_version"] else ""
    return f"{found['name']} version {found['champion']} is champion{came} ({entry['action']} by {entry['who']})"


def _no_history(found: dict[str, Any]) -> str:
    alias = found["alias"]
    return f"{found['name']}: no history yet; " + (f"champion is version {alias}" if alias else "it has no champion")


def _facts(found: dict[str, Any]) -> str:
    lines: list[str] = []
    for key, value in found.items():
        told = _list(key, value) or ["-"]
        lines += [f"{'' if number else key.replace('_', ' '):<14} {one}".rstrip() for number, one in enumerate(told)]
    return "\n".join(lines)


def _list(key: str, value: Any) -> list[str]:
    if key == "approvals":
        return [f"{one['who']} {one['when']} {one['why']}".strip() for one in value]
    if isinstance(value, dict):
        return [f"{name.removeprefix('modelmill.')}: {one}" for name, one in value.items()]
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def _verified(found: dict[str, Any]) -> str:
    faults, named = found["faults"], f"{found['name']}: versions {', '.join(found['versions']) or 'none'}"
    if not faults:
        return f"{named}: {found['checked']} artifacts are as they were"
    told = [f"  {one['artifact']} (needed by {one['needed_by']}): {one['what']}" for one in faults]
    return "\n".join([f"{named}: {len(faults)} of {found['checked']} artifacts are not as they were", *told])


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        # Not markup: a reason may hold brackets.
        table.add_row(*(Text(str(value)) for value in row))
    with console.capture() as printed:
        console.print(table)
    return printed.get().rstrip("\n")
