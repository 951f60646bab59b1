"""Changes of pictures while learning: what moves, what is mixed, and that the labels follow."""

import numpy as np
import pytest

from modelmill.training.augment import flipped, mixed, moved
from modelmill.training.augment_settings import Augment

# Each picture says in every pixel and channel where it stands, and which picture it is.
BATCH, SIDE = 64, 12
ROW, COLUMN = np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij")
PIXELS = np.stack([np.stack([1 + ROW, 1 + COLUMN, np.full_like(ROW, 1 + n)], -1) for n in range(BATCH)]).astype(
    np.uint8
)


def chance(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_move_shifts_each_picture_by_itself_and_leaves_black_behind() -> None:
    made = moved(PIXELS, 3, chance())
    shifts = set()
    for number, picture in enumerate(made):
        there = picture[:, :, 2] > 0
        assert set(picture[there][:, 2].tolist()) == {1 + number}
        assert not picture[~there].any()
        rows, columns = np.nonzero(there)
        down = {int(one) for one in rows + 1 - picture[rows, columns, 0]}
        right = {int(one) for one in columns + 1 - picture[rows, columns, 1]}
        assert len(down) == len(right) == 1
        assert there.sum() == (SIDE - abs(min(down))) * (SIDE - abs(min(right)))
        shifts.add((min(down), min(right)))
    assert {down for down, _ in shifts} == {right for _, right in shifts} == set(range(-3, 4))
    assert len(shifts) > 20
    assert moved(PIXELS, 0, chance()) is PIXELS


def test_a_flip_mirrors_half_of_the_pictures_from_left_to_right() -> None:
    made = flipped(PIXELS, chance())
    mirrored = [not np.array_equal(one, two) for one, two in zip(made, PIXELS, strict=True)]
    assert 20 <= sum(mirrored) <= 44
    for picture, was, turned in zip(made, PIXELS, mirrored, strict=True):
        assert np.array_equal(picture, was[:, ::-1] if turned else was)


def test_mixup_blends_pixels_by_the_share_of_the_labels() -> None:
    shares = []
    for seed in range(40):
        made = mixed(PIXELS, Augment(mixup=0.4), chance(seed))
        expected = made.share * PIXELS.astype(float) + (1 - made.share) * PIXELS[made.partner_B].astype(float)
        assert np.abs(made.pixels_BHWC - expected).max() <= 0.51
        assert sorted(made.partner_B.tolist()) == list(range(BATCH))
        shares.append(made.share)
    assert min(shares) < 0.2
    assert max(shares) > 0.8


def test_cutmix_pastes_a_box_and_shares_the_labels_by_its_true_area() -> None:
    cut = 0
    for seed in range(40):
        made = mixed(PIXELS, Augment(cutmix=1.0), chance(seed))
        source = made.pixels_BHWC[:, :, :, 2] - 1
        own = source == np.arange(BATCH)[:, None, None]
        other = source == made.partner_B[:, None, None]
        assert (own | other).all()
        # What was pasted stays where it was in its own picture.
        assert np.array_equal(made.pixels_BHWC[..., :2], PIXELS[..., :2])
        elsewhere = made.partner_B != np.arange(BATCH)
        assert own[elsewhere].mean() == pytest.approx(made.share)
        rows, columns = np.nonzero(~own[elsewhere][0])
        assert len(rows) == 0 or len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        cut += bool(len(rows))
    assert cut > 25


def test_with_both_each_step_does_one_of_them() -> None:
    both = Augment(mixup=1.0, cutmix=1.0)
    made = [mixed(PIXELS, both, chance(seed)) for seed in range(60)]
    boxes = [np.isin(one.pixels_BHWC[0, :, :, 2], [1, 1 + one.partner_B[0]]).all() for one in made]
    assert 15 < sum(boxes) < 55


def test_pictures_are_padded_by_an_eighth_unless_told_otherwise() -> None:
    assert [Augment().padding(side) for side in (28, 32, 224)] == [3, 4, 28]
    assert Augment(crop=0).padding(32) == 0
    assert Augment(crop=5).padding(32) == 5
