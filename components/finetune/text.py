"""A classifier of texts, or of pairs of them, over tokens: an encoder, with or without weights, under a dense layer."""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedConfig

from components.finetune.learner import Learner, Start, rows_of
from components.finetune.settings import FinetuneSettings
from modelmill.dataset import Dataset
from modelmill.errors import UserError
from modelmill.models import text
from modelmill.models.architecture import Architecture
from modelmill.models.tokenizer import framed, framed_pair
from modelmill.training import lora, objectives, strategy, text_objectives
from modelmill.training.data import LabelledBatches, labelled_rows, token_rows
from modelmill.training.distill import Parts


def prepare(settings: FinetuneSettings, dataset: Dataset, start: Start) -> Learner:
    """Return how a class is learned for rows of tokens.

    Raises:
        UserError: there are no training or validation rows, or the model does not fit the data.
    """
    labels = dataset.meta["labels"]
    classifier = text.classifier(start_from(settings, dataset, start.folder), labels)
    text.family(classifier).set_dropout(classifier, settings.dropout)
    batches, cut_share = _batches(settings, dataset, "train")

    def save(folder: Path) -> None:
        lora.merge(classifier)
        text.save(classifier, folder)
        dataset.fetch_attachments(folder, "tokenizer/")

    return Learner(
        model=classifier,
        objective=partial(text_objectives.classification, smoothing=settings.label_smoothing),
        batches=batches,
        steps_per_epoch=batches.steps_per_epoch,
        validation=_batches(settings, dataset, "validation")[0].fixed(),
        best="accuracy",
        save=save,
        meta={"labels": labels, "max_tokens": settings.max_tokens},
        parts=Parts(
            logits=text_objectives.class_logits,
            scored=partial(objectives.classified, smoothing=settings.label_smoothing),
        ),
        plan=plan_of(settings, classifier, batches.steps_per_epoch),
        figures={"truncated_share": cut_share},
    )


def plan_of(settings: FinetuneSettings, model: torch.nn.Module, batches: int) -> strategy.Plan | None:
    """Return which weights learn with so many batches an epoch; None for all at all times.

    Raises:
        UserError: the model has not what the strategy speaks of.
    """
    if settings.plain:
        return None
    epoch = -(-batches // settings.accumulate)
    return strategy.plan(model, settings.strategy, settings.layer_decay, epoch if settings.gradual else None)


def start_from(settings: FinetuneSettings, dataset: Dataset, folder: Path | None) -> Path | PreTrainedConfig:
    """Return the folder with the weights to start from, or the shape of random ones."""
    vocabulary, max_tokens = dataset.meta["vocabulary"], settings.max_tokens
    if folder is None:
        pad = dataset.meta["special"]["pad"]
        return text.new_config(_shape(settings), vocabulary, max_tokens, pad)
    config = text.load_config(folder, vocabulary, max_tokens)
    return config if settings.start == "random" else folder


def _shape(settings: FinetuneSettings) -> Architecture:
    shape = settings.model or Architecture()
    if not isinstance(shape, Architecture):
        raise UserError(f"finetune.model: {shape.family} is no encoder of texts; use bert or modernbert")
    return shape


def _batches(settings: FinetuneSettings, dataset: Dataset, split: str) -> tuple[LabelledBatches, float]:
    """Return the rows of a split as a model reads them, and the share of them that are cut."""
    special, most = dataset.meta["special"], settings.max_tokens
    pairs = dataset.meta["kind"] == "pair-tokens"
    table = rows_of(dataset, split, ["input_ids", *(["pair_ids"] if pairs else []), "label"])
    whole, labels_N = labelled_rows(table)
    seconds_N = None
    if pairs:
        both = list(zip(whole, token_rows(table["pair_ids"]), strict=True))
        rows = [framed_pair(text_T, pair_T, special, most) for text_T, pair_T in both]
        ids, seconds_N = [row_T for row_T, _ in rows], np.array([second for _, second in rows])
        cut = sum(len(text_T) + len(pair_T) > most - 3 for text_T, pair_T in both)
    else:
        ids = [framed(document_T, special, most) for document_T in whole]
        cut = sum(len(document_T) > most - 2 for document_T in whole)
    batches = LabelledBatches(
        ids=ids,
        labels_N=labels_N,
        batch_rows=settings.batch_rows,
        seed=settings.seed,
        pad=special["pad"],
        seconds_N=seconds_N,
    )
    return batches, round(cut / len(whole), 6)
