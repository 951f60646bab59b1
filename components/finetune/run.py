"""Learn a task from labelled rows, on top of pretrained, base or random weights."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

from components.finetune.folds import cross_validate
from components.finetune.learner import Learner, Start
from components.finetune.settings import FinetuneSettings
from modelmill.dataset import Dataset, open_dataset
from modelmill.digest import digest
from modelmill.errors import ModelmillError, UserError
from modelmill.models.base import base_folder
from modelmill.models.folder import fetch_model, save_model
from modelmill.step import Step
from modelmill.training.checkpoint import Checkpoints
from modelmill.training.device import prepare
from modelmill.training.distributed import join
from modelmill.training.loop import train
from modelmill.training.settings import TOGETHER
from modelmill.training.state import Job, LoopSettings
from modelmill.version import code_digest

_LEARNERS: Mapping[str, str] = {
    "labelled-tokens": "text",
    "pair-tokens": "text",
    "target-tokens": "targets",
    "labelled-pixels": "images",
    "question-tokens": "questions",
    "labelled-rows": "tables",
}
"""By what a dataset holds, loaded when asked for: tables learn without transformers, which takes seconds to load."""


@dataclass(frozen=True, kw_only=True)
class FinetuneOutputs:
    """Address of the model, and its main figures."""

    model: str
    summary: dict[str, Any]


def run(
    step: Step, settings: FinetuneSettings, labelled: str, model: str, base: str, teacher: str = ""
) -> FinetuneOutputs:
    """Train on the labelled rows at an address, from the first of: `model`, an address; `base`, a pin; random weights.

    `teacher` is the pin of the model to learn from beside the labels, '' for none.

    Raises:
        Interrupted: the step was asked to stop; the same call goes on.
        UserError: there are no training or validation rows, or the model does not fit the data.
        ModelmillError: a dataset or a model is not what it was, or training diverged.
    """
    dataset = open_dataset(step.store, labelled)
    if dataset.meta["kind"] not in _LEARNERS:
        known = ", ".join(_LEARNERS)
        raise ModelmillError(f"{labelled}: holds {dataset.meta['kind']}, and fine-tuning reads {known}")
    device = prepare(settings.seed)
    world = join(shard=settings.shard)
    learner = _learner(settings, dataset, _start(step, model, base))
    if settings.teacher is not None:
        from components.finetune.distill import taught

        learner = taught(settings, learner, dataset, base_folder(teacher), device)
    inputs = {"labelled": labelled, "model": model, "base": base, **({"teacher": teacher} if teacher else {})}

    def fit(under: Step, learner: Learner, part: str) -> dict[str, Any]:
        key = _run_key(settings, inputs, part)
        job = Job(
            what=part or step.name,
            model=learner.model,
            objective=learner.objective,
            batches=learner.batches,
            validation=learner.validation,
            checkpoints=Checkpoints(store=step.store, run_key=key, scratch=step.scratch),
            device=device,
            plan=learner.plan,
            world=world,
        )
        return train(under, _loop(settings, learner), job)

    figures = {**learner.figures, **fit(step, learner, "")}
    if learner.perplexity and "validation_loss" in figures:
        figures["validation_perplexity"] = math.exp(figures["validation_loss"])
    meta = {"task": settings.task, **learner.meta, "lineage": inputs}
    if settings.folds is not None:
        meta["cross_validation"] = cross_validate(step, settings, dataset, fit).model_dump(mode="json")
    if not world.writes:
        return FinetuneOutputs(model="", summary=figures)
    folder = step.scratch / "tuned"
    learner.save(folder)
    return FinetuneOutputs(model=save_model(step.store, folder, meta), summary=figures)


def _run_key(settings: FinetuneSettings, inputs: Mapping[str, str], part: str) -> str:
    # How answers are asked for changes no weight: what is learned stays.
    told = settings.model_dump(exclude={*TOGETHER, "decoding"})
    facts = {"stage": "finetune", "settings": told, "inputs": inputs, "code": code_digest()}
    return digest({**facts, "part": part} if part else facts)


def _learner(settings: FinetuneSettings, dataset: Dataset, start: Start) -> Learner:
    kind = dataset.meta["kind"]
    prepare_kind: Callable[[FinetuneSettings, Dataset, Start], Learner] = resolve_name(
        f"components.finetune.{_LEARNERS[kind]}:prepare"
    )
    learner = prepare_kind(settings, dataset, start)
    if learner.plan is None and not settings.plain:
        raise UserError(f"finetune: strategy, layer_decay and gradual are not for {kind}; leave them out")
    return learner


def _start(step: Step, model: str, base: str) -> Start:
    if model:
        folder = step.scratch / "start"
        fetch_model(step.store, model, folder)
        return Start(folder=folder)
    return Start(folder=base_folder(base) if base else None)


def _loop(settings: FinetuneSettings, learner: Learner) -> LoopSettings:
    training = settings
    if learner.precision is not None:
        training = settings.model_copy(update={"precision": learner.precision})
    return LoopSettings.of_epochs(training, settings.epochs, learner.steps_per_epoch, learner.best)
