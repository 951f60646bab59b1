"""What is written beside a run on the server, so that any machine can tell what it is: names and digests, no secret."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from modelmill.digest import canonical_json, digest
from modelmill.profile import NodeKind, Profile
from modelmill.settings import Section
from modelmill.version import git_commit
from pipelines.profile_file import kind_of
from pipelines.recipe import Recipe
from pipelines.steps import Stage, step_names


class Facts(Section):
    """What a run, or a schedule, was made from; the description of both on the server, as JSON."""

    modelmill: int = 1
    """Version of this format."""
    recipe: str
    """Name of the recipe."""
    recipe_digest: str
    """SHA-256 of its settings, before local files were copied."""
    profile: str
    """Name of the profile."""
    profile_digest: str
    """SHA-256 of its content."""
    until: str
    """Last stage."""
    git_commit: str = ""
    """Commit of the checkout that submitted it."""
    nodes: Mapping[str, str] = {}
    """Kind of node by step."""
    schedule: str = ""
    """Name of the schedule, where one starts it."""
    schedule_digest: str = ""
    """SHA-256 of what the schedule's file says, recipe and profile included."""
    part: str = ""
    """When the stretch of a schedule's time that this is begins, where it has several."""
    says: Mapping[str, str] = {}
    """What the schedule's file says, to be compared with what it says later."""

    def text(self) -> str:
        """Return the description."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def of(cls, recipe: Recipe, profile: Profile, until: Stage, **known: Any) -> "Facts":
        """Return the facts of a recipe that is run by a profile."""
        return cls(
            recipe=recipe.name,
            recipe_digest=recipe.digest,
            profile=profile.name,
            profile_digest=digest(profile.model_dump(mode="json")),
            until=until,
            git_commit=git_commit(),
            nodes={step: kind_of(recipe, profile, step) for step in [*step_names(recipe, until), "notify"]},
            **known,
        )

    @classmethod
    def read(cls, description: str | None) -> "Facts | None":
        """Return the facts that a description holds, None where it is not of ours."""
        try:
            return cls.model_validate_json(description or "")
        except ValidationError:
            return None


def plan_digest(recipe: Recipe, profile: Profile, until: Stage) -> str:
    """Return the SHA-256 of what is about to run: what `--expect-plan` is compared with."""
    told: dict[str, Any] = {"recipe": recipe.as_data(), "profile": profile.model_dump(mode="json"), "until": until}
    return digest(json.loads(json.dumps(told)))


def node_of(profile: Profile, facts: Facts | None, step: str) -> NodeKind | None:
    """Return the kind of node of a run's step, None where the profile has it no longer."""
    name = facts.nodes.get(step) if facts is not None else None
    return profile.nodes.get(name) if name is not None else None
