"""Answers are learned, measured as they are served, and refused where they cannot be."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.evaluate.run import run as evaluate
from components.evaluate.settings import EvaluateSettings
from components.finetune.run import run
from components.finetune.settings import FinetuneSettings
from modelmill.errors import Interrupted, ModelmillError, UserError
from modelmill.evaluation.document import Report
from modelmill.models.folder import fetch_model, read_files
from modelmill.models.interface import answers, interface
from modelmill.models.predict import load_predictor
from modelmill.store import Store, open_store
from tests import questions, samples


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def settings(**changes: Any) -> FinetuneSettings:
    told = {
        "task": questions.TASK,
        "model": {"layers": 1, "width": 32, "heads": 2},
        "epochs": 5,
        "lr": 0.01,
        "batch_rows": 16,
        "precision": "fp32",
        "max_tokens": 20,
        "questions": {"stride": 4, "max_question_tokens": 5},
        **changes,
    }
    return FinetuneSettings.model_validate(told)


def long_rows(count: int, seed: int) -> list[questions.Row]:
    return questions.rows(count, seed, unanswerable=0.2, filler=14)


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_answers_are_learned_over_several_windows_and_measured_as_served(
    store: Store, tmp_path: Path, family: str
) -> None:
    same = long_rows(40, 2)
    given = {"train": long_rows(160, 1), "validation": same, "test": same}
    address, made = questions.tokens(store, tmp_path, given)
    told = settings(model={"family": family, "layers": 1, "width": 32, "heads": 2})
    out = run(samples.step_of(store, tmp_path, "finetune"), told, made.labelled, "", "")
    assert out.summary["windows_per_question"] > 1.2
    assert out.summary["validation_f1"] > 0.9

    wanted = EvaluateSettings(task=questions.TASK, thresholds={"f1": {"min": 0.7}}, must_beat=("sliding_window",))  # type: ignore[dict-item]
    measured = evaluate(samples.step_of(store, tmp_path, "evaluate"), wanted, out.model, address)
    files, _ = read_files(store, measured.report)
    report = Report.read(files["report.json"])
    assert json.loads(report.ask).keys() == {"question", "context"}
    test = report.metrics["test"]
    # The same rows, once as training sees them and once as they are served.
    assert test["f1"] == pytest.approx(out.summary["validation_f1"], abs=1e-5)
    assert test["exact_match"] == pytest.approx(out.summary["validation_exact_match"], abs=1e-5)
    assert test["loss"] == pytest.approx(out.summary["validation_loss"], rel=1e-3)
    assert all(check.passed for check in report.checks)
    assert {check.against for check in report.checks} == {None, "sliding_window", "first_sentence"}
    assert report.answers is not None
    parts = report.answers.parts
    assert parts["answerable"].rows + parts["unanswerable"].rows == 40
    assert parts["unanswerable"].rows == sum(not row["answers"] for row in same)
    assert "Sliding window" in files["report.html"].decode()
    (tmp_path / "predictions.parquet").write_bytes(files["predictions.parquet"])
    table = pq.read_table(tmp_path / "predictions.parquet").to_pylist()
    for answer, row in zip(table, same, strict=True):
        assert answer["answer"] == (row["context"][answer["start"] : answer["end"]] if answer["start"] >= 0 else "")
    assert np.mean([answer["f1"] for answer in table]) == pytest.approx(test["f1"], abs=1e-5)

    folder = tmp_path / "model"
    facts = fetch_model(store, out.model, folder)
    assert facts["questions"]["stride"] == 4
    assert facts["unanswerable"] is True
    predictor = load_predictor(folder)
    raw = {"question": "what is red?", "context": "the <b>film</b>   of * The house * a plot."}
    (found,) = answers((), predictor.predict([raw]))
    assert found["answer"] == raw["context"][found["start"] : found["end"]] == "The house"
    assert interface(facts).columns == {"question": "string", "context": "string"}
    with pytest.raises(UserError, match="a row has no context"):
        predictor.predict([{"question": "what?", "context": " "}])


@pytest.mark.parametrize(
    "told",
    [
        {"strategy": {"name": "lora", "rank": 4}, "micro_rows": 5},
        {"strategy": {"name": "last", "layers": 1}, "model": {"layers": 2, "width": 16, "heads": 2}},
        {"layer_decay": 0.7, "gradual": True},
    ],
    ids=["lora", "last", "gradual"],
)
def test_each_strategy_trains_and_goes_on_after_a_stop_to_the_same_model(told: dict[str, Any], tmp_path: Path) -> None:
    whole, broken = (open_store(str(tmp_path / name / "store")) for name in ("whole", "broken"))
    given = {"train": long_rows(48, 1), "validation": long_rows(12, 2)}
    labelled = questions.tokens(whole, tmp_path / "whole", given)[1].labelled
    asked = settings(epochs=2, **told)
    expected = run(samples.step_of(whole, tmp_path / "whole"), asked, labelled, "", "").model
    questions.tokens(broken, tmp_path / "broken", given)
    step = samples.step_of(broken, tmp_path / "broken")
    step.figures_to = samples.StopAt(step, 3)
    with pytest.raises(Interrupted):
        run(step, asked, labelled, "", "")
    assert run(samples.step_of(broken, tmp_path / "broken"), asked, labelled, "", "").model == expected


def test_questions_without_answers_and_settings_that_do_not_fit_are_refused(store: Store, tmp_path: Path) -> None:
    none = questions.rows(20, 1, unanswerable=1.0)
    _, made = questions.tokens(store, tmp_path, {"train": none, "validation": none})
    step = samples.step_of(store, tmp_path)
    with pytest.raises(UserError, match="0 of 20 training questions have an answer"):
        run(step, settings(), made.labelled, "", "")
    with pytest.raises(UserError, match=r"stride: 12 tokens shared by two windows, and .* a window holds 12"):
        run(step, settings(questions={"stride": 12, "max_question_tokens": 5}), made.labelled, "", "")
    with pytest.raises(UserError, match=r"max_question_tokens: 17 and 3 special tokens leave no room"):
        run(step, settings(questions={"stride": 1, "max_question_tokens": 17}), made.labelled, "", "")


def test_long_questions_are_cut_and_counted_and_lost_answers_too(store: Store, tmp_path: Path) -> None:
    wordy = questions.row("what is the film and the story and the cast of red?", "a plot * The house * an hour.")
    lost = questions.row(
        "what is red?", "the cast of a film and the plot of the story", ("cast of a film and the plot of", 4)
    )
    given = {"train": [*questions.rows(18, 1), wordy, lost], "validation": questions.rows(5, 2)}
    _, made = questions.tokens(store, tmp_path, given)
    narrow = settings(epochs=1, max_tokens=12, questions={"stride": 0, "max_question_tokens": 5})
    summary = run(samples.step_of(store, tmp_path), narrow, made.labelled, "", "").summary
    assert summary["truncated_questions_share"] == pytest.approx(1 / 20)
    assert summary["unanswerable_share"] == pytest.approx(1 / 20)
    assert summary["answers_in_no_window_share"] >= 1 / 20


def test_too_few_test_questions_are_refused(store: Store, tmp_path: Path) -> None:
    given = {"train": questions.rows(20, 1), "validation": questions.rows(5, 2), "test": questions.rows(1, 3)}
    address, made = questions.tokens(store, tmp_path, given)
    out = run(samples.step_of(store, tmp_path), settings(epochs=1), made.labelled, "", "")
    with pytest.raises(UserError, match="1 questions in the test split, at least 2 are needed"):
        evaluate(
            samples.step_of(store, tmp_path, "evaluate"), EvaluateSettings(task=questions.TASK), out.model, address
        )


def test_a_token_that_no_answer_touches_is_told(store: Store, tmp_path: Path) -> None:
    spaces = questions.row("what?", "a film  of plots", ("  ", 6))
    _, made = questions.tokens(
        store, tmp_path, {"train": [*questions.rows(9), spaces], "validation": questions.rows(3)}
    )
    with pytest.raises(ModelmillError, match="touches none of the 5 tokens"):
        run(samples.step_of(store, tmp_path), settings(), made.labelled, "", "")
