"""The shape of a model that starts from random weights. Needs no torch."""

from typing import Literal, Self

from pydantic import Field, model_validator

from modelmill.settings import Section


class Architecture(Section):
    """A transformer encoder by its sizes."""

    family: Literal["bert", "modernbert"] = "bert"
    """How the layers are built; a small `modernbert` learns more in the same time."""
    layers: int = Field(default=4, ge=1, le=96)
    """Transformer layers."""
    width: int = Field(default=256, ge=8, le=16_384)
    """Of a token's vector."""
    heads: int = Field(default=4, ge=1)
    """Attention heads of a layer; each sees width / heads."""
    feed_forward: int | None = Field(default=None, ge=8)
    """Inner width of a layer's dense maps; left out, 4 times the width, 2 times in a `modernbert` (it has gates)."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self
