import pytest
from pydantic import ValidationError

from modelmill.evaluation.checks import Threshold, checks, figures_apart

METRICS = {
    "test": {"accuracy": 0.858, "f1_macro": 0.857, "log_loss": 0.41},
    "majority": {"accuracy": 0.512},
    "tfidf": {"accuracy": 0.796},
}
INTERVALS = {"accuracy": (0.835, 0.878), "f1_macro": (0.834, 0.879), "log_loss": (0.37, 0.45)}


@pytest.mark.parametrize(
    ("metric", "threshold", "passed", "sentence"),
    [
        (
            "accuracy",
            Threshold(min=0.8),
            True,
            "Accuracy 0.858 meets the wanted 0.800: its 95 % interval over 1,032 rows begins at 0.835.",
        ),
        ("accuracy", Threshold(min=0.835), True, "begins at 0.835."),
        (
            "accuracy",
            Threshold(min=0.84),
            False,
            "Accuracy 0.858 would meet the wanted 0.840, but its 95 % interval over 1,032 rows begins at 0.835; more",
        ),
        ("accuracy", Threshold(min=0.9), False, "Accuracy 0.858 over 1,032 rows is below the wanted 0.900."),
        ("f1_macro", Threshold(min=0.8), True, "Macro F1 0.857 meets"),
        ("log_loss", Threshold(max=0.5), True, "Log loss 0.410 meets the wanted 0.500: its 95 % interval over 1,032"),
        ("log_loss", Threshold(max=0.43), False, "ends at 0.450; more test rows"),
        ("log_loss", Threshold(max=0.4), False, "Log loss 0.410 over 1,032 rows is above the wanted 0.400."),
    ],
)
def test_a_threshold_is_decided_on_the_end_of_the_interval(
    metric: str, threshold: Threshold, passed: bool, sentence: str
) -> None:
    check = checks(METRICS, INTERVALS, {metric: threshold}, [], 1032)[0]  # type: ignore[dict-item]
    assert check.passed is passed
    assert sentence in check.sentence
    assert check.bound == INTERVALS[metric][0 if threshold.min is not None else 1]


def test_the_majority_class_is_to_be_beaten_whether_or_not_it_is_asked_for() -> None:
    (majority,) = checks(METRICS, INTERVALS, {}, [], 1032)
    assert (majority.against, majority.passed, majority.wanted) == ("majority", True, 0.512)
    assert majority.sentence == "Accuracy 0.858 beats the majority class's 0.512 on the same 1,032 rows."
    assert [check.against for check in checks(METRICS, INTERVALS, {}, ["tfidf"], 1032)] == ["majority", "tfidf"]


def test_a_model_without_baselines_answers_to_none() -> None:
    assert checks({"test": METRICS["test"]}, INTERVALS, {}, ["majority"], 1032) == []


@pytest.mark.parametrize(
    ("ours", "said"),
    [
        (0.7, "Accuracy 0.700 does not beat the tf-idf baseline's 0.796 on the same 1,032 rows."),
        (0.796, "Accuracy 0.796 only equals the tf-idf baseline on the same 1,032 rows."),
        (0.7956, "Accuracy 0.7956 does not beat the tf-idf baseline's 0.7960 on the same 1,032 rows."),
    ],
)
def test_a_model_must_be_better_than_a_baseline_not_just_as_good(ours: float, said: str) -> None:
    metrics = {**METRICS, "test": {"accuracy": ours}}
    check = checks(metrics, INTERVALS, {}, ["tfidf"], 1032)[-1]
    assert not check.passed
    assert check.sentence == said


def test_different_figures_never_look_the_same() -> None:
    assert figures_apart(0.8, 0.8) == ("0.800", "0.800")
    assert figures_apart(0.79961, 0.8) == ("0.7996", "0.8000")
    assert figures_apart(0.799999, 0.8) == ("0.799999", "0.800000")


@pytest.mark.parametrize("sides", [{}, {"min": 0.1, "max": 0.2}])
def test_a_threshold_has_one_side(sides: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="give either min or max"):
        Threshold(**sides)
