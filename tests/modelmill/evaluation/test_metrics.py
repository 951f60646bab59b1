import numpy as np
import pytest
import sklearn.metrics as theirs
from hypothesis import given
from hypothesis import strategies as st

from modelmill.evaluation import metrics
from modelmill.evaluation.metrics import Floats, Labels
from tests.modelmill.evaluation.made import guesses

# 10 rows of a label, 8 found; 6 of the other, 3 found.
TABLE = np.array([[8, 2], [3, 3]])


@st.composite
def measured(draw: st.DrawFn) -> tuple[Labels, Floats]:
    labels = draw(st.integers(2, 5))
    truth = np.array(draw(st.lists(st.integers(0, labels - 1), min_size=2, max_size=30)))
    odds = np.array(
        draw(st.lists(st.integers(1, 50), min_size=len(truth) * labels, max_size=len(truth) * labels)), dtype=np.float64
    ).reshape(len(truth), labels)
    return truth, odds / odds.sum(axis=1, keepdims=True)


def test_figures_agree_with_a_table_computed_by_hand() -> None:
    figures = {name: float(value[0]) for name, value in metrics.of_confusion(TABLE[None]).items()}
    assert figures == pytest.approx(
        {
            "accuracy": 11 / 16,
            "balanced_accuracy": (8 / 10 + 3 / 6) / 2,
            "precision_macro": (8 / 11 + 3 / 5) / 2,
            "recall_macro": (8 / 10 + 3 / 6) / 2,
            "f1_macro": (16 / 21 + 6 / 11) / 2,
        }
    )
    by_label = metrics.per_class(TABLE)
    assert by_label["precision"] == pytest.approx([8 / 11, 3 / 5])
    assert by_label["recall"] == pytest.approx([0.8, 0.5])
    assert by_label["f1"] == pytest.approx([16 / 21, 6 / 11])


@given(measured())
def test_figures_are_scikit_learns(case: tuple[Labels, Floats]) -> None:
    truth, probability = case
    labels = list(range(probability.shape[1]))
    predicted = probability.argmax(axis=1)
    found = metrics.score(truth, probability)
    assert metrics.confusion_matrix(truth, predicted, len(labels)).tolist() == (
        theirs.confusion_matrix(truth, predicted, labels=labels).tolist()
    )
    wanted = {
        "accuracy": theirs.accuracy_score(truth, predicted),
        # The mean recall of the labels that are there; scikit-learn's own function warns where one is not.
        "balanced_accuracy": theirs.recall_score(truth, predicted, labels=np.unique(truth), average="macro"),
        "log_loss": theirs.log_loss(truth, probability, labels=labels),
        "brier_score_loss": theirs.brier_score_loss(truth, probability, labels=labels),
    }
    for name in ("precision", "recall", "f1"):
        score = getattr(theirs, f"{name}_score")
        wanted[f"{name}_macro"] = score(truth, predicted, labels=labels, average="macro", zero_division=0)
    if len(labels) == 2 and len(np.unique(truth)) == 2:
        wanted["roc_auc"] = theirs.roc_auc_score(truth, probability[:, 1])
        wanted["average_precision"] = theirs.average_precision_score(truth, probability[:, 1])
    assert found == pytest.approx(wanted, abs=1e-6)


@given(measured(), st.randoms())
def test_naming_the_labels_in_another_order_changes_no_figure(case: tuple[Labels, Floats], random: object) -> None:
    truth, probability = case
    order = np.arange(probability.shape[1])
    random.shuffle(order)  # type: ignore[attr-defined]
    # A tie goes to the first label, whichever that is: keep the cases without one.
    probability = probability + np.linspace(0, 1e-3, probability.shape[1])
    probability /= probability.sum(axis=1, keepdims=True)
    renamed = np.argsort(order)[truth]
    before, after = metrics.score(truth, probability), metrics.score(renamed, probability[:, order])
    # That of the second label, whichever that is.
    assert before.pop("average_precision", None) is None or after.pop("average_precision") > 0
    assert after == pytest.approx(before, abs=1e-6)


def test_perfect_predictions_are_perfect_by_every_figure() -> None:
    truth = np.array([0, 1, 2, 1, 0])
    found = metrics.score(truth, np.eye(3)[truth])
    assert found.pop("log_loss") == pytest.approx(0, abs=1e-6)
    assert found.pop("brier_score_loss") == 0
    assert set(found.values()) == {1.0}


def test_a_certain_mistake_costs_a_finite_loss() -> None:
    losses = metrics.row_losses(np.array([0, 1]), np.array([[0.0, 1.0], [0.5, 0.5]]))
    assert losses == pytest.approx([36.04365, 0.693147], abs=1e-5)


def test_roc_auc_is_left_out_where_only_one_label_is_there() -> None:
    _, probability = guesses(6)
    assert "roc_auc" not in metrics.score(np.zeros(6, dtype=np.int64), probability)


def test_the_f1_of_each_label_has_its_name_and_is_scikit_learns() -> None:
    truth_N = np.array([0, 1, 1, 2, 2, 2])
    probability_NL = np.eye(3)[[0, 1, 0, 2, 2, 1]]
    wanted_L = theirs.f1_score(truth_N, [0, 1, 0, 2, 2, 1], average=None)
    found = metrics.f1_by_label(truth_N, probability_NL, ["ham", "spam", "a,b (c)"])
    assert list(found) == ["f1_ham", "f1_spam", "f1_a_b _c_"]
    assert list(found.values()) == pytest.approx(list(wanted_L), abs=1e-6)
    many = [str(number) for number in range(21)]
    assert metrics.f1_by_label(np.array([0]), np.eye(21)[:1], many) == {}
