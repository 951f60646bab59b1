"""What `preprocess` is told."""

from typing import Literal

from pydantic import Field

from modelmill.pictures.shape import Resize
from modelmill.settings import Section, Task
from modelmill.tables.settings import TableTransforms


class TokenizerSettings(Section):
    """A tokenizer of the recipe's own, trained on its corpus."""

    kind: Literal["wordpiece", "bpe", "unigram", "words"] = "wordpiece"
    """`wordpiece` splits words as BERT does; `bpe` works on bytes, so that no character is unknown; `unigram` takes
    the likeliest of all ways to split; `words` splits none, which word embeddings want: a word is known or is not."""
    vocabulary: int = Field(default=8000, ge=300, le=1_000_000)
    """Tokens to learn, special tokens and single characters included."""
    min_count: int = Field(default=5, ge=1)
    """For `words`: a word that is rarer in the corpus is unknown."""
    lowercase: bool = True
    """Whether letters are made small, and for wordpiece accents taken off."""
    segment: Literal["jieba"] | None = None
    """`jieba` cuts Chinese into words first, which no token then reaches across; without it wordpiece takes every
    Chinese character for a word."""


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


class Tokens(Section):
    """How text becomes tokens, pictures pixels and columns numbers; nothing here says how long a row is."""

    tokenizer: TokenizerSettings | None = None
    """Trained on the corpus (on the labelled training text without one); left out, the base model's is used."""
    images: Images = Images()
    """Of pictures."""
    tables: TableTransforms = TableTransforms()
    """How the columns of a table become numbers."""
    prefix: str = ""
    """Stands before every source, in training as when the model is asked: what published T5 models know their tasks by
    (`"summarize: "`). For sequence-to-sequence."""


class Preprocess(Tokens):
    """The recipe's section `preprocess`: how text becomes tokens, and how many of them a model reads at once."""

    max_tokens: int = Field(default=128, ge=8, le=8192)
    """Length of a row in tokens, special tokens included; a longer labelled text is cut, and counted. Tokens are stored
    whole: with another length nothing is tokenized again."""
    max_target_tokens: int | None = Field(default=None, ge=8, le=8192)
    """The same of the target of a sequence-to-sequence row; left out, `max_tokens`."""
    packing: Literal["concatenate", "best-fit"] = "concatenate"
    """How the corpus fills rows: `concatenate` cuts the stream of all documents, so that no position is empty;
    `best-fit`, for causal-lm, cuts no document that fits into a row, and no document sees another."""


class PreprocessSettings(Tokens):
    """What the step `preprocess` is told: its section but for the rows, which training makes, and the task."""

    task: Task
