"""The champion is measured on its challenger's rows, once, and keeps no one from being registered."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from components.evaluate.champion import measure_champion
from components.evaluate.settings import EvaluateSettings
from modelmill.step import Step
from tests import tables
from tests.components.evaluate.test_run import read_report, save_tiny_model, step, write_dataset
from tests.components.evaluate.test_tables import SPLITS
from tests.components.evaluate.test_tables import save as save_table

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
        "the champion has the labels ['bad', 'good'], and this recipe the labels ['negative', 'positive']": (
            save_tiny_model(step.store, tmp_path / "a", labels=("bad", "good"))
        ),
        "no finite probabilities for 40 of 40": save_tiny_model(step.store, tmp_path / "b", weight=float("nan")),
        "models/" + "9" * 64: "models/" + "9" * 64,
    }
    for said, champion in champions.items():
        made = measure_champion(step, SETTINGS, champion, labelled, NEW)
        assert made.report == ""
        assert said in made.summary["why_not"]


def test_a_champion_of_another_kind_is_known_before_its_weights_are_fetched(step: Step, tmp_path: Path) -> None:
    texts = write_dataset(step.store)
    of_tables = save_table(step, tmp_path / "a")
    made = measure_champion(step, SETTINGS, of_tables, texts, NEW)
    assert made.summary["why_not"].startswith(
        "the champion has the task table-regression, and this recipe the task text-classification"
    )
    assert not (step.scratch / "model").exists()


def test_a_champion_of_another_target_or_with_other_columns_is_not_comparable(step: Step, tmp_path: Path) -> None:
    told = EvaluateSettings(task="table-regression", subject="champion", must_beat=())
    rows = tables.write_table(step.store, SPLITS)
    champions: dict[str, dict[str, Any]] = {
        "the champion has the target rent, and this recipe the target price": {"target": "rent"},
        "are not among the 6 of the data: balcony": {"features": {**tables.HOUSES, "balcony": "boolean"}},
        "no finite number for 40 of 40 test rows (the first is ": {"weight": float("nan")},
    }
    for number, (said, facts) in enumerate(champions.items()):
        model = save_table(step, tmp_path / str(number), **facts)
        made = measure_champion(step, told, model, rows, NEW)
        assert (made.report, said in made.summary["why_not"]) == ("", True), made.summary


def test_a_champion_whose_bytes_were_changed_keeps_no_one_from_being_registered(step: Step, tmp_path: Path) -> None:
    model = save_tiny_model(step.store, tmp_path / "model")
    weights = step.store.get_addressed(model)["files"]["model.safetensors"]["sha256"]
    path = tmp_path / "store" / "blobs" / weights
    path.chmod(0o644)
    path.write_bytes(b"x" + path.read_bytes()[1:])
    made = measure_champion(step, SETTINGS, model, write_dataset(step.store), NEW)
    assert (made.report, f"blobs/{weights}: was changed" in made.summary["why_not"]) == ("", True)
