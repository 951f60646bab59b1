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
    known = {split: _known(dataset, split, tuple(special.values())) for split in ("train", "validation")}
    ids_S, document_S = known["train"]
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
    made = {
        split: WordBatches(
            ids_S=words[0],
            document_S=words[1],
            counts_V=counts_V,
            window=settings.window,
            subsample=settings.subsample,
            batch_rows=settings.batch_rows,
            seed=settings.seed,
        )
        for split, words in known.items()
    }

    def save(folder: Path) -> None:
        dataset.fetch_attachments(folder, "tokenizer/")
        backend = load_tokenizer(folder).backend
        word_vectors.save(model, counts_V, [backend.id_to_token(number) for number in range(vocabulary)], folder)

    return Learner(
        model=model,
        objective=OBJECTIVES[settings.objective],
        batches=made["train"],
        validation=made["validation"].fixed(_VALIDATION_BATCHES),
        figures={"words": len(ids_S), "words_beside_others": beside, "vocabulary": vocabulary},
        save=save,
        meta={"task": "word-embeddings"},
    )


def _known(dataset: Dataset, split: str, special: tuple[int, ...]) -> tuple[Array, Array]:
    """Return the words of a split that the vocabulary has, and the number of each one's document."""
    documents = Documents.of(dataset.schema, dataset.batches(split, ["input_ids"]))
    document_S: Any = np.repeat(np.arange(len(documents.length_D)), documents.length_D)
    known_S = ~np.isin(documents.ids_S, special)
    return documents.ids_S[known_S].astype(np.int64), document_S[known_S]
