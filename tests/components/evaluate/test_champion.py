"""The champion is measured on its challenger's rows, once, and keeps no one from being registered."""

import shutil
from pathlib import Path

import pytest

from components.evaluate.champion import measure_champion
from components.evaluate.settings import EvaluateSettings
from modelmill.step import Step
from tests.components.evaluate.test_run import read_report, save_tiny_model, step, write_dataset

__all__ = ["step"]

SETTINGS = EvaluateSettings(task="text-classification", subject="champion", must_beat=())
NEW, NEWER = "models/" + "1" * 64, "models/" + "2" * 64


def test_a_champion_is_measured_once_on_the_same_rows(step: Step, tmp_path: Path) -> None:
    model, labelled = save_tiny_model(step.store, tmp_path / "model"), write_dataset(step.store)
    made = measure_champion(step, SETTINGS, model, labelled, NEW)
    report, _, _ = read_report(step, made.report)
    assert (report.model, report.dataset, report.checks) == (model, labelled, ())
    # What is not read again may be gone.
    shutil.rmtree(tmp_path / "store" / "models")
    assert measure_champion(step, SETTINGS, model, labelled, NEWER) == made


def test_other_rows_are_measured_anew(step: Step, tmp_path: Path) -> None:
    model = save_tiny_model(step.store, tmp_path / "model")
    first, second = (
        measure_champion(step, SETTINGS, model, write_dataset(step.store, rows), NEW).report for rows in (40, 50)
    )
    assert read_report(step, first)[0].test_rows == 40
    assert read_report(step, second)[0].test_rows == 50


@pytest.mark.parametrize("champion", ["", NEW])
def test_without_another_champion_nothing_is_measured(champion: str, step: Step) -> None:
    made = measure_champion(step, SETTINGS, champion, write_dataset(step.store), NEW)
    assert (made.report, made.summary) == ("", {})


def test_a_champion_that_cannot_be_measured_says_why(step: Step, tmp_path: Path) -> None:
    labelled = write_dataset(step.store)
    champions = {
        "knows the labels": save_tiny_model(step.store, tmp_path / "a", labels=("bad", "good")),
        "no finite probabilities for 40 of 40": save_tiny_model(step.store, tmp_path / "b", weight=float("nan")),
        "models/" + "9" * 64: "models/" + "9" * 64,
    }
    for said, champion in champions.items():
        made = measure_champion(step, SETTINGS, champion, labelled, NEW)
        assert made.report == ""
        assert said in made.summary["why_not"]
