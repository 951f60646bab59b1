"""Answers from raw input: one way for evaluation, for `modelmill predict` and for serving, so that none can drift."""

# N inputs, L labels

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol

import numpy.typing as npt
import torch

from modelmill.cores import usable_cores
from modelmill.errors import UserError
from modelmill.models import quantized
from modelmill.models.folder import MODEL_FILE

Answers = npt.NDArray[Any]


class Predictor(Protocol):
    """A model with all that stands before its weights."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes; none where a number or a text is predicted."""

    def predict(self, inputs: Sequence[Any]) -> Answers:
        """Return for each input the probability of each label [N, L], or the predicted number or text [N], or a
        record of several things by name [N].

        An input is as raw as it comes from outside: a text, the bytes of a picture, a table's row as a mapping.
        """


_LOADERS: Mapping[str, str] = {
    "text-classification": "text_predictor:load",
    "question-answering": "question_predictor:load",
    "pair-classification": "text_predictor:load",
    "sequence-to-sequence": "target_predictor:load",
    "image-classification": "image_predictor:load",
    "table-classification": "table_predictor:load",
    "table-regression": "table_predictor:load",
    "causal-lm": "language_predictor:load_causal",
    "masked-lm": "language_predictor:load_masked",
    "word-embeddings": "word_predictor:load",
}
"""By task, loaded when asked for: a table's model answers without transformers, which takes seconds to load."""


def load_predictor(folder: Path) -> Predictor:
    """Load a model from its folder.

    Raises:
        UserError: the folder holds no such model.
    """
    path = folder / MODEL_FILE
    try:
        facts = json.loads(path.read_text())
        named = _LOADERS[facts["task"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: does not describe a model that answers ({error!r}); name a fine-tuned one") from error
    torch.set_num_threads(usable_cores())
    load: Callable[[Path, Mapping[str, Any]], Predictor] = resolve_name(f"modelmill.models.{named}")
    try:
        if quantized.KEY in facts:
            found: Predictor = quantized.load(folder, facts, load)
            return found
        return load(folder, facts)
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: does not describe a model for {facts['task']} ({error!r})") from error
