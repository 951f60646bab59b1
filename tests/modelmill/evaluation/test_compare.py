"""Two models on the same rows: what is shown, what cannot be compared, and what the verdict says of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.simulated import SCENARIOS, share, slack
from modelmill.dataset import encode
from modelmill.errors import ModelmillError
from modelmill.evaluation import paired
from modelmill.evaluation.compare import Measured, NotComparable, compare, holm
from modelmill.evaluation.comparison import AgainstChampion
from modelmill.evaluation.document import Report
from modelmill.evaluation.judge import judge
from modelmill.evaluation.report import render
from modelmill.evaluation.verdict import verdict
from modelmill.models.folder import save_files
from modelmill.store import open_store
from tests.modelmill.evaluation import made

ASKED = AgainstChampion()


def classes(skill: float, rows: int = 600, seed: int = 0, slices: bool = True, **changed: Any) -> Measured:
    truth, _ = made.guesses(rows)
    scores = np.random.default_rng(seed).normal(size=(rows, 2))
    scores[np.arange(rows), truth] += skill
    odds = np.exp(scores)
    probability = odds / odds.sum(axis=1, keepdims=True)
    columns = {
        "id": [f"{row:032x}" for row in range(rows)],
        "label": pa.array(truth, pa.int32()),
        "predicted": pa.array(probability.argmax(axis=1), pa.int32()),
        "probability": pa.FixedSizeListArray.from_arrays(pa.array(probability.astype(np.float32).ravel()), 2),
    }
    if slices:
        columns["slice.street"] = ["north" if row < 20 else "south" if row < 200 else "west" for row in range(rows)]
    return Measured(report=made.report(rows, skill=skill, at_least=None).adding(**changed), table=pa.table(columns))


def numbers(noise: float, rows: int = 300, seed: int = 0, truth: Any = None) -> Measured:
    generator = np.random.default_rng(7)
    told = truth if truth is not None else generator.normal(size=rows) * 3 + 20
    predicted = told + noise * np.random.default_rng(seed).normal(size=rows)
    table = pa.table({"id": [f"{row:032x}" for row in range(rows)], "target": told, "predicted": predicted})
    return Measured(report=made.numbers_report(rows), table=table)


def _with(model: Measured, given: Any) -> Measured:
    """Return a model whose predicted labels are others."""
    place = model.table.column_names.index("predicted")
    return Measured(report=model.report, table=model.table.set_column(place, "predicted", pa.array(given, pa.int32())))


def test_wider_intervals_are_not_better_ones() -> None:
    narrow, wide = (
        Measured(
            report=model.report,
            table=model.table.append_column("low", pa.array(model.table["predicted"].to_numpy() - width))
            .append_column("high", pa.array(model.table["predicted"].to_numpy() + width)),
        )
        for model, width in ((numbers(1.0), 0.5), (numbers(1.0), 3.0))
    )  # fmt: skip
    found = {one.metric: one for one in compare(narrow, wide, ASKED, "3").differences}["interval_coverage"]
    assert found.low > 0.5
    assert found.better is None


def test_a_better_classifier_is_shown_to_be_better() -> None:
    first, second = classes(1.0, seed=1), classes(2.0, seed=2)
    found = compare(first, second, ASKED, "3")
    assert found.outcome == "better"
    assert (found.metric, found.rows) == ("accuracy", 600)
    assert found.gained is not None
    assert found.lost is not None
    assert found.p == pytest.approx(float(paired.mcnemar(found.gained, found.lost)), rel=1e-4)
    assert {one.metric for one in found.differences} >= {"accuracy", "f1_macro", "log_loss", "roc_auc"}
    losses = next(one for one in found.differences if one.metric == "log_loss")
    assert losses.better is True
    assert losses.low <= losses.difference <= losses.high < 0
    decided = verdict((), "version 3", rows=600, comparison=found)
    assert decided.decision == "promote"
    assert decided.reasons[0].startswith("Better than version 3. Accuracy 0.")
    assert "McNemar's exact p < 0.001" in decided.reasons[0]


def test_a_worse_one_is_held() -> None:
    found = compare(classes(2.0, seed=1), classes(1.0, seed=2), ASKED, "3")
    assert found.outcome == "worse"
    assert verdict((), "version 3", rows=600, comparison=found).decision == "hold"


def test_what_is_shown_neither_way_is_undecided_and_says_what_would_be() -> None:
    found = compare(classes(1.5, seed=1, slices=False), classes(1.56, seed=2, slices=False), ASKED, "3")
    assert found.outcome == "open"
    decided = verdict((), "version 3", rows=600, comparison=found)
    assert decided.decision == "undecided"
    assert found.smallest is not None
    assert "These 600 rows show a gain of 0.0" in decided.reasons[1]
    assert decided.reasons[-1] == "version 3 stays the champion."


def test_within_the_margin_is_enough_only_where_a_recipe_says_so() -> None:
    first, second = classes(1.5, rows=4000, seed=1), classes(1.5, rows=4000, seed=2)
    wants = {"wants": "not_worse", "margin": 0.05}
    not_worse = compare(first, second, AgainstChampion.model_validate(wants), "3")
    assert not_worse.outcome == "not_worse"
    assert verdict((), "version 3", rows=4000, comparison=not_worse).decision == "promote"
    better = compare(first, second, AgainstChampion(margin=0.05), "3")
    decided = verdict((), "version 3", rows=4000, comparison=better)
    assert decided.decision == "undecided"
    assert decided.reasons[0].startswith("Not worse than version 3 by more than 0.050, but not shown to be better.")


def test_numbers_are_compared_by_the_bootstrap() -> None:
    found = compare(numbers(1.0, seed=1), numbers(0.5, seed=2), ASKED, "3")
    assert (found.metric, found.outcome, found.gained) == ("r2", "better", None)
    rmse = next(one for one in found.differences if one.metric == "rmse")
    assert rmse.better is True
    assert found == compare(numbers(1.0, seed=1), numbers(0.5, seed=2), ASKED, "3")


def test_a_slice_that_is_shown_to_be_worse_holds_a_better_model() -> None:
    first, second = classes(1.0, rows=3000, seed=1), classes(2.5, rows=3000, seed=2)
    given = second.table["predicted"].to_numpy().copy()
    given[20:200] = 1 - second.table["label"].to_numpy()[20:200]
    found = compare(first, _with(second, given), ASKED, "3")
    assert found.outcome == "better"
    assert [(one.value, one.few, one.shown) for one in found.slices] == [
        ("north", True, False), ("south", False, True), ("west", False, False)
    ]  # fmt: skip
    decided = verdict((), "version 3", rows=3000, comparison=found)
    assert decided.decision == "hold"
    assert "Shown to be worse, corrected for 2 slices (Holm), where street is south" in " ".join(decided.reasons)
    assert "1 slice has too few rows to be judged: street is north (20)." in decided.reasons


def test_with_a_margin_every_slice_must_be_shown_not_to_lose_more() -> None:
    first, second = classes(1.0, seed=1), classes(2.0, seed=2)
    tight = compare(first, second, AgainstChampion(slice_margin=0.0), "3")
    assert verdict((), "version 3", rows=600, comparison=tight).decision == "promote"
    given = second.table["predicted"].to_numpy().copy()
    given[20:200] = first.table["predicted"].to_numpy()[20:200]
    alike = compare(first, _with(second, given), AgainstChampion(slice_margin=0.0), "3")
    assert alike.outcome == "better"
    assert [(one.value, one.shown) for one in alike.slices] == [("north", False), ("south", False), ("west", True)]
    decided = verdict((), "version 3", rows=600, comparison=alike)
    assert decided.decision == "undecided"
    assert "Not shown to lose no more than 0.000, corrected for 2 slices (Holm), where street is" in decided.reasons[1]


def test_holm_s_correction_stops_at_the_first_that_is_not_refused() -> None:
    assert holm([0.01, 0.04, None, 0.005], 0.05) == [True, True, False, True]
    assert holm([0.02, 0.04, 0.03], 0.05) == [False, False, False]
    assert holm([], 0.05) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"labels": ["bad", "good"]}, r"the champion has the labels \['bad', 'good'\], this model \['negative'"),
        ({"task": "pair-classification"}, "the champion has the task pair-classification, this model text-classif"),
        ({"dataset": "datasets/" + "c" * 64}, "the champion has the rows datasets/cccc"),
    ],
)
def test_models_of_other_things_are_not_compared(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(NotComparable, match=said):
        compare(classes(1.0, **changed), classes(1.5), ASKED, "3")


def test_predictions_that_are_no_numbers_are_told() -> None:
    with pytest.raises(NotComparable, match="this model gave no finite number for 300 of 300 rows"):
        compare(numbers(1.0), numbers(float("nan")), ASKED, "3")


def test_tables_of_other_rows_are_a_fault() -> None:
    first, second = classes(1.0), classes(1.5)
    with pytest.raises(ModelmillError, match="599 predictions of the champion and 600 of this model"):
        compare(Measured(report=first.report, table=first.table.slice(1)), second, ASKED, "3")
    turned = Measured(report=first.report, table=first.table.take(list(range(600))[::-1]))
    with pytest.raises(ModelmillError, match="600 of 600 predictions of the two models are of other rows"):
        compare(turned, second, ASKED, "3")
    other = numbers(1.0).table["target"].to_numpy().copy()
    other[5] += 1
    with pytest.raises(ModelmillError, match="1 of 300 predictions"):
        compare(numbers(1.0, truth=other), numbers(1.0), ASKED, "3")


def test_too_few_rows_and_rows_of_one_label_decide_nothing() -> None:
    assert verdict((), None, rows=9).decision == "undecided"
    assert verdict((), None, rows=10).decision == "promote"
    found = compare(classes(0.1, rows=29, seed=1), classes(9.0, rows=29, seed=2), ASKED, "3")
    assert found.outcome == "better"
    decided = verdict((), "version 3", rows=29, comparison=found)
    assert decided.decision == "undecided"
    assert decided.reasons[0].startswith("29 test rows are too few to decide on, at least 30 are needed")
    report = made.report(at_least=None)
    alone = [one.model_copy(update={"rows": 200 * place}) for place, one in enumerate(report.per_class)]
    told = verdict((), None, rows=200, labels=alone)
    assert told.decision == "undecided"
    assert told.reasons[0].startswith("All 200 test rows carry the label 'positive', which says nothing about")


def _kept(store: Any, model: Measured) -> str:
    files = {"report.json": model.report.to_json().encode(), "predictions.parquet": encode(model.table)}
    return save_files(store, "reports", files, {"kind": "report"})


def test_the_champion_is_judged_from_its_report_in_the_store(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    first, second = classes(1.0, seed=1), classes(2.0, seed=2)
    theirs, ours = _kept(store, first), _kept(store, second)

    def decide(champion: str | None, measured: str, version: str, other: Measured = second) -> tuple[str, str]:
        found, _ = judge(store, other.report, ours, champion=champion, measured=measured, version=version)
        return found.decision, found.reasons[0]

    assert decide(None, "", "") == ("promote", "No other version is champion.")
    assert decide("3", theirs, "3")[0] == "promote"
    assert decide("3", "", "") == (
        "undecided", "version 3 stays the champion: the two models have not been compared on the same rows."
    )  # fmt: skip
    assert "it became champion while this model was compared with version 3" in decide("4", theirs, "3")[1]
    strange = _kept(store, classes(1.0, seed=1, labels=["x", "y"]))
    decision, said = decide("3", strange, "3")
    assert decision == "undecided"
    assert "the two models cannot be compared: the champion has the labels ['x', 'y']" in said


def test_the_page_shows_both_models_and_the_slices() -> None:
    first, second = classes(1.0, seed=1), classes(2.0, seed=2)
    found = compare(first, second, ASKED, "3")
    part = {"column": "street", "value": "<b>north</b>", "rows": 20, "few": True, "main": "accuracy"}
    report = second.report.adding(
        comparison=found,
        verdict=verdict((), "version 3", rows=600, comparison=found),
        slices=[{**part, "metrics": {"accuracy": 0.8}, "interval": [0.6, 0.9]}, {**part, "rows": 0, "metrics": {}}],
    )
    html = render(Report.read(report.to_json()))
    assert html.index('id="verdict"') < html.index("Beside the champion, version 3") < html.index('id="slices"')
    assert "&lt;b&gt;north&lt;/b&gt;" in html
    assert "no rows" in html
    assert html.count('class="bar difference better"') >= 1


LONG = {
    "equal, macro F1, 40 rows", "equal, macro F1, 200 rows", "equal, R², rare huge errors of the challenger, 1000 rows"
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in SCENARIOS]
)
def test_the_rule_errs_no_more_often_than_it_states(name: str) -> None:
    scenario, repetitions = SCENARIOS[name], 500
    passed = share(scenario, repetitions)
    if scenario.at_most is not None:
        assert passed <= scenario.at_most + slack(scenario.at_most, repetitions)
    if scenario.at_least is not None:
        assert passed >= scenario.at_least - slack(scenario.at_least, repetitions)
