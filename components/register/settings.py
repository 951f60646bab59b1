"""What a recipe says about the registry, and what register is told."""

from typing import Literal

from pydantic import Field, model_validator

from modelmill.evaluation.comparison import AgainstChampion
from modelmill.registry.approval import Demand
from modelmill.settings import Section, Task


class Register(Section):
    """The model's name in the MLflow registry."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=200)
    """Name of the registered model: letters, digits, '.', '_' and '-'."""
    approval: Demand = "none"
    """`required`: a version becomes champion only after someone has approved its verdict, the first one too."""
    promote: Literal["by_command", "by_verdict"] = "by_command"
    """`by_verdict`: the pipeline makes a version champion whose verdict is `promote`, but none that was champion before
    and was taken back. `by_command`: only the first version, and later ones by `modelmill models promote`."""

    @model_validator(mode="after")
    def _waits_or_goes_on(self) -> "Register":
        if self.approval == "required" and self.promote == "by_verdict":
            raise ValueError("promote by_verdict does not wait for the approval that is required; drop one of them")
        return self


class RegisterSettings(Register):
    """Compares, decides, and makes a model version with its aliases and lineage."""

    task: Task
    recipe: str
    """Name of the recipe."""
    recipe_digest: str
    """SHA-256 of the recipe's settings, after `extends` and overrides."""
    steps: tuple[str, ...]
    """Names of the steps before this one; those that did not run are logged as cached."""
    against_champion: AgainstChampion = AgainstChampion()
    """What `evaluate` asks of the model beside the champion."""
