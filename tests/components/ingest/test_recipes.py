"""The data of every recipe go through ingest, in miniature."""

import subprocess
import sys
from pathlib import Path

import pytest

from components.ingest.settings import IngestSettings
from modelmill.dataset import open_dataset, read_made
from pipelines.recipe_file import load
from pipelines.steps import settings_of
from tests.components.ingest.tools import ingest

ROOT = Path(__file__).resolve().parents[3]
RECIPES = sorted((ROOT / "pipelines" / "recipes").glob("*_tiny.yaml"))
MADE = {"pairs_tiny": ("pairs.py", "pairs.csv"), "questions_tiny": ("questions.py", "questions.json")}


def marks(name: str) -> list[pytest.MarkDecorator]:
    # Debian's package of the pictures is only where the tests marked `system` run. They are the same in three recipes.
    fashion = [pytest.mark.system] if "fashion" in name else []
    return fashion + ([pytest.mark.slow] if name in ("fashion_mae_tiny", "fashion_simclr_tiny") else [])


MARKED = [pytest.param(path, marks=marks(path.stem)) for path in RECIPES]


@pytest.mark.parametrize(
    "name", ["reviews", "spam", "chinese_reviews", "mnist", "fashion_mnist", "boston", "auto_mpg", "wine"]
)
def test_a_recipe_fits_on_a_screen(name: str) -> None:
    assert len((RECIPES[0].parent / f"{name}.yaml").read_text().splitlines()) <= 25


@pytest.mark.parametrize("path", MARKED, ids=lambda path: path.stem)
def test_every_row_of_a_recipes_data_is_accounted_for(tmp_path: Path, path: Path) -> None:
    settings = IngestSettings.model_validate_json(settings_of(load(path))["ingest"])
    told = settings.model_dump(exclude_unset=True)
    if path.stem in MADE:
        # Where its head comment has the data made, nothing may be in a clone.
        tool, name = MADE[path.stem]
        subprocess.run([sys.executable, ROOT / "tools" / tool, tmp_path / name], check=True)
        told["labelled"][0]["uri"] = str(tmp_path / name)

    outputs, store = ingest(tmp_path, **told)

    dataset = open_dataset(store, outputs.labelled or outputs.corpus)
    splits = ("train", "validation", "test") if outputs.labelled else ("train", "validation")
    assert all(dataset.rows(split) for split in splits)
    ledger = read_made(store, outputs.made_labelled or outputs.made_corpus)["ledger"]
    assert ledger["kept"] == sum(map(dataset.rows, dataset.splits))
    assert ledger["read"] == ledger["kept"] + sum(ledger["dropped"].values())
