"""Puts a teacher beside a learner: another classifier of the same rows, which does not learn."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from components.finetune.learner import Learner
from components.finetune.settings import FinetuneSettings
from modelmill.dataset import Dataset
from modelmill.errors import UserError
from modelmill.models import image, text
from modelmill.models.tokenizer import Tokenizer, load_tokenizer
from modelmill.pictures.shape import PixelShape
from modelmill.training.distill import distilled


def taught(
    settings: FinetuneSettings, learner: Learner, dataset: Dataset, folder: Path, device: torch.device
) -> Learner:
    """Return the learner with the model of a folder as its teacher.

    Raises:
        UserError: the folder's model does not classify such rows, or knows other labels.
    """
    assert settings.teacher is not None
    if learner.parts is None:
        raise UserError(f"finetune.teacher: is for texts and pictures, not for {dataset.meta['kind']}; leave it out")
    kind: Any = _text if dataset.meta["kind"] == "labelled-tokens" else _image
    model, labels = kind(settings, dataset, folder)
    wanted = tuple(dataset.meta["labels"])
    if labels != wanted:
        raise UserError(
            f"{folder}: the teacher knows {len(labels)} labels ({', '.join(labels[:5])}) and the data have "
            f"{len(wanted)} ({', '.join(wanted[:5])}); name a teacher that learned the same ones in the same order"
        )
    model.to(device).eval()
    for weight in model.parameters():
        weight.requires_grad_(False)
    told = settings.teacher
    return replace(learner, objective=distilled(learner.parts, model, told.temperature, told.weight))


def _text(settings: FinetuneSettings, dataset: Dataset, folder: Path) -> tuple[Any, tuple[str, ...]]:
    config = text.load_config(folder, dataset.meta["vocabulary"], settings.max_tokens)
    with tempfile.TemporaryDirectory() as scratch:
        dataset.fetch_attachments(Path(scratch), "tokenizer/")
        ours, theirs = load_tokenizer(Path(scratch)), load_tokenizer(folder)
    if _said(ours) != _said(theirs):
        raise UserError(
            f"{folder}: the teacher's tokenizer (of {theirs.vocabulary} tokens) is not the data's (of "
            f"{ours.vocabulary}), so that it would read other texts; leave preprocess.tokenizer and base out, and the "
            "data get the teacher's"
        )
    names: dict[int, str] = config.id2label or {}
    return text.load_classifier(folder), tuple(names[number] for number in sorted(names))


def _said(tokenizer: Tokenizer) -> tuple[str, dict[str, int], str]:
    return tokenizer.backend.to_str(), tokenizer.special, tokenizer.segment


def _image(_settings: FinetuneSettings, dataset: Dataset, folder: Path) -> tuple[Any, tuple[str, ...]]:
    shape = PixelShape.model_validate({name: dataset.meta[name] for name in PixelShape.model_fields})
    image.fitting_config(folder, shape)
    model = image.load(folder)
    return model, tuple(model.config.labels)
