"""Models that answer with texts are measured on mistyped, cut and otherwise written inputs, by their own figure."""

from pathlib import Path

import pytest

from components.evaluate.run import run
from components.evaluate.settings import EvaluateSettings
from components.finetune.run import run as finetune
from components.finetune.settings import FinetuneSettings
from modelmill.evaluation.document import Report
from modelmill.evaluation.probes import Changed
from modelmill.models.folder import read_files
from modelmill.store import open_store
from tests import questions, samples
from tests.components.evaluate.test_targets import made, measured

__all__ = ["made"]


def by_name(report: Report) -> dict[str, Changed]:
    assert report.probes is not None
    assert report.probes.robustness is not None
    return {one.change: one for one in report.probes.robustness.changes}


def test_of_a_question_and_its_context_the_question_is_changed(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    rows = questions.rows(40, 2)
    address, tokens = questions.tokens(
        store, tmp_path, {"train": questions.rows(160, 1), "validation": rows, "test": rows}
    )
    told = {
        "task": questions.TASK, "model": {"layers": 1, "width": 32, "heads": 2}, "epochs": 5, "lr": 0.01,
        "batch_rows": 16, "precision": "fp32", "max_tokens": 20, "questions": {"stride": 4, "max_question_tokens": 5},
    }  # fmt: skip
    model = finetune(
        samples.step_of(store, tmp_path), FinetuneSettings.model_validate(told), tokens.labelled, "", ""
    ).model
    asked = EvaluateSettings(task=questions.TASK, robustness=("typos", "truncation", "case"), must_beat=("majority",))
    files, _ = read_files(store, run(samples.step_of(store, tmp_path, "evaluate"), asked, model, address).report)
    report = Report.read(files["report.json"])
    changes = by_name(report)
    assert set(changes) == {"typos", "truncation", "case"}
    assert report.probes is not None
    robustness = report.probes.robustness
    assert robustness is not None
    assert robustness.metric == "f1"
    assert robustness.unchanged.value == pytest.approx(report.metrics["test"]["f1"], abs=1e-6)
    # What is asked is "what is red?", and the answer stands between stars: without the question it is still found.
    cut = changes["truncation"]
    assert [level.sample for level in cut.levels][-1] == "what"
    assert cut.levels[-1].measured.value > 0.5
    assert cut.hindrance.startswith("Of a question and its context the question alone is changed.")
    assert "F1 on the same" in files["report.html"].decode()


def test_texts_are_changed_and_answers_scored_by_chrf(made: tuple[object, Path, str, str]) -> None:
    report, files, _ = measured(made, robustness=("truncation", "case"), must_beat=("copy",))  # type: ignore[arg-type]
    changes = by_name(report)
    assert report.probes is not None
    robustness = report.probes.robustness
    assert robustness is not None
    assert (robustness.metric, robustness.rows) == ("chrf", 40)
    assert robustness.unchanged.value == pytest.approx(report.metrics["test"]["chrf"], abs=1e-4)
    values = [level.measured.value for level in changes["truncation"].levels]
    # Of a text whose words come back in reverse order, half of the words cannot all be said.
    assert values[-1] < robustness.unchanged.value
    assert all(level.measured.low <= level.measured.value <= level.measured.high for level in changes["case"].levels)
    assert "ChrF on the same" in files["report.html"].decode()
