from typing import Any

import pytest
from pydantic import ValidationError

from components.evaluate.settings import Evaluate, EvaluateSettings, unfit_for
from modelmill.digest import canonical_json
from modelmill.evaluation.checks import Threshold
from modelmill.settings import Task


def read(value: dict[str, Any]) -> EvaluateSettings:
    return EvaluateSettings.model_validate_json(canonical_json({"task": "text-classification", **value}))


def test_a_section_of_a_recipe_is_read() -> None:
    settings = read(
        {
            "thresholds": {"accuracy": {"min": 0.8}, "log_loss": {"max": 1}},
            "must_beat": ["majority", "tfidf"],
            "compare": ["from_scratch"],
        }
    )
    assert settings.thresholds == {"accuracy": Threshold(min=0.8), "log_loss": Threshold(max=1)}
    assert settings.must_beat == ("majority", "tfidf")
    assert read(settings.model_dump(mode="json")) == settings


def test_left_out_nothing_is_asked_but_to_beat_the_majority_class() -> None:
    assert (Evaluate().thresholds, Evaluate().must_beat, Evaluate().compare) == ({}, ("majority",), ())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"thresholds": {"acuracy": {"min": 0.8}}}, "Input should be 'accuracy', 'balanced_accuracy'"),
        ({"thresholds": {"accuracy": {"min": 80}}}, "accuracy: 80 is out of its range, which is 0 to 1"),
        ({"thresholds": {"accuracy": {"min": -0.1}}}, "accuracy: -0.1 is out of its range"),
        ({"thresholds": {"accuracy": {"max": 0.8}}}, "accuracy: better when higher: write {min: …}"),
        ({"thresholds": {"log_loss": {"min": 0.8}}}, "log_loss: better when lower: write {max: …}"),
        ({"thresholds": {"log_loss": {"max": -1}}}, "log_loss: -1 is out of its range, which is 0 and up"),
        ({"thresholds": {"r2": {"min": 1.5}}}, "r2: 1.5 is out of its range"),
        ({"thresholds": {"rmse": {"min": 3}}}, "rmse: better when lower: write {max: …}"),
        ({"thresholds": {"accuracy": {}}}, "give either min or max"),
        ({"thresholds": {"accuracy": {"mim": 0.8}}}, "Extra inputs are not permitted"),
        ({"thresholds": {"accuracy": {"min": "0.8"}}}, "Input should be a valid number"),
        ({"must_beat": ["tf-idf"]}, "Input should be 'majority', 'tfidf', 'mean', 'linear'"),
        ({"compare": ["scratch"]}, "Input should be 'from_scratch'"),
        ({"treshold": {}}, "Extra inputs are not permitted"),
        ({"slices": ["a", "b", "a"]}, "a: named 2 times, once is enough"),
        (
            {"slice_thresholds": {"a": {"accuracy": {"min": 0.5}}}},
            "slice_thresholds.a: is none of the slices; write sl",
        ),
        ({"slices": ["a"], "slice_thresholds": {"a": {"accuracy": {"min": 5}}}}, "accuracy: 5 is out of its range"),
        ({"against_champion": {"wants": "not_worse"}}, "wants not_worse: says by how much, as in {wants: not_worse"),
        ({"against_champion": {"margin": -0.1}}, "greater than or equal to 0"),
        ({"against_champion": {"confidence": 1.0}}, "less than 1"),
        ({"against_champion": {"wants": "equal"}}, "Input should be 'better' or 'not_worse'"),
        ({"subject": "from_scratch"}, "thresholds, must_beat and compare must be empty"),
        ({"subject": "from_scratch", "must_beat": [], "robustness": ["typos"]}, "compare must be empty, as all else"),
        ({"robustness": ["typoes"]}, "Input should be 'typos', 'truncation'"),
        ({"explain": 51}, "less than or equal to 50"),
        ({"cost": "yes"}, "Input should be a valid boolean"),
        ({"thresholds": {"size_mb": {"min": 3}}}, "size_mb: better when lower: write {max: …}"),
    ],
)
def test_a_wrong_setting_is_refused(value: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read(value)
    assert said in str(caught.value)


def test_cost_is_measured_where_a_threshold_needs_it() -> None:
    assert read({"thresholds": {"size_mb": {"max": 9}}}).measures_cost
    assert read({"cost": True}).measures_cost
    assert not read({"thresholds": {"accuracy": {"min": 0.5}}}).measures_cost


def test_the_comparison_is_asked_nothing() -> None:
    assert read({"subject": "from_scratch", "must_beat": []}).subject == "from_scratch"


def test_slices_and_the_champion_are_read() -> None:
    asked = {"metric": "f1_macro", "wants": "not_worse", "margin": 0.01, "slice_margin": 0.05}
    told = {"slices": ["street"], "slice_thresholds": {"street": {"accuracy": {"min": 0.7}}}, "against_champion": asked}
    found = read(told)
    assert found.slice_thresholds == {"street": {"accuracy": Threshold(min=0.7)}}
    assert (found.against_champion.margin, found.against_champion.confidence) == (0.01, 0.95)
    assert (Evaluate().slices, Evaluate().against_champion.wants) == ((), "better")


@pytest.mark.parametrize(
    ("task", "value", "said"),
    [
        (
            "table-regression",
            {"thresholds": {"accuracy": {"min": 0.8}}},
            "evaluate.thresholds.accuracy: is no figure of",
        ),
        ("table-classification", {"thresholds": {"r2": {"min": 0.8}}}, "evaluate.thresholds.r2: is no figure of"),
        ("text-classification", {"must_beat": ["linear"]}, "linear is no baseline of text-classification"),
        ("table-classification", {"must_beat": ["tfidf"]}, "tfidf is no baseline of table-classification"),
        ("table-regression", {"must_beat": ["majority", "linear"]}, "majority is no baseline of table-regression"),
        ("table-regression", {"thresholds": {"r2": {"min": -0.5}, "rmse": {"max": 1e6}}, "must_beat": ["linear"]}, ""),
        ("table-regression", {}, ""),
        (
            "table-regression",
            {"slices": ["a"], "slice_thresholds": {"a": {"accuracy": {"min": 0.5}}}},
            "evaluate.slice_thresholds.a.accuracy: is no figure of table-regression",
        ),
        (
            "table-regression",
            {"against_champion": {"metric": "accuracy"}},
            "against_champion.metric: accuracy is no fi",
        ),
        ("text-classification", {"must_beat": ["tfidf"]}, ""),
        ("pair-classification", {"must_beat": ["tfidf"], "thresholds": {"accuracy": {"min": 0.5}}}, ""),
        ("pair-classification", {"must_beat": ["linear"]}, "linear is no baseline of pair-classification"),
        ("pair-classification", {"robustness": ["typos", "case"], "explain": 3, "cost": True}, ""),
        ("text-classification", {"robustness": ["blur"]}, "blur is no change to the rows of text-classification, for"),
        ("image-classification", {"robustness": ["blur", "fgsm"], "thresholds": {"latency_p99_ms": {"max": 9}}}, ""),
        ("image-classification", {"robustness": ["missing"]}, "there are noise, blur, brightness, rotation, fgsm"),
        ("table-regression", {"robustness": ["noise", "missing", "fgsm"], "explain": 2}, ""),
        ("question-answering", {"robustness": ["typos", "case"], "must_beat": []}, ""),
        ("sequence-to-sequence", {"robustness": ["truncation"], "must_beat": []}, ""),
        ("masked-lm", {"robustness": ["typos"], "must_beat": []}, "for which there is none; leave it out"),
        ("sequence-to-sequence", {"explain": 1, "must_beat": []}, "answers of sequence-to-sequence are not explained"),
        ("sequence-to-sequence", {"cost": True, "thresholds": {"size_mb": {"max": 9}}}, ""),
        ("causal-lm", {"cost": True, "must_beat": [], "thresholds": {"latency_p99_ms": {"max": 9}}}, ""),
    ],
)
def test_what_a_task_has_not_is_told(task: Task, value: dict[str, Any], said: str) -> None:
    found = unfit_for(task, read(value))
    assert found.find(said) >= 0 if said else not found, found


def test_figures_and_baselines_of_answers_are_for_questions_alone() -> None:
    squad = Evaluate.model_validate({"thresholds": {"f1": {"min": 0.5}}, "must_beat": ("sliding_window",)})
    assert not unfit_for("question-answering", squad)
    assert not unfit_for("question-answering", Evaluate())
    assert "thresholds.f1: is no figure of text-classification" in unfit_for("text-classification", squad)
    wrong = Evaluate.model_validate({"thresholds": {"accuracy": {"min": 0.5}}})
    assert "whose figures are exact_match, f1" in unfit_for("question-answering", wrong)
    wrong = Evaluate.model_validate({"must_beat": ("tfidf",)})
    assert "whose baselines are first_sentence, sliding_window" in unfit_for("question-answering", wrong)
