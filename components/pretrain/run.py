"""Learn the language of a corpus: a masked language model, from a base model's weights or from random ones."""

import math
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel

from components.pretrain.settings import PretrainSettings
from modelmill.dataset import Dataset, open_dataset
from modelmill.digest import digest
from modelmill.errors import ModelmillError
from modelmill.models import text
from modelmill.models.base import base_folder
from modelmill.models.folder import save_model
from modelmill.step import Step
from modelmill.training import objectives
from modelmill.training.checkpoint import Checkpoints
from modelmill.training.data import Batch, Masking, PackedBatches, packed_rows
from modelmill.training.device import prepare
from modelmill.training.loop import Job, LoopSettings, train
from modelmill.version import code_digest

# Looks at the validation rows during the training, and the most batches that each takes.
_VALIDATIONS = 4
_VALIDATION_BATCHES = 64


@dataclass(frozen=True, kw_only=True)
class PretrainOutputs:
    """Address of the model, and its main figures."""

    model: str
    summary: dict[str, Any]


def run(step: Step, settings: PretrainSettings, corpus: str, base: str) -> PretrainOutputs:
    """Train on the packed corpus at an address; `base` is the pin of the base model, '' without one.

    Raises:
        Interrupted: the step was asked to stop; the same call goes on.
        UserError: the base model does not fit the data.
        ModelmillError: a dataset or the base model is not what it was, or training diverged.
    """
    dataset = open_dataset(step.store, corpus)
    if dataset.meta["kind"] != "packed-tokens":
        raise ModelmillError(f"{corpus}: holds {dataset.meta['kind']}, and pretraining reads packed-tokens")
    device = prepare(settings.seed)
    model = _model(settings, dataset, base)
    text.family(model).set_dropout(model, settings.dropout)
    inputs = {"corpus": corpus, "base": base}
    key = digest({"stage": "pretrain", "settings": settings.model_dump(), "inputs": inputs, "code": code_digest()})
    batches, validation = _batches(settings, dataset)
    job = Job(
        what="pretrain",
        model=model,
        objective=objectives.masked_lm,
        batches=batches,
        validation=validation,
        checkpoints=Checkpoints(store=step.store, run_key=key, scratch=step.scratch),
        device=device,
    )
    figures = train(step, _loop(settings), job)
    if "validation_loss" in figures:
        figures["validation_perplexity"] = math.exp(figures["validation_loss"])
    folder = step.scratch / "model"
    text.save(model, folder)
    dataset.fetch_attachments(folder, "tokenizer/")
    meta = {"task": settings.objective, "max_tokens": dataset.meta["max_tokens"], "lineage": inputs}
    return PretrainOutputs(model=save_model(step.store, folder, meta), summary=figures)


def _model(settings: PretrainSettings, dataset: Dataset, base: str) -> PreTrainedModel:
    vocabulary, max_tokens = dataset.meta["vocabulary"], dataset.meta["max_tokens"]
    if settings.model is not None:
        return text.masked_lm(text.new_config(settings.model, vocabulary, max_tokens, dataset.meta["special"]["pad"]))
    if not base:
        raise ModelmillError(f"pretrain: base is {settings.base!r}, and the step was given no pin of it")
    folder = base_folder(base)
    text.load_config(folder, vocabulary, max_tokens)
    return text.masked_lm(folder)


def _batches(settings: PretrainSettings, dataset: Dataset) -> tuple[PackedBatches, list[Batch]]:
    special = dataset.meta["special"]
    masking = Masking(
        rate=settings.mask_rate,
        mask=special["mask"],
        special=tuple(sorted(special.values())),
        vocabulary=dataset.meta["vocabulary"],
    )
    made = {
        split: PackedBatches(
            rows_NT=packed_rows(dataset.table(split)),
            batch_rows=settings.batch_rows,
            seed=settings.seed,
            masking=masking,
        )
        for split in ("train", "validation")
    }
    return made["train"], made["validation"].fixed(_VALIDATION_BATCHES)


def _loop(settings: PretrainSettings) -> LoopSettings:
    validate_every = -(-settings.steps // _VALIDATIONS)
    return LoopSettings(training=settings, steps=settings.steps, validate_every=validate_every, keep_best=None)
