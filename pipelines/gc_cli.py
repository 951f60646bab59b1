"""`modelmill gc`: what of the store nothing needs any more, dry run first."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.saying import Json, say

if TYPE_CHECKING:
    from rich.console import Console


def gc(
    keep_versions: Annotated[int, typer.Option(metavar="N", help="Newest versions of each model that stay.")] = 5,
    min_age: Annotated[str, typer.Option(metavar="AGE", help="What is younger stays, as in 12h or 7d.")] = "7d",
    idle: Annotated[bool, typer.Option("--idle", help="Nothing runs on this store: allow an age under a day.")] = False,
    deleted: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A model that was deleted from MLflow on purpose.")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Remove; else only show what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Remove from the store what no champion, no recent version and no running step needs; first show it."""
    from rich.console import Console

    from modelmill.retention.run import retain

    told = {"keep_versions": keep_versions, "min_age": min_age, "idle": idle, "apply": apply}
    console = Console(stderr=as_json)
    with console.status("") as status:
        result = retain(
            {**told, "deleted": tuple(deleted or ())},
            lambda what, count: status.update(f"{what}: {count:,} looked at" if count else what),
        )
    say(as_json, result, lambda: _shown(result, console))


def _shown(result: dict[str, Any], console: "Console") -> str:
    """Print the table, and return what is to be said under it."""
    from rich import box
    from rich.table import Table

    from modelmill.retention.tally import HEADS, conclusion, rows

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, head in enumerate(HEADS):
        table.add_column(head, justify="right" if 0 < place < len(HEADS) - 1 else "left")
    lines = list(rows(result))
    for line in lines[:-1]:
        table.add_row(*line)
    table.add_section()
    table.add_row(*lines[-1])
    console.print(table)
    return "\n".join(conclusion(result))
