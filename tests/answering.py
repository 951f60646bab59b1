"""Folders of small models with random weights that answer: a text's, a picture's and a table's."""

import json
from pathlib import Path

import torch

from components.preprocess.settings import TokenizerSettings
from components.preprocess.tokenizer import train_tokenizer
from modelmill.digest import sha256_hex
from modelmill.models import image, table, text
from modelmill.models.architecture import ImageNetwork, TableNetwork
from modelmill.models.image_config import ImageConfig
from modelmill.models.tokenizer import save_tokenizer
from modelmill.pictures.shape import PixelShape
from modelmill.tables.settings import TableTransforms
from modelmill.tables.transforms import FILE, fit_transforms
from tests import pictures, samples, tables


def text_model(folder: Path) -> Path:
    """Return a classifier of texts whose answers differ."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(TokenizerSettings(vocabulary=300), [text for text, _ in samples.reviews(70)])
    save_tokenizer(tokenizer, folder)
    torch.manual_seed(0)
    model = text.classifier(samples.tiny_config(tokenizer.vocabulary), ["bad", "fair", "good"])
    _spread(model)
    text.save(model, folder)
    return _described(folder, {"task": samples.TASK, "labels": ["bad", "fair", "good"], "max_tokens": 16})


def image_model(folder: Path) -> Path:
    """Return a classifier of gray pictures of 16 pixels a side."""
    torch.manual_seed(0)
    config = ImageConfig(
        network=ImageNetwork(family="convnet", width=8),
        pixels=PixelShape(size=16, channels=1, resize="crop", gray=True),
        mean=(0.5,),
        deviation=(0.25,),
        labels=pictures.LABELS,
    )
    model = image.ImageModel(config).eval()
    _spread(model)
    image.save(model, folder)
    return _described(folder, {"task": pictures.TASK, "labels": list(pictures.LABELS)})


def table_model(folder: Path) -> Path:
    """Return a model that says what a house costs."""
    rows = tables.houses(60)
    ids = [sha256_hex(str(place)) for place in range(len(rows))]
    transforms = fit_transforms(TableTransforms(), tables.HOUSES, tables.features(rows), ids)
    torch.manual_seed(0)
    config = table.TableConfig(
        shape=TableNetwork(family="mlp", layers=2, width=16),
        inputs=len(transforms.names),
        outputs=1,
        target=table.Target(name="price", mean=400.0, deviation=100.0),
    )
    table.save(table.TableModel(config), folder)
    (folder / FILE).write_text(transforms.to_json())
    return _described(folder, {"task": "table-regression", "features": dict(tables.HOUSES), "target": "price"})


def _spread(model: torch.nn.Module) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4)


def _described(folder: Path, facts: dict[str, object]) -> Path:
    (folder / "modelmill.json").write_text(json.dumps(facts))
    return folder
