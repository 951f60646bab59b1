"""What `preprocess` is told."""

from typing import Literal

from pydantic import Field

from modelmill.pictures.shape import Resize
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


class Images(Section):
    """What pictures become: squares of 8 bits a channel."""

    size: int | None = Field(default=None, ge=8, le=1024)
    """Width and height in pixels; left out, the base model's, or else the median of the training pictures' shorter
    sides, at most 224."""
    channels: Literal[1, 3] | None = None
    """1 is gray, 3 is RGB; left out, the base model's, or else gray where every training picture is."""
    resize: Resize = "crop"
    """`crop` makes the shorter side fit and cuts the longer one at both ends, `stretch` makes both fit, `pad` makes the
    longer one fit and adds black."""


class Preprocess(Section):
    """The recipe's section `preprocess`: how text becomes tokens, and pictures become pixels."""

    max_tokens: int = Field(default=128, ge=8, le=8192)
    """Length of a row in tokens, special tokens included; a longer labelled text is cut, and counted."""
    tokenizer: TokenizerSettings | None = None
    """Trained on the corpus (on the labelled training text without one); left out, the base model's is used."""
    images: Images = Images()
    """Of pictures."""
    tables: TableTransforms = TableTransforms()
    """How the columns of a table become numbers."""


class PreprocessSettings(Preprocess):
    """What the step `preprocess` is told: its section, and the task."""

    task: Task
