"""Changes to inputs: seeded by the row, none at a strength of 0, never more than stated."""

import io
import math
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from modelmill.evaluation import perturb
from modelmill.evaluation.ladders import CHANGES, Change, picture_ladders, table_ladders, text_ladders
from modelmill.pictures.pixels import pixels_of
from modelmill.pictures.shape import PixelShape

texts = st.text(max_size=120) | st.text(alphabet="abc XYZ ßİ我是ไทย.,", max_size=120)
shares = st.floats(0, 1)
text_changes = st.sampled_from(["typos", "truncation", "case"])
picture_changes = st.sampled_from(["noise", "blur", "brightness", "rotation"])


def chance(row: str = "a", change: str = "typos") -> np.random.Generator:
    return perturb.chance_of(change, row)


def pixels(seed: int, side: int = 8, channels: int = 1) -> perturb.Pixels:
    return np.random.default_rng(seed).integers(0, 256, (side, side, channels), dtype=np.uint8)


@given(texts, text_changes, st.floats(-1, 1), st.text(max_size=8))
def test_the_same_row_is_changed_alike_and_never_gets_longer(
    text: str, change: Change, strength: float, row: str
) -> None:
    strength = strength if change == "case" else abs(strength)
    once, again = (perturb.changed_text(text, change, strength, chance(row, change)) for _ in range(2))
    assert once == again
    assert len(once) <= len(text)
    assert bool(once.strip()) == bool(text.strip())
    assert perturb.changed_text(text, change, 0, chance(row, change)) == text


@given(texts, shares)
def test_typos_are_as_many_as_stated(text: str, rate: float) -> None:
    made = perturb.typos(text, rate, chance())
    letters = sum(map(str.isalpha, text))
    most = math.ceil(rate * letters)
    assert len(text) - len(made) <= most
    # A letter that is replaced, swapped or dropped changes at most two places of the multiset of letters.
    left = sorted(text)
    for sign in made:
        if sign in left:
            left.remove(sign)
    assert len(left) <= most


def test_the_share_of_typos_is_the_rate_on_the_average() -> None:
    text = "the quick brown fox jumps over a lazy dog"
    changed = [perturb.typos(text, 0.05, chance(str(row))) for row in range(300)]
    # Swaps of equal letters and of a letter twice show as nothing: the count is a little under 33 letters x 0.05.
    edits = np.mean([len(text) - len(made) or made != text for made in changed])
    assert 0.6 < edits <= 1.65
    assert len(set(changed)) > 100


def test_a_stronger_change_goes_on_from_a_weaker_one() -> None:
    text = "abcdefghijklmnopqrstuvwxyz " * 4
    weak, strong = (perturb.typos(text, rate, chance()) for rate in (0.02, 0.05))
    assert weak != text
    kept = sum(one == other for one, other in zip(weak[:20], strong[:20], strict=False))
    assert kept > 10


def test_a_neighbour_lies_beside_its_key() -> None:
    assert set(perturb._NEAR["g"]) == set("ftyhbv")
    assert set(perturb._NEAR["q"]) == {"w", "a"}
    assert all(key in perturb._NEAR[other] for key, near in perturb._NEAR.items() for other in near)


@given(texts, shares)
def test_a_cut_text_is_its_own_beginning(text: str, cut: float) -> None:
    made = perturb.truncated(text, cut)
    assert text.lstrip().startswith(made.lstrip())
    words = text.split()
    if cut and words and not perturb.unspaced(text):
        assert made.split() == words[: max(1, math.ceil((1 - cut) * len(words)))]


def test_a_text_without_spaces_is_cut_by_its_signs() -> None:
    assert perturb.truncated("这家酒店非常好我很喜欢", 0.5) == "这家酒店非常"
    assert perturb.truncated("a fine hotel, a very fine one", 0.5) == "a fine hotel, a"


def test_a_letter_that_would_become_two_stays() -> None:
    assert perturb.cased("Straße", 1) == "STRAßE"
    assert perturb.cased("STRASSE", -1) == "strasse"


def test_what_does_not_apply_is_told() -> None:
    chinese, english = ["这家酒店非常好", "不好"], ["A fine one", "no"]
    assert perturb.hindrance("case", chinese).startswith("Not applicable")
    assert "1 of 2 texts have no letters that are small or large" in perturb.hindrance("case", ["不好", "no"])
    assert "2 of 2 texts are in scripts that no QWERTY" in perturb.hindrance("typos", chinese)
    assert "signs are counted" in perturb.hindrance("truncation", chinese)
    assert not any(perturb.hindrance(change, english) for change in ("case", "typos", "truncation"))


@given(st.integers(0, 50), picture_changes, st.floats(0, 6), st.sampled_from([1, 3]))
def test_a_changed_picture_has_its_shape_and_is_seeded(
    seed: int, change: Change, strength: float, channels: int
) -> None:
    whole = pixels(seed, channels=channels)
    once, again = (perturb.changed_pixels(whole, change, strength, perturb.chance_of(change, "row")) for _ in range(2))
    assert once.shape == whole.shape
    assert once.dtype == np.uint8
    assert np.array_equal(once, again)
    assert np.array_equal(perturb.changed_pixels(whole, change, 0, chance()), whole)


def test_noise_has_the_stated_deviation() -> None:
    grey = np.full((200, 200, 1), 128, dtype=np.uint8)
    noisy = perturb.changed_pixels(grey, "noise", 0.08, chance())
    assert (noisy / 255).std() == pytest.approx(0.08, abs=0.002)


def test_a_blur_is_the_gaussian_of_its_deviation() -> None:
    point = np.zeros((21, 21, 1), dtype=np.uint8)
    point[10, 10] = 255
    row = perturb.changed_pixels(point, "blur", 1.5, chance())[10, :, 0].astype(float)
    places = np.arange(21) - 10
    assert math.sqrt((row * places**2).sum() / row.sum()) == pytest.approx(1.5, abs=0.1)


@given(st.integers(0, 50), st.floats(0, 1))
def test_brightness_is_that_of_hue_saturation_and_value(seed: int, by: float) -> None:
    import colorsys

    whole = pixels(seed, side=3, channels=3)
    made = perturb.brightened(whole, by)
    for before, after in zip(whole.reshape(-1, 3) / 255, made.reshape(-1, 3) / 255, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*before)
        assert after == pytest.approx(colorsys.hsv_to_rgb(hue, saturation, min(value + by, 1)), abs=1 / 255)


def test_a_picture_is_turned_either_way_by_its_angle() -> None:
    bar = np.zeros((31, 31, 1), dtype=np.uint8)
    bar[15, :] = 255
    made = [perturb.changed_pixels(bar, "rotation", 30.0, chance(str(row))) for row in range(20)]
    turned = {int(each[:, 25, 0].argmax()) for each in made}
    # Ten pixels from the middle a turn by 30 degrees is some six up or down.
    assert {abs(place - 15) for place in turned} <= {5, 6}
    assert len(turned) == 2


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_sent_as_a_file_is_seen_as_it_was(channels: Literal[1, 3]) -> None:
    whole = pixels(3, channels=channels)
    shape = PixelShape(size=8, channels=channels, resize="crop", gray=channels == 1)
    assert np.array_equal(pixels_of([perturb.png(whole)], shape)[0], whole)
    assert Image.open(io.BytesIO(perturb.png(whole))).format == "PNG"


rows = st.fixed_dictionaries(
    {
        "a": st.none() | st.floats(-1e6, 1e6),
        "b": st.none() | st.integers(-1000, 1000),
        "c": st.sampled_from(["x", None]),
    }
)


@given(rows, st.sampled_from(["noise", "missing"]), shares)
def test_of_a_row_only_numbers_change(row: dict[str, Any], change: Change, strength: float) -> None:
    told = {"a": 2.0, "b": 3.0}
    once, again = (perturb.changed_row(row, change, strength, told, chance("r", change)) for _ in range(2))
    assert once == again
    assert once.keys() == row.keys()
    assert once["c"] == row["c"]
    assert all(once[name] is None for name in row if row[name] is None)
    assert perturb.changed_row(row, change, 0, told, chance("r", change)) == row


def test_noise_is_in_units_of_the_columns_deviation() -> None:
    given_rows = [{"a": float(value), "b": 7, "c": "x"} for value in (0, 10) * 50]
    told = perturb.deviations_of(given_rows, {"a": "number", "b": "integer", "c": "category"})
    assert told == {"a": 5.0, "b": 0.0}
    moved = [perturb.changed_row({"a": 0.0}, "noise", 0.5, told, chance(str(row)))["a"] for row in range(2000)]
    assert np.std(moved) == pytest.approx(2.5, rel=0.06)
    gone = [perturb.changed_row({"a": 0.0}, "missing", 0.25, told, chance(str(row)))["a"] for row in range(2000)]
    assert sum(each is None for each in gone) / 2000 == pytest.approx(0.25, abs=0.03)


def test_strengths_are_those_of_the_papers_benchmark_for_the_pictures_size() -> None:
    small, large = (
        {ladder.change: [one.strength for one in ladder.levels] for ladder in picture_ladders(["noise", "blur"], side)}
        for side in (32, 224)
    )
    assert small == {"noise": [0.04, 0.06, 0.08, 0.09, 0.1], "blur": [0.4, 0.6, 0.7, 0.8, 1.0]}
    assert large == {"noise": [0.08, 0.12, 0.18, 0.26, 0.38], "blur": [1, 2, 3, 4, 6]}
    (blur,) = picture_ladders(["blur"], 112)
    assert [level.strength for level in blur.levels] == [0.5, 1, 1.5, 2, 3]


def test_every_change_of_a_task_has_its_strengths_from_weak_to_strong() -> None:
    ladders = {
        "text-classification": text_ladders(CHANGES["text-classification"]),
        "image-classification": picture_ladders(CHANGES["image-classification"], 28),
        "table-regression": table_ladders(CHANGES["table-regression"]),
    }
    for task, made in ladders.items():
        assert [ladder.change for ladder in made] == list(CHANGES[task])
        for ladder in made:
            strengths = [level.strength for level in ladder.levels]
            assert strengths == sorted(set(strengths))
            assert ladder.change == "case" or strengths[0] > 0
            assert len({level.word for level in ladder.levels}) == len(strengths)
