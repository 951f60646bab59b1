"""What a recipe may say about pictures, and about files that hold pictures as numbers."""

from typing import Literal, Self

from pydantic import Field, model_validator

from modelmill.settings import Section

# Pillow refuses more by itself, to be safe from decompression bombs (twice Image.MAX_IMAGE_PIXELS).
_PILLOW_PIXELS = 178_000_000


class Images(Section):
    """How pictures are checked, what they become, and which are looked at twice.

    Every picture comes out upright, 8 bits a channel, gray (L) or RGB, as PNG, JPEG or WebP.
    """

    check: bool = True
    """Whether every picture is decoded. If not, damaged ones stay in, and no flags and near-duplicates are found."""
    mode: Literal["keep", "L", "RGB"] = "keep"
    """Gray, RGB, or each as it is. A picture that is changed is stored anew, without loss, as PNG."""
    min_side: int = Field(default=1, ge=1)
    """Of width and height the shorter, in pixels; smaller pictures are dropped."""
    max_side: int = Field(default=20_000, ge=1)
    """Of width and height the longer, in pixels; larger pictures are dropped."""
    max_aspect: float = Field(default=20.0, ge=1)
    """The longer side over the shorter; longer strips are dropped."""
    max_pixels: int = Field(default=50_000_000, ge=1, le=_PILLOW_PIXELS)
    """Width times height as the header says; more is refused before anything is decoded."""
    dark: int = Field(default=60, ge=0, le=255)
    """A picture is dark if 99 % of its pixels are below this gray level."""
    bright: int = Field(default=230, ge=0, le=255)
    """A picture is bright if 99 % of its pixels are above this gray level."""
    blank: float = Field(default=3.0, ge=0)
    """A picture is blank if the standard deviation of its gray levels (0 to 255) is below this."""
    blurry: float = Field(default=10.0, ge=0)
    """A picture is blurry if the variance of its Laplacian is below this, seen at no more than 256 pixels a side."""
    flagged: Literal["keep", "drop"] = "keep"
    """What becomes of dark, bright, blurry and blank pictures: `keep` counts them, `drop` drops them by that reason."""
    # Hashes always have half of their bits set, so they differ in an even number. Photographs compressed again as JPEG
    # (quality 30 to 75), halved or shrunk to 64 pixels, darkened or made gray were seen to differ in 0 or 2, with a
    # margin of 2 % cut off in 4.
    near_duplicates: int | None = Field(default=4, ge=0, le=16)
    """Bits of 64 in which the perceptual hashes of near-duplicates may differ; null looks for exact duplicates only."""
    # The hash sees 32 x 32 samples and keeps the 8 x 8 coarsest waves: of small pictures of one kind it sees no more
    # than the kind. Among 5,000 digits of MNIST (28 x 28), none of them twice there, 21 pairs have equal hashes, 423
    # differ in 2 bits and 2,900 in 4, and of the last 101 are different digits.
    near_min_side: int = Field(default=64, ge=1)
    """Pictures with a shorter side than this, in pixels, are not compared: small ones look alike without being so."""

    @model_validator(mode="after")
    def _limits_leave_room(self) -> Self:
        if self.min_side > self.max_side:
            raise ValueError(f"min_side {self.min_side} is above max_side {self.max_side}; no picture is both")
        if self.dark > self.bright:
            raise ValueError(f"dark {self.dark} is above bright {self.bright}; a picture would be both")
        if not self.check and self.flagged == "drop":
            raise ValueError("flagged: drop needs decoded pictures, and check is false; leave one of them out")
        return self


class PixelTable(Section):
    """Where label and pixels stand in a CSV file with a picture a row."""

    label: Literal["first", "last", "none"] = "first"
    """The column of the label; all others are pixels, row by row from the top left, 0 to 255."""
    height: int | None = Field(default=None, ge=1)
    """In pixels; left out, pictures are square."""
    width: int | None = Field(default=None, ge=1)
    """In pixels; left out, pictures are square."""

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.height is None) != (self.width is None):
            given = "height" if self.width is None else "width"
            raise ValueError(f"only {given} is given; give height and width, or neither for square pictures")
        return self
