"""The base of every settings class: frozen, closed, documented under each field."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

TextTask = Literal["text-classification", "pair-classification"]
"""What may be learned from texts: the class of one, or of two that are read together."""
LanguageTask = Literal["causal-lm", "masked-lm", "word-embeddings"]
"""Language models that are an end in themselves: no labelled rows, and pretraining is all the training."""
TargetTask = Literal["sequence-to-sequence"]
"""What answers a text with a text: translation, replies."""
TableTask = Literal["table-classification", "table-regression"]
"""What may be learned from tables."""
Task = Literal[TextTask, "question-answering", TargetTask, "image-classification", TableTask, LanguageTask]
"""What a recipe may be for; of pictures and tables, ingest makes datasets."""


class Section(BaseModel):
    """A part of a recipe, or what one step is told: unknown keys and wrong types are refused when built."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        # What a person typed may hold a secret.
        hide_input_in_errors=True,
        validate_default=True,
    )
