"""A profile's file: read and checked, every error with its file, its line and the nearest right word."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from modelmill.errors import UserError
from modelmill.profile import Profile
from modelmill.sources import nearest
from pipelines.document import Document, override, read
from pipelines.messages import messages
from pipelines.recipe import Recipe
from pipelines.steps import stage_of


def load(path: Path) -> Profile:
    """Read and check a profile; nothing is asked of any server.

    Raises:
        UserError: with every error that was found, a line each: file, line, key, what is wrong, the nearest right word.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such profile; pipelines/profiles/cluster.yaml is one to copy")
    document = read(path)
    try:
        return Profile.model_validate_json(json.dumps(document.data))
    except ValidationError as error:
        raise UserError("\n".join(messages(Profile, document, error))) from error


def check_resources(recipe: Recipe, profile: Profile, said: tuple[Path, Sequence[str]] | None = None) -> None:
    """Check that every kind of node that a recipe wants is one of a profile's.

    `said` is the recipe's file and the overrides of it, for file and line of each error.

    Raises:
        UserError: with every stage whose kind is not, and the nearest right word.
    """
    wanted = recipe.resources.model_dump(exclude_none=True)
    wrong = {stage: kind for stage, kind in wanted.items() if kind not in profile.nodes}
    if not wrong:
        return
    document = _read(*said) if said is not None else None
    lines = []
    for stage, kind in wrong.items():
        place = f"{document.place(('resources', stage))}: " if document is not None else ""
        hint = nearest(kind, tuple(profile.nodes)) or f"; it has {', '.join(profile.nodes)}"
        lines.append(f"{place}resources.{stage}: profile {profile.name} has no kind of node {kind!r}{hint}")
    raise UserError("\n".join(lines))


def _read(path: Path, overrides: Sequence[str]) -> Document:
    document = read(path)
    for setting in overrides:
        override(document, setting)
    return document


def kind_of(recipe: Recipe, profile: Profile, step: str) -> str:
    """Return the name of the kind of node that a step runs on: what takes seconds has the light one."""
    stage, wanted = stage_of(step), recipe.resources.model_dump()
    return (wanted[stage] or profile.default_node) if stage in wanted else profile.light


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a profile file, for editors."""
    made = Profile.model_json_schema()
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = "modelmill profile"
    return made
