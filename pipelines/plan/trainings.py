"""The trainings of a recipe by their sizes, and what they come to."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from components.finetune.settings import FinetuneSettings
from components.pretrain.settings import PretrainSettings
from modelmill.errors import ModelmillError
from modelmill.pictures.shape import PixelShape
from modelmill.profile import NodeKind
from modelmill.settings import Section
from modelmill.training.outline import Estimate, Learned, Outline
from modelmill.training.settings import Training
from pipelines.plan.data import Data
from pipelines.recipe import Recipe
from pipelines.steps import settings_of, stage_of

_LEARNED: Mapping[str, Learned] = {
    "text-classification": "classes",
    "pair-classification": "classes",
    "question-answering": "spans",
    "sequence-to-sequence": "targets",
    "image-classification": "pictures",
    "table-classification": "rows",
    "table-regression": "rows",
}
# Without a size in the recipe pictures keep theirs, up to this.
_SIDE = 224


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A training step: its sizes, how much it reads, and on how many devices."""

    step: str
    outline: Outline
    world: int
    """Processes that share each batch."""
    rows: int | None
    """Rows read in all; None where that is known after ingest only."""
    basis: str
    """Where the rows are from."""
    fill: float
    """Share of the length of a row that its tokens fill in the mean; 1 where that is not known."""

    @property
    def at_once(self) -> int:
        """Rows that a process computes at once, unless the memory says otherwise."""
        return self.outline.rows[0]

    @property
    def tokens(self) -> int | None:
        """Tokens read in all; of pictures and of a table's rows one each."""
        if self.rows is None:
            return None
        length = {"targets": self.outline.tokens + self.outline.target_tokens}.get(
            self.outline.learned, self.outline.tokens if _reads_tokens(self.outline) else 1
        )
        return round(self.rows * length * self.fill)


def _reads_tokens(outline: Outline) -> bool:
    return outline.learned in ("masked-lm", "causal-lm", "classes", "spans", "targets")


def training_of(
    name: str, recipe: Recipe, data: Data, kind: NodeKind, bases: Mapping[Literal["base", "teacher"], Path]
) -> Trained:
    """Return a training step of a recipe by its name, as it would run on a kind of node."""
    told = settings_of(recipe)[name]
    settings: PretrainSettings | FinetuneSettings
    if stage_of(name) == "pretrain":
        settings = PretrainSettings.model_validate_json(told)
    else:
        settings = FinetuneSettings.model_validate_json(told)
    world = kind.devices or settings.processes or 1
    share = -(-settings.batch_rows // world)
    at_once = min(settings.micro_rows or share, share)
    outline = _outline(recipe, settings, data, kind, bases, at_once)
    rows, basis = _rows(settings, data)
    fill = 1.0
    if data.tokens_per_row is not None and isinstance(settings, FinetuneSettings):
        # Two marks around each text.
        fill = min(1.0, (data.tokens_per_row + 2) / outline.tokens)
    return Trained(step=name, outline=outline, world=world, rows=rows, basis=basis, fill=fill)


def _rows(settings: PretrainSettings | FinetuneSettings, data: Data) -> tuple[int | None, str]:
    if isinstance(settings, PretrainSettings):
        return settings.steps * settings.batch_rows * settings.accumulate, "steps x batch_rows"
    if data.rows is None:
        return None, data.basis
    return settings.epochs * data.rows * (1 + (settings.folds or 0)), data.basis


def _outline(
    recipe: Recipe,
    settings: PretrainSettings | FinetuneSettings,
    data: Data,
    kind: NodeKind,
    bases: Mapping[Literal["base", "teacher"], Path],
    at_once: int,
) -> Outline:
    meta = data.meta
    special: dict[str, Any] = {}
    if isinstance(settings, PretrainSettings):
        learned: Learned = settings.objective
        special = {
            "hidden_share": settings.hidden_share,
            "window": settings.window,
            "negatives": settings.negatives,
            "decoder": settings.decoder,
            "projection": settings.projection,
        }
    else:
        learned = _LEARNED[recipe.task]
        special = {"strategy": settings.strategy, "target_tokens": settings.max_target_tokens}
        if settings.teacher is not None:
            special["teacher"] = str(bases["teacher"])
    # Normalisation over the batch cannot do with one row.
    least = 2 if learned in ("pictures", "masked-autoencoder", "simclr") else 1
    return Outline(
        learned=learned,
        training=Training(**{name: getattr(settings, name) for name in Training.model_fields}),
        precision=_precision(settings, learned, kind),
        rows=tuple(dict.fromkeys((max(at_once, least), least))),
        shape=settings.model if not bases.get("base") else None,
        base=str(bases["base"]) if bases.get("base") else "",
        vocabulary=_vocabulary(recipe, meta),
        tokens=settings.max_tokens,
        classes=_classes(recipe, meta),
        pixels=_pixels(recipe, meta) if learned in ("pictures", "masked-autoencoder", "simclr") else None,
        features=len(meta.get("names", ())) or 1,
        **special,
    )


def _precision(
    settings: PretrainSettings | FinetuneSettings, learned: Learned, kind: NodeKind
) -> Literal["fp32", "bf16", "fp16"]:
    if settings.precision != "auto":
        return settings.precision
    # What a processor is faster in is measured when it trains: fp32 is what takes more.
    return "bf16" if kind.device is not None and learned != "rows" else "fp32"


def _vocabulary(recipe: Recipe, meta: Mapping[str, Any]) -> int:
    if "vocabulary" in meta:
        return int(meta["vocabulary"])
    told = recipe.preprocess.tokenizer
    return told.vocabulary if told is not None else 8000


def _classes(recipe: Recipe, meta: Mapping[str, Any]) -> int:
    if "labels" in meta:
        return len(meta["labels"])
    label = recipe.ingest.label
    named = (label.bins or label.classes or ()) if label is not None else ()
    return len(named) or 2


def _pixels(recipe: Recipe, meta: Mapping[str, Any]) -> PixelShape:
    told = recipe.preprocess.images
    return PixelShape(
        size=meta.get("size") or told.size or _SIDE,
        channels=meta.get("channels") or told.channels or 3,
        resize=told.resize,
        gray=False,
    )


def estimates(outlines: Sequence[Outline]) -> list[Estimate | str]:
    """Return what each comes to, or why that cannot be told; torch is loaded in a process of its own.

    Raises:
        ModelmillError: that process ended without an answer.
    """
    if not outlines:
        return []
    lines = "".join(f"{outline.model_dump_json()}\n" for outline in outlines)
    done = subprocess.run(
        [sys.executable, "-m", "modelmill.training.estimate"], input=lines, capture_output=True, text=True, check=False
    )
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if len(answers) != len(outlines):
        said = "\n".join(done.stderr.splitlines()[-3:])
        raise ModelmillError(
            f"plan: {len(answers)} of {len(outlines)} trainings could be sketched before the process ended with "
            f"{done.returncode}: {said}"
        )
    return [
        Estimate.model_validate_json(json.dumps(one["estimate"])) if "estimate" in one else str(one["error"])
        for one in answers
    ]


def with_training(trained: Trained, **changes: Any) -> Outline:
    """Return a training's outline with other settings."""
    training = trained.outline.training.model_copy(update=changes)
    return trained.outline.model_copy(update={"training": training})


def on(trained: Trained, kind: NodeKind, recipe: Recipe) -> Trained:
    """Return the same training with its batches shared among the devices of another kind of node."""
    settings: Section = recipe.pretrain if stage_of(trained.step) == "pretrain" else recipe.finetune  # type: ignore[assignment]
    batch_rows, micro_rows = trained.outline.training.batch_rows, trained.outline.training.micro_rows
    world = kind.devices or getattr(settings, "processes", None) or 1
    share = -(-batch_rows // world)
    least = trained.outline.rows[-1]
    at_once = max(least, min(micro_rows or share, share))
    rows = tuple(dict.fromkeys((at_once, least)))
    return replace(trained, world=world, outline=trained.outline.model_copy(update={"rows": rows}))
