"""Language models and vectors of words, and what they learn from without labels, by objective."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from components.pretrain import words
from components.pretrain.made import Learner, pin
from components.pretrain.settings import WORDS, PretrainSettings
from modelmill.dataset import Dataset
from modelmill.errors import UserError
from modelmill.models import causal, text
from modelmill.models.architecture import Architecture, Decoder
from modelmill.models.base import base_folder
from modelmill.training import text_objectives
from modelmill.training.causal_data import CausalBatches
from modelmill.training.data import Masking, PackedBatches
from modelmill.training.packing import Documents, Packed, best_fit, concatenate

# The most batches that a look at the validation rows takes.
_VALIDATION_BATCHES = 64


def prepare(settings: PretrainSettings, dataset: Dataset, base: str) -> Learner:
    """Return how the objective is learned from the tokens of a corpus.

    Raises:
        UserError: the corpus fills no row, or the base model does not fit the data.
        ModelmillError: the base model is not what it was.
    """
    if settings.objective in WORDS:
        return words.prepare(settings, dataset)
    packed = {split: _packed(settings, dataset, split) for split in ("train", "validation")}
    train = packed["train"].figures
    if not train["rows"]:
        raise UserError(
            f"ingest.corpus: {train['documents']} documents hold {train['tokens']} tokens, and one row takes "
            f"{settings.max_tokens}: give more text, or lower preprocess.max_tokens"
        )
    shares = {name: train[name] for name in ("utilisation", "cut_share", "unused")}
    figures = {"max_tokens": settings.max_tokens, "packing": settings.packing, "rows": train["rows"], **shares}
    return _OBJECTIVES[settings.objective](settings, dataset, base, packed, figures)


def _saver(model: Any, dataset: Dataset) -> Callable[[Path], None]:
    def save(folder: Path) -> None:
        text.save(model, folder)
        dataset.fetch_attachments(folder, "tokenizer/")

    return save


def _packed(settings: PretrainSettings, dataset: Dataset, split: str) -> Packed:
    special = dataset.meta["special"]
    documents = Documents.of(dataset.schema, dataset.batches(split, ["input_ids"]))
    marks = {"first": special["cls"], "end": special["sep"]}
    if settings.packing == "best-fit":
        return best_fit(documents, settings.max_tokens, **marks, pad=special["pad"])
    # An encoder reads rows that begin alike, a decoder documents that do: it will be asked to go on from a beginning.
    heads = "row" if settings.objective == "masked-lm" else "document"
    return concatenate(documents, settings.max_tokens, **marks, heads=heads)


def _masked_lm(
    settings: PretrainSettings, dataset: Dataset, base: str, packed: Mapping[str, Packed], figures: Mapping[str, Any]
) -> Learner:
    special, vocabulary = dataset.meta["special"], dataset.meta["vocabulary"]
    if settings.model is not None:
        assert isinstance(settings.model, Architecture)
        config = text.new_config(settings.model, vocabulary, settings.max_tokens, special["pad"])
        model = text.masked_lm(config)
    else:
        folder = base_folder(pin(settings, base))
        text.load_config(folder, vocabulary, settings.max_tokens)
        model = text.masked_lm(folder)
    text.family(model).set_dropout(model, settings.dropout)
    masking = Masking(
        rate=settings.hidden_share,
        mask=special["mask"],
        special=tuple(sorted(special.values())),
        vocabulary=vocabulary,
    )
    made = {
        split: PackedBatches(rows_NT=rows.rows_NT, batch_rows=settings.batch_rows, seed=settings.seed, masking=masking)
        for split, rows in packed.items()
    }
    return Learner(
        model=model,
        objective=text_objectives.masked_lm,
        batches=made["train"],
        validation=made["validation"].fixed(_VALIDATION_BATCHES),
        figures=figures,
        save=_saver(model, dataset),
        meta={"max_tokens": settings.max_tokens},
    )


def _causal_lm(
    settings: PretrainSettings, dataset: Dataset, base: str, packed: Mapping[str, Packed], figures: Mapping[str, Any]
) -> Learner:
    special, vocabulary = dataset.meta["special"], dataset.meta["vocabulary"]
    if settings.model is not None:
        assert isinstance(settings.model, Decoder)
        model = causal.language_model(causal.new_config(settings.model, vocabulary, settings.max_tokens, special))
    else:
        folder = base_folder(pin(settings, base))
        causal.load_config(folder, vocabulary, settings.max_tokens)
        model = causal.language_model(folder)
    causal.set_dropout(model, settings.dropout)
    made = {
        split: CausalBatches(
            packed=rows,
            batch_rows=settings.batch_rows,
            seed=settings.seed,
            first=special["cls"],
            end=special["sep"],
        )
        for split, rows in packed.items()
    }
    return Learner(
        model=model,
        objective=text_objectives.causal_lm,
        batches=made["train"],
        validation=made["validation"].fixed(_VALIDATION_BATCHES),
        figures=figures,
        save=_saver(model, dataset),
        meta={"max_tokens": settings.max_tokens},
    )


_OBJECTIVES: Mapping[str, Callable[..., Learner]] = {"masked-lm": _masked_lm, "causal-lm": _causal_lm}
