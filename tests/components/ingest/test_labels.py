import pytest

from components.ingest.labels import in_order, labeller
from components.ingest.settings import LabelRule

BINS = LabelRule.model_validate({"bins": {"positive": [1, 4], "negative": [-4, -1]}})
CLASSES = LabelRule.model_validate({"classes": ["ham", "spam", 1]})


@pytest.mark.parametrize(
    ("value", "name"),
    [("spam", "spam"), (" spam\t", "spam"), (1, "1"), (1.0, "1"), ("1", "1"), (1.5, "1.5"), (True, "true"), (0, "0")],
)
def test_a_label_is_the_same_class_however_a_format_writes_it(value: object, name: str) -> None:
    assert labeller(None)(value) == (name, "", "")


@pytest.mark.parametrize("value", [None, "", "  ", float("nan"), "\u200b"])
def test_an_empty_label_is_missing(value: object) -> None:
    for rule in (None, BINS, CLASSES):
        assert labeller(rule)(value)[:2] == (None, "missing_label")


@pytest.mark.parametrize(
    ("value", "name"),
    [(-4, "negative"), (-1.0001, "negative"), ("1", "positive"), (" 3.9 ", "positive"), (4, "positive")],
)
def test_bins_hold_their_low_end_and_the_last_its_high_end_too(value: object, name: str) -> None:
    assert labeller(BINS)(value) == (name, "", "")


@pytest.mark.parametrize("value", [-1, 0, "0.99", 4.0001, -5])
def test_a_number_in_no_bin_is_bad_or_neutral_as_the_rule_says(value: object) -> None:
    drop = BINS.model_copy(update={"neutral": "drop"})

    assert labeller(BINS)(value)[:2] == (None, "unknown_label")
    assert labeller(drop)(value)[:2] == (None, "neutral")


@pytest.mark.parametrize("value", ["good", "nan", "inf", "1,5", True])
def test_what_is_no_number_is_bad_even_where_neutral_ones_are_dropped(value: object) -> None:
    drop = BINS.model_copy(update={"neutral": "drop"})

    name, reason, detail = labeller(drop)(value)

    assert (name, reason) == (None, "unknown_label")
    assert detail.endswith("is not a finite number, and label has bins")


def test_only_listed_classes_are_accepted() -> None:
    assert labeller(CLASSES)("ham") == ("ham", "", "")
    assert labeller(CLASSES)("Ham") == (None, "unknown_label", "'Ham' is not among the 3 classes")


@pytest.mark.parametrize("value", [["spam"], {"a": 1}, b"spam"])
def test_a_label_that_is_no_single_value_is_bad(value: object) -> None:
    assert labeller(None)(value)[:2] == (None, "unknown_label")


def test_classes_are_sorted_by_value_if_all_are_numbers_and_as_text_otherwise() -> None:
    assert in_order({"10", "9", "-1"}) == ["-1", "9", "10"]
    assert in_order({"10", "9", "x"}) == ["10", "9", "x"]
    assert in_order({"nan", "2", "10"}) == ["10", "2", "nan"]
