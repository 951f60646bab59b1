import pytest

from components.ingest.decontaminate import contaminated, held_out_grams

TEST_ROW = "the quick brown fox jumps over the lazy dog while nine wizards vex a judge"


def hits(held_out: list[str], text: str, length: int = 13) -> bool:
    return bool(contaminated(["some other text", text], held_out_grams([held_out], length))[1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"He said: '{TEST_ROW.upper()}!' and left.", True),
        ("well then the quick, brown fox - jumps over the lazy dog while nine wizards; vex and so on", True),
        ("the quick brown fox jumps over the lazy dog while nine witches vex a judge", False),
        ("", False),
    ],
)
def test_a_text_with_thirteen_words_of_a_test_row_is_contaminated(text: str, expected: bool) -> None:
    assert hits([TEST_ROW], text) is expected


def test_a_row_of_eight_words_counts_whole_and_a_shorter_one_not_at_all() -> None:
    eight = "an utterly compelling drama about two lonely people"
    assert hits([eight], f"I thought it was {eight}, really")
    assert not hits([eight], "an utterly compelling drama about two lonely men")
    assert not hits(["a dull lifeless film"], "it was a dull lifeless film")


def test_chinese_rows_are_found_by_their_characters() -> None:
    row = "这家酒店的服务非常好房间很干净"
    assert hits([row], f"我朋友说{row}，你觉得呢")
    assert not hits([row], "这家餐馆的服务非常好房间很干净")


def test_nothing_held_out_finds_nothing() -> None:
    assert held_out_grams([], 13) == {}
    assert not contaminated([TEST_ROW], {}).any()
