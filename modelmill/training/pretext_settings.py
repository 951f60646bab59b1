"""What a recipe may say of learning from pictures without labels. Needs neither torch nor numpy."""

from typing import Self

from pydantic import Field, model_validator

from modelmill.settings import Section


class PictureDecoder(Section):
    """The transformer that fills in hidden patches; it is thrown away after pretraining."""

    layers: int = Field(default=2, ge=1, le=24)
    """Transformer layers; few are enough where fine-tuning follows (arXiv:2111.06377, table 1a)."""
    width: int = Field(default=96, ge=8, le=4096)
    """Of a patch's vector."""
    heads: int = Field(default=3, ge=1)
    """Attention heads of a layer."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self


class Views(Section):
    """How two views of a picture are made, which shall be known as the same (arXiv:2002.05709, appendix A)."""

    area: float = Field(default=0.2, gt=0, le=1)
    """Least share of the picture that a view shows, blown up to the whole size; its own draw for each view. The paper
    takes 0.08 of pictures with 224 pixels a side."""
    flip: bool = True
    """Whether left and right change places in half of the views."""
    brightness: float = Field(default=0.4, ge=0, lt=1)
    """Most by which values are multiplied up or down."""
    contrast: float = Field(default=0.4, ge=0, lt=1)
    """Most by which values' distances from their mean are multiplied up or down."""
    saturation: float = Field(default=0.4, ge=0, lt=1)
    """Most by which colours' distances from gray are multiplied up or down; of gray pictures nothing."""
    gray: float = Field(default=0.2, ge=0, le=1)
    """Share of the views that lose their colours; gray pictures have none to lose."""
