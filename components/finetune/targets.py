"""A model that answers a sequence with a sequence: encoder and decoder, from weights or from random ones."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel

from components.finetune.learner import Learner, Start, rows_of
from components.finetune.settings import FinetuneSettings
from components.finetune.text import plan_of
from modelmill.dataset import Dataset
from modelmill.errors import UserError
from modelmill.models import sequence, text
from modelmill.models.architecture import EncoderDecoder
from modelmill.models.decoding import Decoding
from modelmill.models.sequence import Marks
from modelmill.training import lora, text_objectives
from modelmill.training.data import token_rows
from modelmill.training.target_data import TargetBatches


def prepare(settings: FinetuneSettings, dataset: Dataset, start: Start) -> Learner:
    """Return how targets are learned for rows of tokens.

    Raises:
        UserError: there are no training or validation rows, or the model does not fit the data.
    """
    model = sequence.sequence_model(_start(settings, dataset, start.folder))
    sequence.set_dropout(model, settings.dropout)
    marks, decoding = Marks.of(model.config), _decoding(settings)
    batches, cut = _batches(settings, dataset, "train", marks)
    return Learner(
        model=model,
        objective=partial(text_objectives.target_tokens, smoothing=settings.label_smoothing),
        batches=batches,
        steps_per_epoch=batches.steps_per_epoch,
        validation=_batches(settings, dataset, "validation", marks)[0].fixed(),
        best="loss",
        save=_saver(model, dataset, decoding),
        meta={
            "max_tokens": settings.max_tokens,
            "max_target_tokens": settings.max_target_tokens,
            "decoding": decoding.model_dump(),
            **({"prefix": dataset.meta["prefix"]} if "prefix" in dataset.meta else {}),
        },
        plan=plan_of(settings, model, batches.steps_per_epoch),
        perplexity=True,
        figures={**cut, "padding_share": round(batches.padding_share(), 6)},
    )


def _saver(model: PreTrainedModel, dataset: Dataset, decoding: Decoding) -> Callable[[Path], None]:
    def save(folder: Path) -> None:
        lora.merge(model)
        # So that `generate` of whoever opens the folder searches as we do.
        held: Any = model
        marks = Marks.of(model.config)
        held.generation_config = sequence.generation(marks, decoding, ())
        held.generation_config.forced_bos_token_id = marks.first
        text.save(model, folder)
        dataset.fetch_attachments(folder, "tokenizer/")

    return save


def _decoding(settings: FinetuneSettings) -> Decoding:
    """Return how the model is asked, with a bound on its answers.

    Raises:
        UserError: it is to write more than it learns to.
    """
    asked = settings.decoding
    if asked.max_tokens is not None and asked.max_tokens > settings.max_target_tokens:
        raise UserError(
            f"finetune.decoding.max_tokens: {asked.max_tokens}, and targets are learned up to "
            f"{settings.max_target_tokens} tokens; lower it, or raise preprocess.max_target_tokens"
        )
    return asked.model_copy(update={"max_tokens": asked.max_tokens or settings.max_target_tokens})


def _start(settings: FinetuneSettings, dataset: Dataset, folder: Path | None) -> Path | PreTrainedConfig:
    """Return the folder with the weights to start from, or the shape of random ones."""
    vocabulary, special = dataset.meta["vocabulary"], dataset.meta["special"]
    # A decoder is given its marks beside the target's tokens.
    longest = max(settings.max_tokens, settings.max_target_tokens + 1)
    if folder is None:
        return sequence.new_config(_shape(settings), vocabulary, longest, special)
    config = sequence.load_config(folder, vocabulary, longest, special)
    return config if settings.start == "random" else folder


def _shape(settings: FinetuneSettings) -> EncoderDecoder:
    shape = settings.model or EncoderDecoder(family="transformer")
    if not isinstance(shape, EncoderDecoder):
        raise UserError(f"finetune.model: {shape.family} writes no sequences; use transformer, t5 or bart")
    return shape


def _batches(
    settings: FinetuneSettings, dataset: Dataset, split: str, marks: Marks
) -> tuple[TargetBatches, dict[str, float]]:
    """Return the rows of a split as a model reads and writes them, and the shares of sources and targets cut."""
    table = rows_of(dataset, split, ["input_ids", "target_ids"])
    sides = {"sources": token_rows(table["input_ids"]), "targets": token_rows(table["target_ids"])}
    most = {"sources": settings.max_tokens, "targets": settings.max_target_tokens}
    cut = {
        f"truncated_{side}_share": sum(len(row) > most[side] - marks.around for row in rows) / len(rows)
        for side, rows in sides.items()
    }
    batches = TargetBatches(
        sources=[marks.source(row, most["sources"]) for row in sides["sources"]],
        targets=[marks.target(row, most["targets"]) for row in sides["targets"]],
        prefix=marks.prefix,
        batch_rows=settings.batch_rows,
        seed=settings.seed,
        pad=marks.pad,
    )
    return batches, {name: round(share, 6) for name, share in cut.items()}
