"""How commands answer: one JSON object for programs, or text for people."""

import json
from collections.abc import Callable
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def say(as_json: bool, value: dict[str, Any], text: Callable[[], str]) -> None:
    """Print a value as JSON, or its text."""
    typer.echo(json.dumps(value, ensure_ascii=False) if as_json else text())
