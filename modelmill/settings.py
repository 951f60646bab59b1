"""The base of every settings class: frozen, closed, documented under each field."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Task = Literal["text-classification"]
"""What a recipe may learn."""


class Section(BaseModel):
    """A part of a recipe, or what one step is told: unknown keys and wrong types are refused when built."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        # What a person typed may hold a secret.
        hide_input_in_errors=True,
        validate_default=True,
    )
