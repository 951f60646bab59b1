"""What a recipe may say of how pictures are changed while learning. Needs neither torch nor numpy."""

from pydantic import Field

from modelmill.settings import Section

# He et al. 2015, section 4.2 (arXiv:1512.03385), pad pictures of 32 pixels by 4.
_PADDING_SHARE = 8


class Augment(Section):
    """How pictures are changed at random while learning."""

    crop: int | None = Field(default=None, ge=0, le=512)
    """Pixels of black put on each side before a square of the old size is cut out anywhere; left out, an eighth of the
    side, as He et al. 2015 (arXiv:1512.03385) do for CIFAR-10; 0 leaves pictures where they are."""
    flip: bool = False
    """Whether left and right change places in half of the pictures; not for digits and letters."""
    mixup: float = Field(default=0.0, ge=0, le=10)
    """Pictures are mixed with others by a share drawn from Beta(mixup, mixup), their labels too; 0 does not. Zhang et
    al. 2018 (arXiv:1710.09412) take 0.1 to 0.4 for ImageNet, 1 for CIFAR-10."""
    cutmix: float = Field(default=0.0, ge=0, le=10)
    """A box of another picture is pasted in, its area drawn from Beta(cutmix, cutmix), and the labels mixed by it; 0
    does not. Yun et al. 2019 (arXiv:1905.04899) take 1. With mixup too, a step does the one or the other."""

    def padding(self, side: int) -> int:
        """Return the pixels to put on each side of pictures of a side."""
        return side // _PADDING_SHARE if self.crop is None else self.crop
