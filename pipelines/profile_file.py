"""A profile's file: read and checked, every error with its file, its line and the nearest right word."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from modelmill.errors import UserError
from modelmill.profile import Profile
from modelmill.sources import nearest
from pipelines.document import read
from pipelines.messages import messages
from pipelines.recipe import Recipe


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


def check_resources(recipe: Recipe, profile: Profile) -> None:
    """Check that every kind of node that a recipe wants is one of a profile's.

    Raises:
        UserError: with every stage whose kind is not, and the nearest right word.
    """
    kinds = ", ".join(profile.nodes)
    wanted = recipe.resources.model_dump(exclude_none=True)
    wrong = [
        f"resources.{stage}: profile {profile.name} has no kind of node {kind!r}"
        f"{nearest(kind, tuple(profile.nodes)) or f'; it has {kinds}'}"
        for stage, kind in wanted.items()
        if kind not in profile.nodes
    ]
    if wrong:
        raise UserError("\n".join(wrong))


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a profile file, for editors."""
    made = Profile.model_json_schema()
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = "modelmill profile"
    return made
