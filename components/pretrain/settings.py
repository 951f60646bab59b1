"""What `pretrain` is told."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from modelmill.models.architecture import Architecture, Decoder, LanguageShape, WordTable
from modelmill.settings import Section
from modelmill.training.settings import Training

WORDS = ("skip-gram", "cbow")
"""The objectives of the task word-embeddings."""
_SHAPES: Mapping[str, tuple[type[Section], str]] = {
    "masked-lm": (Architecture, "bert or modernbert"),
    "causal-lm": (Decoder, "gpt2 or llama"),
    **dict.fromkeys(WORDS, (WordTable, "word2vec")),
}
"""By objective: the kind of shape that learns it, and its families."""


class Pretrain(Training):
    """The recipe's section `pretrain`: learning from text without labels."""

    objective: Literal["masked-lm", "causal-lm", "skip-gram", "cbow"] = "masked-lm"
    """What is learned: `masked-lm` guesses hidden tokens from those around them, `causal-lm` the next token from those
    before it; of word embeddings, `skip-gram` tells the words around a word from noise, `cbow` a word by the mean of
    those around it (arXiv:1310.4546)."""
    base: str | None = None
    """A model to go on from: a folder, `package://…`, `hf://owner/name`, `s3://…/`, a
    model of the store (`models/<digest>`), or MLflow's (`models:/name@alias`, `models:/name/version`, `runs:/…`)."""
    model: LanguageShape | None = None
    """The shape of a model that starts from random weights; instead of a base."""
    steps: int = Field(default=1000, ge=1)
    """Updates of the weights."""
    # BERT, section 3.1 (arXiv:1810.04805).
    mask_rate: float = Field(default=0.15, gt=0, lt=1)
    """Share of the tokens that are to be guessed in `masked-lm`."""
    window: int = Field(default=5, ge=1, le=50)
    """Words to each side that count as near in `skip-gram` and `cbow`; for each word as many as this, or fewer, drawn
    evenly, so that nearer ones count more."""
    negatives: int = Field(default=5, ge=1, le=64)
    """Words of noise that each true one counts against in `skip-gram` and `cbow`."""
    # arXiv:1310.4546 has 1e-5 for a billion words; word2vec's own default is for what is smaller.
    subsample: float = Field(default=1e-3, ge=0, le=1)
    """Share of all words above which `skip-gram` and `cbow` leave a word out at random, the more the more frequent it
    is; 0 leaves none out."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of each dense map's outputs that is set to 0 while learning; a corpus read about once needs none."""

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if (self.base is None) == (self.model is None):
            said = "neither is there" if self.base is None else "both are there"
            raise ValueError(f"give either base (weights to go on from) or model (a new one's shape); {said}")
        wanted, families = _SHAPES[self.objective]
        if self.objective in WORDS and self.base is not None:
            raise ValueError(f"base: {self.objective} starts from new vectors; give model: {{family: word2vec}}")
        if self.model is not None and not isinstance(self.model, wanted):
            raise ValueError(f"model.family: {self.model.family} cannot learn {self.objective}; use {families}")
        return self


class PretrainSettings(Pretrain):
    """What the step `pretrain` is told: its section, and how rows are made of the corpus."""

    max_tokens: int = Field(default=128, ge=8, le=8192)
    """Length of a row in tokens: `preprocess.max_tokens`."""
    packing: Literal["concatenate", "best-fit"] = "concatenate"
    """How documents fill rows: `preprocess.packing`."""

    @model_validator(mode="after")
    def _apart_only_from_left_to_right(self) -> Self:
        if self.packing == "best-fit" and self.objective != "causal-lm":
            raise ValueError(f"packing best-fit is for causal-lm, and the objective is {self.objective}")
        return self
