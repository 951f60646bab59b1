"""Learn from a corpus without labels, by what it holds, from a base model's weights or from random ones."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, get_args

from components.pretrain.made import Learner
from components.pretrain.settings import PretrainSettings
from modelmill.dataset import Dataset, open_dataset
from modelmill.digest import digest
from modelmill.errors import ModelmillError
from modelmill.models.folder import save_model
from modelmill.settings import LanguageTask
from modelmill.step import Step
from modelmill.training.checkpoint import Checkpoints
from modelmill.training.device import prepare
from modelmill.training.distributed import join
from modelmill.training.loop import train
from modelmill.training.settings import TOGETHER
from modelmill.training.state import Job, LoopSettings
from modelmill.version import code_digest

# Looks at the validation rows during the training.
_VALIDATIONS = 4

_LEARNERS: Mapping[str, str] = {"corpus-tokens": "language", "corpus-pixels": "pictures"}
"""By what a dataset holds, loaded when asked for: pictures do without transformers, which takes seconds to load."""


@dataclass(frozen=True, kw_only=True)
class PretrainOutputs:
    """Address of the model, and its main figures."""

    model: str
    summary: dict[str, Any]


def run(step: Step, settings: PretrainSettings, corpus: str, base: str) -> PretrainOutputs:
    """Train on the rows of a corpus at an address; `base` is the pin of the base model, '' without one.

    Raises:
        Interrupted: the step was asked to stop; the same call goes on.
        UserError: the base model does not fit the data.
        ModelmillError: a dataset or the base model is not what it was, or training diverged.
    """
    dataset = open_dataset(step.store, corpus)
    kind = dataset.meta["kind"]
    if kind not in _LEARNERS:
        raise ModelmillError(f"{corpus}: holds {kind}, and pretraining reads {' or '.join(_LEARNERS)}")
    device = prepare(settings.seed)
    world = join(shard=settings.shard)
    prepare_kind: Callable[[PretrainSettings, Dataset, str], Learner] = resolve_name(
        f"components.pretrain.{_LEARNERS[kind]}:prepare"
    )
    learner = prepare_kind(settings, dataset, base)
    inputs = {"corpus": corpus, "base": base}
    told = settings.model_dump(exclude=TOGETHER)
    key = digest({"stage": "pretrain", "settings": told, "inputs": inputs, "code": code_digest()})
    job = Job(
        what="pretrain",
        model=learner.model,
        objective=learner.objective,
        batches=learner.batches,
        validation=learner.validation,
        checkpoints=Checkpoints(store=step.store, run_key=key, scratch=step.scratch),
        device=device,
        world=world,
    )
    figures = {**learner.figures, **train(step, _loop(settings), job)}
    if settings.objective in get_args(LanguageTask) and "validation_loss" in figures:
        figures["validation_perplexity"] = math.exp(figures["validation_loss"])
    if not world.writes:
        return PretrainOutputs(model="", summary=figures)
    folder = step.scratch / "model"
    learner.save(folder)
    meta = {"task": settings.objective, **learner.meta, "lineage": inputs}
    return PretrainOutputs(model=save_model(step.store, folder, meta), summary=figures)


def _loop(settings: PretrainSettings) -> LoopSettings:
    validate_every = -(-settings.steps // _VALIDATIONS)
    return LoopSettings(training=settings, steps=settings.steps, validate_every=validate_every, keep_best=None)
