"""The report on answers, and its page."""

import numpy as np

from modelmill.evaluation.document import Data, Report, Split
from modelmill.evaluation.measure import Asked
from modelmill.evaluation.measure_answers import Given, QuestionRows, measure_answers
from modelmill.evaluation.report import render

CONTEXT = "Anna went home. " * 30 + "Then <Bert> sang. " + "The end. " * 40


def report() -> Report:
    rows = QuestionRows(
        ids=["a", "b", "c", "d"],
        questions=["Who sang?", "Who <b>danced</b>?", "Who went home?", "Who?"],
        contexts=[CONTEXT] * 4,
        references=[["<Bert>", "Bert sang"], [], ["Anna"], ["Anna"]],
        starts=[CONTEXT.index("<Bert>"), -1, 0, 0],
    )
    given = Given(
        texts=["sang. The", "Anna", "Anna", ""],
        score_Q=np.array([0.9, 0.95, 0.8, 0.5]),
        loss_Q=np.array([1.0, 2.0, 0.5, 0.25]),
        null_threshold=0.5,
    )
    asked = Asked(
        task="question-answering", model="models/m", dataset="datasets/d", data=Data(splits={"test": Split(rows=4)})
    )
    return measure_answers(asked, rows, given, {"first_sentence": ["", "", "Anna went home.", "x"]})


def test_figures_of_all_and_of_both_kinds_of_questions() -> None:
    made = report()
    # sang, of "Bert sang" and "sang The" without the article: 2 * 1 / 3.
    assert made.metrics["test"] == {"exact_match": 0.25, "f1": round((2 / 3 + 1) / 4, 6), "loss": 0.9375}
    assert made.metrics["first_sentence"] == {"exact_match": 0.25, "f1": 0.375}
    assert made.answers is not None
    assert {name: (part.rows, part.exact_match) for name, part in made.answers.parts.items()} == {
        "answerable": (3, round(1 / 3, 6)),
        "unanswerable": (1, 0.0),
    }
    assert made.answers.unanswered == 1
    low, high = made.intervals["f1"]
    assert low < made.metrics["test"]["f1"] < high
    assert [check.against for check in made.checks] == ["first_sentence"]
    assert Report.read(made.to_json()) == made


def test_the_worst_answers_come_first_with_the_right_one_in_its_place() -> None:
    made = report()
    assert made.answers is not None
    assert [one.id for one in made.answers.worst] == ["b", "d", "a"]
    third = made.answers.worst[2]
    assert third.before.startswith("… ")
    assert third.before.endswith("Then ")
    assert (third.answer, third.given) == ("<Bert>", "sang. The")
    assert third.after.startswith(" sang.")
    assert len(third.after) < 300


def test_the_page_shows_texts_as_they_are_and_a_comparison_with_random_weights() -> None:
    page = render(report().adding(comparisons={"from_scratch": {"f1": 0.1, "exact_match": 0.05, "loss": 3.0}}))
    assert "<mark>&lt;Bert&gt;</mark>" in page
    assert "Who &lt;b&gt;danced&lt;/b&gt;?" in page
    assert "From random weights" in page
    assert "Pretraining seems to help: F1 0.417 with it, 0.100 without" in page
    assert "://" not in page.replace("http://www.w3.org", "")
