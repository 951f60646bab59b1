"""Learn a task from labelled rows: a classifier on top of pretrained, base or random weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from components.finetune.settings import FinetuneSettings
from modelmill.dataset import Dataset, open_dataset
from modelmill.digest import digest
from modelmill.errors import ModelmillError, UserError
from modelmill.models import text
from modelmill.models.architecture import Architecture
from modelmill.models.base import base_folder
from modelmill.models.folder import fetch_model, save_model
from modelmill.step import Step
from modelmill.training import objectives
from modelmill.training.checkpoint import Checkpoints
from modelmill.training.data import LabelledBatches, labelled_rows
from modelmill.training.device import prepare
from modelmill.training.loop import Job, LoopSettings, train
from modelmill.version import code_digest


@dataclass(frozen=True, kw_only=True)
class FinetuneOutputs:
    """Address of the model, and its main figures."""

    model: str
    summary: dict[str, Any]


def run(step: Step, settings: FinetuneSettings, labelled: str, model: str, base: str) -> FinetuneOutputs:
    """Train on the labelled rows at an address, from the first of: `model`, an address; `base`, a pin; random weights.

    Raises:
        Interrupted: the step was asked to stop; the same call goes on.
        UserError: there are no training or validation rows, or the model does not fit the data.
        ModelmillError: a dataset or a model is not what it was, or training diverged.
    """
    dataset = open_dataset(step.store, labelled)
    if dataset.meta["kind"] != "labelled-tokens":
        raise ModelmillError(f"{labelled}: holds {dataset.meta['kind']}, and fine-tuning reads labelled-tokens")
    labels, max_tokens = dataset.meta["labels"], dataset.meta["max_tokens"]
    device = prepare(settings.seed)
    classifier = text.classifier(_start(step, settings, dataset, model, base), labels)
    text.family(classifier).set_dropout(classifier, settings.dropout)
    inputs = {"labelled": labelled, "model": model, "base": base}
    key = digest({"stage": "finetune", "settings": settings.model_dump(), "inputs": inputs, "code": code_digest()})
    batches = _batches(settings, dataset, "train")
    job = Job(
        what=step.name,
        model=classifier,
        objective=objectives.classification,
        batches=batches,
        validation=_batches(settings, dataset, "validation").fixed(),
        checkpoints=Checkpoints(store=step.store, run_key=key, scratch=step.scratch),
        device=device,
    )
    figures = train(step, _loop(settings, batches.steps_per_epoch), job)
    folder = step.scratch / "tuned"
    text.save(classifier, folder)
    dataset.fetch_attachments(folder, "tokenizer/")
    meta = {"task": settings.task, "labels": labels, "max_tokens": max_tokens, "lineage": inputs}
    return FinetuneOutputs(model=save_model(step.store, folder, meta), summary=figures)


def _start(step: Step, settings: FinetuneSettings, dataset: Dataset, model: str, base: str) -> Path | PreTrainedConfig:
    """Return the folder with the weights to start from, or the shape of random ones."""
    vocabulary, max_tokens = dataset.meta["vocabulary"], dataset.meta["max_tokens"]
    folder = None
    if model:
        folder = step.scratch / "start"
        fetch_model(step.store, model, folder)
    elif base:
        folder = base_folder(base)
    if folder is None:
        pad = dataset.meta["special"]["pad"]
        return text.new_config(settings.model or Architecture(), vocabulary, max_tokens, pad)
    config = text.load_config(folder, vocabulary, max_tokens)
    return config if settings.start == "random" else folder


def _batches(settings: FinetuneSettings, dataset: Dataset, split: str) -> LabelledBatches:
    if not dataset.rows(split):
        raise UserError(
            f"{dataset.address}: 0 rows in the {split} split of {sum(map(dataset.rows, dataset.splits))}; raise "
            f"ingest.split.{split} or give more labelled rows"
        )
    ids, labels_N = labelled_rows(dataset.table(split, ["input_ids", "label"]))
    return LabelledBatches(
        ids=ids,
        labels_N=labels_N,
        batch_rows=settings.batch_rows,
        seed=settings.seed,
        pad=dataset.meta["special"]["pad"],
    )


def _loop(settings: FinetuneSettings, steps_per_epoch: int) -> LoopSettings:
    return LoopSettings(
        steps=settings.epochs * steps_per_epoch,
        lr=settings.lr,
        warmup=settings.warmup,
        weight_decay=settings.weight_decay,
        precision=settings.precision,
        checkpoint_seconds=settings.checkpoint_seconds,
        validate_every=steps_per_epoch,
        keep_best=True,
    )
