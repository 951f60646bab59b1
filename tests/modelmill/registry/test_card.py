"""The model card: facts of the report and nothing else, the same bytes each time."""

from pathlib import Path
from typing import Any

import pytest

from modelmill.evaluation.document import Report
from modelmill.evaluation.verdict import verdict
from modelmill.registry.card import card, description
from tests.modelmill.evaluation import made
from tests.modelmill.evaluation.made_probes import probes

FACTS: dict[str, Any] = {"task": "text-classification", "labels": ["negative", "positive"]}
HOSTILE = "<img src=x>| `a` [b](c)\n# d"


def full() -> Report:
    report = made.report()
    part = {"column": "length", "value": "short", "rows": 40, "few": False, "main": "accuracy"}
    sources = [
        {"name": "package://a/b.csv", "dataset": "labelled", "read": 300, "kept": 250, "dropped": {"empty": 50}},
        {"name": "s3://c/d.csv", "dataset": "corpus", "read": 9, "kept": 9, "dropped": {}, "licence": "CC-BY-4.0"},
    ]
    return report.adding(
        verdict=verdict(report.checks, None),
        comparison=made.beside(),
        probes=probes("text"),
        slices=[
            {**part, "metrics": {"accuracy": 0.9}, "interval": [0.8, 0.95]},
            {**part, "value": "long", "metrics": {"accuracy": 0.5}, "interval": [0.4, 0.6]},
            {**part, "value": "tiny", "rows": 3, "few": True, "metrics": {"accuracy": 0.0}},
        ],
        training={"finetune": {"epochs": 2, "lr": 8e-5, "tokens_per_second": 1234.5}},
        lineage={"labelled": "datasets/" + "b" * 64, "finetune": {"base": "models/" + "c" * 64}},
        data={"splits": {"train": {"rows": 1600}, "test": {"rows": 200}}, "sources": sources},
        registered={"name": "reviews", "version": "4", "aliases": ["challenger"]},
    )


def lines(text: str, begin: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(begin)]


def test_the_card_says_all_that_is_known() -> None:
    report = full()
    text = card(report, FACTS, "reviews")
    low, high = report.intervals["accuracy"]
    value = report.metrics["test"]["accuracy"]
    tfidf = report.metrics["tfidf"]["accuracy"]
    for said in (
        "# reviews",
        "text classification into 2 labels: negative, positive",
        'mlflow.pyfunc.load_model("models:/reviews/4")',
        "`modelmill predict models:/reviews/4 INPUT`",
        "It takes raw input: text (string).",
        f"| accuracy | {value:.3f} | {low:.3f} to {high:.3f} |",
        f"| {tfidf:.3f} |",
        "champion, version 3",
        "| `package://a/b.csv` | labelled | 300 | 250 | not stated |",
        "| `s3://c/d.csv` | corpus | 9 | 9 | CC-BY-4.0 |",
        "| train | 1,600 |",
        "| length: long | 40 | 0.500 | 0.400 to 0.600 |",
        "length is tiny (3)",
        "Under typos",
        "| finetune | epochs | 2 |",
        "## Cost",
        "| finetune › base | `models/" + "c" * 64 + "` |",
        "| model | `" + report.model + "` |",
    ):
        assert said in text, said
    # The worst part first, and none that is too small to be judged.
    assert [line.split("|")[1].strip() for line in lines(text, "| length: ")] == ["length: long", "length: short"]
    assert text == card(Report.read(report.to_json()), FACTS, "reviews")


def test_what_was_not_measured_is_said() -> None:
    text = card(made.report(rows=40), FACTS, "reviews")
    (said,) = lines(text, "- Not measured: ")
    for missing in ("champion", "slices", "robustness", "explanations", "cost"):
        assert missing in said
    assert "## Cost" not in text
    assert "is known to within" in text
    (few,) = lines(text, "- Labels with fewer than 30 test rows")
    assert "negative (" in few
    (measured,) = lines(card(full(), FACTS, "reviews"), "- Not measured") or [""]
    assert measured == ""


def test_what_comes_from_data_is_shown_as_it_stands() -> None:
    report = made.report(labels=(HOSTILE, "b", "c")).adding(lineage={HOSTILE: HOSTILE}, training={"a": {"b": HOSTILE}})
    text = card(report, {"task": "text-classification", "labels": [HOSTILE, "b", "c"]}, "reviews")
    assert "<img" not in text.replace("\\<img", "").replace("`<img", "")
    assert "](c)" not in text.replace("\\](c)", "").replace("[b](c)", "")
    assert not lines(text, "# d")


def test_the_description_is_short_and_true() -> None:
    report = full()
    said = description(report)
    assert said.startswith("Verdict: promote. Accuracy ")
    assert f"{report.metrics['test']['accuracy']:.3f}" in said
    assert "Beside version 3: accuracy 0.800 beside its 0.700." in said
    assert len(said) < 500


@pytest.mark.parametrize("kind", ["numbers", "targets"])
def test_other_tasks_have_a_card_too(kind: str) -> None:
    if kind == "numbers":
        report = made.numbers_report().adding(ask='{"rooms": 3, "street": "south"}')
        facts = {"task": report.task, "features": {"rooms": "integer", "street": "category"}, "target": "price"}
        text = card(report, facts, "houses")
        assert 'model.predict(pandas.DataFrame([{"rooms": 3, "street": \'south\'}]))' in text
        assert "| R² |" in text
        assert "any may be missing" in text
    else:
        text = card(made.targets_report(), {"task": "sequence-to-sequence"}, "replies")
        assert "It answers with answer" in text
        assert "| chrF |" in text


@pytest.mark.parametrize("ask", ["{not JSON", "[1]", "what is {this}?"])
def test_a_row_that_is_a_text_is_shown_by_its_column(ask: str) -> None:
    text = card(made.targets_report().adding(ask=ask), {"task": "sequence-to-sequence"}, "replies")
    assert "pandas.DataFrame([{\"text\": '…'}])" in text


def test_no_clock_and_no_folder_is_in_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = card(full(), FACTS, "reviews")
    monkeypatch.chdir(tmp_path)
    assert card(full(), FACTS, "reviews") == before
