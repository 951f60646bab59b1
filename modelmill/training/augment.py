"""Pictures changed at random while learning, a whole batch at a time; what chance does is decided by a seed alone."""

# B batch, H rows, W columns, C channels

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from modelmill.training.augment_settings import Augment

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """Pictures that are each mixed with another one of the batch."""

    pixels_BHWC: Pixels
    partner_B: npt.NDArray[np.int64]
    """Place of the other picture."""
    share: float
    """Of the first picture's label; the rest is the other's."""


def moved(pixels_BHWC: Pixels, padding: int, chance: np.random.Generator) -> Pixels:
    """Return pictures shifted by up to `padding` pixels each way, black where there is nothing."""
    batch, height, width, _ = pixels_BHWC.shape
    if not padding:
        return pixels_BHWC
    # Two draws whatever the batch holds.
    down_B, right_B = chance.integers(0, 2 * padding + 1, (2, batch))
    sides = (padding, padding)
    padded_BHWC = np.pad(pixels_BHWC, ((0, 0), sides, sides, (0, 0)))
    row_BH1 = (down_B[:, None] + np.arange(height))[:, :, None]
    column_B1W = (right_B[:, None] + np.arange(width))[:, None, :]
    made: Pixels = padded_BHWC[np.arange(batch)[:, None, None], row_BH1, column_B1W]
    return made


def flipped(pixels_BHWC: Pixels, chance: np.random.Generator) -> Pixels:
    """Return pictures of which half, drawn one by one, are mirrored."""
    mirrored_B = chance.random(len(pixels_BHWC)) < 0.5
    made = pixels_BHWC.copy()
    made[mirrored_B] = pixels_BHWC[mirrored_B, :, ::-1]
    return made


def mixed(pixels_BHWC: Pixels, augment: Augment, chance: np.random.Generator) -> Mixed:
    """Return pictures mixed with the batch's in another order, all by one share, as the authors of both methods do."""
    partner_B = chance.permutation(len(pixels_BHWC))
    box = augment.cutmix > 0 and (not augment.mixup or chance.random() < 0.5)
    alpha = augment.cutmix if box else augment.mixup
    share = float(chance.beta(alpha, alpha))
    if not box:
        # Rounded to whole values again: half a value of 255 is far below what the eye or the network sees.
        blend = pixels_BHWC * np.float32(share) + pixels_BHWC[partner_B] * np.float32(1 - share)
        return Mixed(pixels_BHWC=np.rint(blend).astype(np.uint8), partner_B=partner_B, share=share)
    height, width = pixels_BHWC.shape[1:3]
    top, bottom, left, right = _box(height, width, share, chance)
    made = pixels_BHWC.copy()
    made[:, top:bottom, left:right] = pixels_BHWC[partner_B, top:bottom, left:right]
    # What the picture's edge cuts off of the box is not pasted.
    kept = 1 - (bottom - top) * (right - left) / (height * width)
    return Mixed(pixels_BHWC=made, partner_B=partner_B, share=kept)


def _box(height: int, width: int, share: float, chance: np.random.Generator) -> tuple[int, int, int, int]:
    """Return top, bottom, left and right of a box with `1 - share` of the area, its middle anywhere."""
    side = (1 - share) ** 0.5
    middle = chance.integers(0, height), chance.integers(0, width)
    half = int(height * side) // 2, int(width * side) // 2
    (top, bottom), (left, right) = (
        (max(0, int(at) - by), min(whole, int(at) + by))
        for at, by, whole in zip(middle, half, (height, width), strict=True)
    )
    return top, bottom, left, right
