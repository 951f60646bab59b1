import warnings

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from components.ingest.images.examine import examine, flag_names
from components.ingest.images.pictures import Pictures
from components.ingest.images.settings import Images, PixelTable
from modelmill.ledger import Rejected
from tests.components.ingest.images.tools import near_pairs, packed, photo


def pictures(*data: bytes, bad: tuple[Rejected, ...] = ()) -> Pictures:
    numbers = range(1, 2 * len(data), 2)
    return Pictures(
        numbers=numbers, names=[f"{n}.png" for n in numbers], data=data, labels=[n % 3 for n in numbers], bad=bad
    )


WHITE = packed(Image.new("L", (80, 80), 255), "PNG")


def test_right_pictures_keep_their_numbers_names_and_labels_and_wrong_ones_are_told() -> None:
    unread = Rejected(row=4, reason="encrypted", text="4.png")
    batch = pictures(packed(photo(), "PNG"), b"text", packed(photo(seed=1), "JPEG"), bad=(unread,))

    found = examine(batch, Images())

    assert (found.numbers, found.names, found.labels) == ([1, 5], ["1.png", "5.png"], [1, 2])
    assert [(row.row, row.reason, row.text) for row in found.bad] == [
        (3, "not_an_image", "3.png"),
        (4, "encrypted", "4.png"),
    ]
    assert len(found.looked) == len(found.features.hash_N) == 2


def test_flagged_pictures_are_kept_or_dropped_as_the_settings_say() -> None:
    animation = packed(photo(), "GIF", save_all=True, append_images=[photo(seed=1)])
    batch = pictures(WHITE, animation, packed(photo(), "PNG"))

    kept, dropped = examine(batch, Images()), examine(batch, Images(flagged="drop"))

    assert [flag_names(int(flags)) for flags in kept.features.flags_N] == [["bright", "blank"], ["animated"], []]
    assert kept.bad == []
    assert dropped.numbers == [3, 5]
    assert [(row.row, row.reason, row.detail) for row in dropped.bad] == [
        (1, "blank", "standard deviation of gray 0.00, blank is 3")
    ]
    assert np.array_equal(dropped.features.hash_N, kept.features.hash_N[1:])


def test_blank_and_small_pictures_are_near_duplicates_of_none() -> None:
    shades = [packed(Image.new("L", (80, 80), shade), "PNG") for shade in (60, 120, 200)]
    small = [packed(photo(32, 32).rotate(turn / 10), "PNG") for turn in range(3)]
    same = [packed(photo(), "PNG"), packed(photo(), "JPEG", quality=80)]

    found = examine(pictures(*shades, *small, *same), Images())

    assert found.comparable_N.tolist() == [False] * 6 + [True] * 2
    assert near_pairs(found.features.hash_N, 4, found.comparable_N).tolist() == [[6, 7]]
    assert not examine(pictures(*same), Images(near_duplicates=None)).comparable_N.any()


def test_without_checks_nothing_is_measured() -> None:
    found = examine(pictures(WHITE, packed(photo(), "PNG")[:-50]), Images(check=False))

    assert found.numbers == [1, 3]
    assert not found.features.hash_N.any()
    assert not found.features.flags_N.any()
    assert not found.comparable_N.any()


def test_pillow_s_warnings_are_not_shown_and_others_still_are() -> None:
    broken_exif = packed(photo(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        examine(pictures(broken_exif), Images())
        warnings.warn("another", stacklevel=1)

    assert [str(each.message) for each in shown] == ["another"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_side": 9, "max_side": 8}, "min_side 9 is above max_side 8"),
        ({"dark": 200, "bright": 100}, "dark 200 is above bright 100"),
        ({"check": False, "flagged": "drop"}, "flagged: drop needs decoded pictures"),
        ({"near_duplicates": 17}, "less than or equal to 16"),
        ({"max_pixels": 200_000_000}, "less than or equal to 178000000"),
        ({"max_pixel": 1}, "Extra inputs"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Images.model_validate(settings)


def test_a_table_of_pixels_needs_both_sides_or_none() -> None:
    with pytest.raises(ValidationError, match="only height is given"):
        PixelTable(height=3)
