"""Rows that cleaning has changed, as they are shown to a person."""

from typing import Any

import pytest

from components.ingest.changed import FEW, Changed
from components.ingest.feed import order_of
from components.ingest.rows import Listed
from components.ingest.settings import IngestSettings
from components.ingest.work import work
from components.ingest.work_parts import Batch

PLAIN = "A plain line of English words that nothing is done to."


def changed(texts: list[str], **recipe: Any) -> list[Changed]:
    """Return what is shown of a batch of texts of the corpus, whose rows count from 1."""
    off = {"near_duplicates": {"action": "off"}}
    corpus = [{"uri": "a.txt"}]
    settings = IngestSettings.model_validate({"task": "text-classification", "corpus": corpus, **off, **recipe})
    order = order_of(settings, Listed(source=settings.corpus_sources[0], labelled=False, files=[]))
    rows = Batch(numbers=range(1, len(texts) + 1), texts=texts, labels=[None] * len(texts))
    return work(order, rows).changed


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("mojibake", "A cafÃ© by the sea.", "A café by the sea."),
        ("markup", "Tom &amp; Jerry", "Tom & Jerry"),
        ("markup", "It was <b>bold</b> of him", "It was bold of him"),
        ("unseen_characters", "one\x01two", "onetwo"),
        ("unseen_characters", "zero\u200bwidth café", "zerowidth café"),
        ("unseen_characters", "joined\u200dwords", "joinedwords"),
        ("unicode_form", "cafe\u0301 by the sea", "café by the sea"),
        ("personal_data", "Write to jane@example.com today", "Write to [EMAIL] today"),
    ],
)
def test_a_row_that_cleaning_changed_is_shown_with_the_kind_of_change(kind: str, before: str, after: str) -> None:
    (found,) = changed([PLAIN, before, PLAIN])
    assert (found.row, found.kind, found.after) == (2, kind, after)
    assert found.before == before.replace("jane@example.com", "████")


def test_a_line_that_was_taken_out_of_a_document_is_shown() -> None:
    lines = "This is a good line of words.\nno end mark\nThis is another line of words."
    (found,) = changed([lines], quality={"c4": {"min_sentences": None}})
    assert (found.kind, found.before) == ("bad_lines", lines)
    assert "no end mark" not in found.after


def test_mere_white_space_is_not_worth_being_shown() -> None:
    assert changed([PLAIN, f"  {PLAIN}\t", PLAIN.replace(" ", "  "), f"{PLAIN}\r\n\r\n\r\n\r\n{PLAIN}"]) == []


def test_a_row_that_was_dropped_is_not_shown_as_changed() -> None:
    rows = ["&amp; short", "Tom &amp; Jerry are long enough", "Write &amp; send it to jane@example.com"]
    found = changed(rows, min_chars=20, personal={"action": "drop"})
    assert [row.row for row in found] == [2]


def test_the_first_rows_of_each_kind_are_shown_and_a_rare_kind_after_many_of_another() -> None:
    rows = [f"Tom &amp; Jerry {number}" for number in range(50)] + ["one\x01two", "A cafÃ© by the sea."]
    found = changed(rows)
    assert [(row.kind, row.row) for row in found] == [
        *(("markup", number + 1) for number in range(FEW)),
        ("unseen_characters", 51),
        ("mojibake", 52),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "<b>Write</b> to jane@example.com",
        "<b>Write</b> to jane&#64;example.com",
        "<b>Write</b> to jane<b>@</b>example.com",
        "<b>Write</b> <!-- jane&#64;example.com --> to us",
        "<b>Write</b> to jane\u200b@example.com",
        f"{'on and on ' * 380}<b>Call</b> {'on and on ' * 17}or soon +44 20 7946 0958",
    ],
)
def test_personal_data_are_never_shown_as_they_stood_before_they_were_masked(text: str) -> None:
    for row in changed([text]):
        assert "example.com" not in row.before + row.after
        assert "+44" not in row.before + row.after


def test_what_the_recipe_keeps_is_shown_as_it_is() -> None:
    (found,) = changed(["<b>Write</b> to jane@example.com"], personal={"action": "keep"})
    assert found.before == "<b>Write</b> to jane@example.com"


def test_of_a_long_text_the_part_around_the_change_is_shown() -> None:
    words = "word  after word " * 80
    (found,) = changed([f"{words}Tom &amp; Jerry {words}"])
    assert "Tom &amp; Jerry" in found.before
    assert "Tom & Jerry" in found.after
    assert max(len(found.before), len(found.after)) <= 501


def test_a_change_that_lies_very_deep_in_a_text_is_not_shown() -> None:
    assert changed([f"{'word after word ' * 1000}Tom &amp; Jerry"]) == []


def test_half_a_surrogate_pair_is_shown_as_something_that_can_be_written_down() -> None:
    (found,) = changed(["half a pair \ud800 here"])
    assert found.kind == "unicode_form"
    assert (found.before.encode(), found.after.encode()) == (b"half a pair ? here", "half a pair \ufffd here".encode())
