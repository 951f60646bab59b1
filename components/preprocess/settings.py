"""What `preprocess` is told."""

from typing import Literal

from pydantic import Field

from modelmill.settings import Section, Task
from modelmill.tables.settings import TableTransforms


class TokenizerSettings(Section):
    """A tokenizer of the recipe's own, trained on its corpus."""

    kind: Literal["wordpiece", "bpe"] = "wordpiece"
    """`wordpiece` splits words as BERT does; `bpe` works on bytes, so that no character is unknown."""
    vocabulary: int = Field(default=8000, ge=300, le=1_000_000)
    """Tokens to learn, special tokens and single characters included."""
    lowercase: bool = True
    """Whether letters are made small, and for wordpiece accents taken off."""


class Preprocess(Section):
    """The recipe's section `preprocess`: how text becomes tokens."""

    max_tokens: int = Field(default=128, ge=8, le=8192)
    """Length of a row in tokens, special tokens included; a longer labelled text is cut, and counted."""
    tokenizer: TokenizerSettings | None = None
    """Trained on the corpus (on the labelled training text without one); left out, the base model's is used."""
    tables: TableTransforms = TableTransforms()
    """How the columns of a table become numbers."""


class PreprocessSettings(Preprocess):
    """What the step `preprocess` is told: its section, and the task."""

    task: Task
