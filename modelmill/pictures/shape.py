"""What pictures become before a network sees them. Needs neither Pillow nor numpy."""

from typing import Literal

from pydantic import Field

from modelmill.settings import Section

Resize = Literal["crop", "stretch", "pad"]
"""`crop` makes the shorter side fit and cuts the longer one at both ends, `stretch` makes both fit, `pad` makes the
longer one fit and adds black."""


class PixelShape(Section):
    """What a picture becomes before a network sees it."""

    size: int = Field(ge=1, le=4096)
    """Width and height, in pixels."""
    channels: Literal[1, 3]
    """1 is gray, 3 is RGB."""
    resize: Resize
    """How a picture that is not square becomes so."""
    gray: bool
    """Whether all pictures of the training split were gray: then all others are made gray too."""

    @property
    def bytes(self) -> int:
        """Of one picture."""
        return self.size * self.size * self.channels
