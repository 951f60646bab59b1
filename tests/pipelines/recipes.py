"""Recipes written out, for tests of what is right and wrong with them."""

from pathlib import Path

import pytest

from modelmill.errors import UserError
from pipelines.recipe import Recipe
from pipelines.recipe_file import load

RIGHT = """\
name: shop
task: text-classification
ingest:
  corpus:
    - labelled: train
  labelled:
    - uri: shop.csv
      columns: {text: review}
pretrain:
  model: {layers: 2, width: 32, heads: 2}
  steps: 5
finetune:
  epochs: 1
evaluate:
  thresholds: {accuracy: {min: 0.5}}
register:
  name: shop
"""


def read(folder: Path, text: str, *overrides: str) -> Recipe:
    """Return the recipe that a text is."""
    path = folder / "shop.yaml"
    path.write_text(text)
    return load(path, overrides)


def refused(folder: Path, text: str, *overrides: str) -> str:
    """Return what is said of a text that is no right recipe."""
    with pytest.raises(UserError) as error:
        read(folder, text, *overrides)
    return str(error.value)
