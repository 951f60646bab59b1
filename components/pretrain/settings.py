"""What `pretrain` is told."""

from typing import Literal, Self

from pydantic import Field, model_validator

from modelmill.models.architecture import Architecture, Decoder, LanguageShape
from modelmill.training.settings import Training


class Pretrain(Training):
    """The recipe's section `pretrain`: learning from text without labels."""

    objective: Literal["masked-lm", "causal-lm"] = "masked-lm"
    """What is learned: `masked-lm` guesses hidden tokens from those around them, `causal-lm` the next token from those
    before it."""
    base: str | None = None
    """URI of a model's folder to go on from."""
    model: LanguageShape | None = None
    """The shape of a model that starts from random weights; instead of a base."""
    steps: int = Field(default=1000, ge=1)
    """Updates of the weights."""
    # BERT, section 3.1 (arXiv:1810.04805).
    mask_rate: float = Field(default=0.15, gt=0, lt=1)
    """Share of the tokens that are to be guessed in `masked-lm`."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of each dense map's outputs that is set to 0 while learning; a corpus read about once needs none."""

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if (self.base is None) == (self.model is None):
            said = "neither is there" if self.base is None else "both are there"
            raise ValueError(f"give either base (weights to go on from) or model (a new one's shape); {said}")
        wanted = {"masked-lm": Architecture, "causal-lm": Decoder}[self.objective]
        if self.model is not None and not isinstance(self.model, wanted):
            families = {"masked-lm": "bert or modernbert", "causal-lm": "gpt2 or llama"}[self.objective]
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
