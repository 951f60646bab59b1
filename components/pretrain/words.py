"""Word embeddings and what they learn from: the words of a corpus, each with those around it."""

from pathlib import Path
from typing import Any

import numpy as np

from components.pretrain.made import Learner
from components.pretrain.settings import PretrainSettings
from modelmill.dataset import Dataset
from modelmill.errors import UserError
from modelmill.models import word_vectors
from modelmill.models.architecture import WordTable
from modelmill.models.tokenizer import load_tokenizer
from modelmill.models.word_vectors import Array, WordConfig, WordVectors, accompanied
from modelmill.training.packing import Documents
from modelmill.training.word_data import WordBatches
from modelmill.training.word_objectives import OBJECTIVES

# The most batches that a look at the validation words takes.
_VALIDATION_BATCHES = 64


def prepare(settings: PretrainSettings, dataset: Dataset) -> Learner:
    """Return how embeddings are learned from the words of a corpus.

    Raises:
        UserError: no word of it stands beside another.
    """
    assert isinstance(settings.model, WordTable)
    assert settings.objective == "skip-gram" or settings.objective == "cbow"  # noqa: PLR1714  mypy reads it so
    special, vocabulary = dataset.meta["special"], dataset.meta["vocabulary"]
    ids_S, document_S = learned = _known(dataset, "train", tuple(special.values()))
    beside = int(accompanied(document_S).sum())
    if not beside:
        raise UserError(
            f"ingest.corpus: of {len(ids_S)} known words 0 stand beside another; give more text, or lower "
            "preprocess.tokenizer.min_count"
        )
    counts_V = np.bincount(ids_S, minlength=vocabulary)
    model = WordVectors(
        WordConfig(
            objective="cbow" if settings.objective == "cbow" else "skip-gram",
            vocabulary=vocabulary,
            width=settings.model.width,
            window=settings.window,
            negatives=settings.negatives,
            subsample=settings.subsample,
        )
    )
    held_out = _known(dataset, "validation", tuple(special.values()))

    def save(folder: Path) -> None:
        dataset.fetch_attachments(folder, "tokenizer/")
        backend = load_tokenizer(folder).backend
        word_vectors.save(model, counts_V, [backend.id_to_token(number) for number in range(vocabulary)], folder)

    return Learner(
        model=model,
        objective=OBJECTIVES[settings.objective],
        batches=_batches(settings, learned, counts_V),
        validation=_batches(settings, held_out, counts_V).fixed(_VALIDATION_BATCHES),
        figures={"words": len(ids_S), "words_beside_others": beside, "vocabulary": vocabulary},
        save=save,
        meta={"task": "word-embeddings"},
    )


def _batches(settings: PretrainSettings, words: tuple[Array, Array], counts_V: Array) -> WordBatches:
    ids_S, document_S = words
    return WordBatches(
        ids_S=ids_S,
        document_S=document_S,
        counts_V=counts_V,
        window=settings.window,
        subsample=settings.subsample,
        batch_rows=settings.batch_rows,
        seed=settings.seed,
    )


def _known(dataset: Dataset, split: str, special: tuple[int, ...]) -> tuple[Array, Array]:
    """Return the words of a split that the vocabulary has, and the number of each one's document."""
    documents = Documents.of(dataset.schema, dataset.batches(split, ["input_ids"]))
    document_S: Any = np.repeat(np.arange(len(documents.length_D)), documents.length_D)
    known_S = ~np.isin(documents.ids_S, special)
    return documents.ids_S[known_S].astype(np.int64), document_S[known_S]
