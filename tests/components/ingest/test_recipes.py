"""The data of every recipe go through ingest, in miniature."""

from pathlib import Path

import pytest

from components.ingest.settings import IngestSettings
from modelmill.dataset import open_dataset, read_made
from pipelines.recipe import load
from pipelines.steps import settings_of
from tests.components.ingest.tools import ingest

RECIPES = sorted((Path(__file__).resolve().parents[3] / "pipelines" / "recipes").glob("*_tiny.yaml"))
# Debian's package of the pictures is only where the tests marked `system` run.
MARKED = [pytest.param(path, marks=pytest.mark.system if "fashion" in path.stem else ()) for path in RECIPES]


@pytest.mark.parametrize(
    "name", ["reviews", "spam", "chinese_reviews", "mnist", "fashion_mnist", "boston", "auto_mpg", "wine"]
)
def test_a_recipe_fits_on_a_screen(name: str) -> None:
    assert len((RECIPES[0].parent / f"{name}.yaml").read_text().splitlines()) <= 25


@pytest.mark.parametrize("path", MARKED, ids=lambda path: path.stem)
def test_every_row_of_a_recipes_data_is_accounted_for(tmp_path: Path, path: Path) -> None:
    settings = IngestSettings.model_validate_json(settings_of(load(path))["ingest"])

    outputs, store = ingest(tmp_path, **settings.model_dump(exclude_unset=True))

    dataset = open_dataset(store, outputs.labelled or outputs.corpus)
    splits = ("train", "validation", "test") if outputs.labelled else ("train", "validation")
    assert all(dataset.rows(split) for split in splits)
    ledger = read_made(store, outputs.made_labelled or outputs.made_corpus)["ledger"]
    assert ledger["kept"] == sum(map(dataset.rows, dataset.splits))
    assert ledger["read"] == ledger["kept"] + sum(ledger["dropped"].values())
