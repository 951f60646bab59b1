from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.ingest.text.c4 import without_bad_lines
from components.ingest.text.quality import judge
from components.ingest.text.settings import C4, FineWeb, Gopher, Quality, Repetition
from components.ingest.text.words import Words

# 60 different words, two stop words among them, five sentences on five lines.
LINES = [
    "The river near our village was wide and slow, with boats that carried salt.",
    "My grandmother told me she had crossed it once when winter froze its surface.",
    "People came from distant towns to trade cloth, tools, honey, candles or grain.",
    "Nobody remembers now how many bridges stood here before those long rains fell.",
    "Children still search its muddy banks for coins, glass beads and broken plates.",
]
GOOD = "\n".join(LINES)
ALL = Quality(gopher=Gopher(), repetition=Repetition(), c4=C4(), fineweb=FineWeb())


def reason(text: str, settings: Quality) -> str:
    judged = judge([GOOD, text, GOOD], Words.of([GOOD, text, GOOD]), settings)
    assert judged.rule_N[0] == judged.rule_N[2] == -1
    return judged.reason(1)[0] if judged.rule_N[1] >= 0 else ""


def test_good_prose_breaks_no_rule_of_any_set() -> None:
    assert reason(GOOD, ALL) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LINES[0], "gopher_few_words"),
        (GOOD + " word" * 100_000, "gopher_many_words"),
        ("The of and " + "a b c d e " * 12, "gopher_short_words"),
        ("the of and " + "internationalisation " * 60, "gopher_long_words"),
        (GOOD + " # tag" * 9, "gopher_hashes"),
        (GOOD + " so... and…" * 6, "gopher_ellipses"),
        ("\n".join("- " + line for line in LINES), "gopher_bullet_lines"),
        (
            "\n".join(line.rstrip(".") + "..." if place < 2 else line for place, line in enumerate(LINES)),
            "gopher_ellipsis_lines",
        ),
        (GOOD + " 1990 12345" * 12, "gopher_few_letters"),
        (" ".join(f"Wörter{number}sind" for number in range(60)), "gopher_stop_words"),
    ],
)
def test_each_rule_of_gopher_drops_what_breaks_it(text: str, expected: str) -> None:
    assert reason(text, Quality(gopher=Gopher(max_mean_word=12))) == expected


def test_a_rule_without_a_threshold_is_off() -> None:
    assert reason(LINES[0], Quality(gopher=Gopher(min_words=None))) == ""


def test_rules_about_the_length_of_words_and_stop_words_are_not_for_scripts_without_spaces() -> None:
    chinese = (
        "这家酒店的服务非常好房间很干净早餐也不错下次来北京还会住在这里推荐给大家我们在那里住了三个晚上每天都很开心晚上很安静。"
        * 2
    )
    assert reason(chinese, Quality(gopher=Gopher())) == ""
    assert reason(chinese[:40], Quality(gopher=Gopher())) == "gopher_few_words"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n".join([*LINES, LINES[0], LINES[1], LINES[2]]), "repeated_lines"),
        ("\n\n".join([*LINES, *LINES[:3]]), "repeated_lines"),
        ("\n".join([*LINES, *["Yes."] * 2]), ""),
        (
            GOOD + "\n" + "\n".join(f"{number} x" for number in range(8)) + "\n" + LINES[0] + "\n" + LINES[1],
            "repeated_lines_chars",
        ),
        (" ".join(["time flies"] * 12 + [f"w{number}" for number in range(60)]), "top_2_gram"),
        (f"{GOOD} Once more: {LINES[0]} {LINES[1]}", "duplicate_5_grams"),
    ],
)
def test_repetition_is_seen_in_lines_and_in_runs_of_words(text: str, expected: str) -> None:
    assert reason(text, Quality(repetition=Repetition())) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD + " Lorem Ipsum dolor.", "c4_lorem_ipsum"),
        (GOOD + " if (x) { return; }", "c4_curly_bracket"),
        ("One sentence. And two.", "c4_few_sentences"),
        ("第一句。第二句！第三句？", ""),
    ],
)
def test_c4_drops_texts(text: str, expected: str) -> None:
    assert reason(text, Quality(c4=C4())) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n".join(line.rstrip(".") for line in LINES * 2), "fineweb_end_marks"),
        ("\n".join([*LINES, LINES[0]]), "fineweb_duplicate_line_chars"),
        ("\n".join([LINES[0]] + [f"Short one {number}." for number in range(5)]), "fineweb_short_lines"),
    ],
)
def test_finewebs_own_rules(text: str, expected: str) -> None:
    assert reason(text, Quality(fineweb=FineWeb())) == expected


def test_the_detail_shows_both_numbers() -> None:
    judged = judge([LINES[0]], Words.of([LINES[0]]), Quality(gopher=Gopher()))
    assert judged.reason(0) == ("gopher_few_words", "14 words, at least 50")


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("A line of more than five words.", True),
        ("A line of more than five words", False),
        ("A line of more than five words...", False),
        ("Too short.", False),
        ("Please turn on JavaScript in your browser settings.", False),
        ("By coming here you accept our Privacy Policy today.", False),
        ("这是一个很长的句子，它有很多字。", True),
    ],
)
def test_c4_takes_lines_out(line: str, kept: bool) -> None:
    around = [LINES[0], line, LINES[1]]
    expected = around if kept else [LINES[0], LINES[1]]
    assert without_bad_lines([GOOD, "\n".join(around), ""], C4()) == [GOOD, "\n".join(expected), ""]


WORDS = st.lists(st.sampled_from("abcd"), max_size=40)


def covered_share(words: list[str], count: int) -> float:
    """Gopher's share of characters in duplicate runs, by walking."""
    seen: set[tuple[str, ...]] = set()
    inside: set[int] = set()
    for place in range(len(words) - count + 1):
        run = tuple(words[place : place + count])
        if run in seen:
            inside.update(range(place, place + count))
        seen.add(run)
    return sum(len(words[place]) for place in inside) / max(1, len(" ".join(words)))


def top_share(words: list[str], count: int) -> float:
    runs = Counter(tuple(words[place : place + count]) for place in range(len(words) - count + 1))
    times = max(runs.values(), default=0)
    if times < 2:
        return 0
    longest = max(len(" ".join(run)) for run, number in runs.items() if number == times)
    return times * longest / len(" ".join(words))


@given(st.lists(WORDS, min_size=1, max_size=4))
def test_the_figures_of_repeated_runs_are_those_of_a_plain_loop(documents: list[list[str]]) -> None:
    texts = [" ".join(document) for document in documents]
    settings = Quality(
        repetition=Repetition(
            duplicate_lines=None,
            duplicate_paragraphs=None,
            duplicate_line_chars=None,
            duplicate_paragraph_chars=None,
        )
    )
    figures = {rule.reason: rule.figure_N for rule in judge(texts, Words.of(texts), settings).rules}
    for place, document in enumerate(documents):
        for count in (2, 3, 4):
            assert figures[f"top_{count}_gram"][place] == pytest.approx(top_share(document, count))
        for count in (5, 6, 10):
            assert figures[f"duplicate_{count}_grams"][place] == pytest.approx(covered_share(document, count))
