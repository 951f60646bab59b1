"""What `pretrain` is told."""

from typing import Literal, Self

from pydantic import Field, model_validator

from modelmill.models.architecture import Architecture
from modelmill.training.settings import Training


class Pretrain(Training):
    """The recipe's section `pretrain`: learning from text without labels."""

    objective: Literal["masked-lm"] = "masked-lm"
    """What is learned: `masked-lm` guesses hidden tokens from those around them."""
    base: str | None = None
    """URI of a model's folder to go on from."""
    model: Architecture | None = None
    """The shape of a model that starts from random weights; instead of a base."""
    steps: int = Field(default=1000, ge=1)
    """Updates of the weights."""
    # BERT, section 3.1 (arXiv:1810.04805).
    mask_rate: float = Field(default=0.15, gt=0, lt=1)
    """Share of the tokens that are to be guessed."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of each dense map's outputs that is set to 0 while learning; a corpus read about once needs none."""

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if (self.base is None) == (self.model is None):
            said = "neither is there" if self.base is None else "both are there"
            raise ValueError(f"give either base (weights to go on from) or model (a new one's shape); {said}")
        return self


class PretrainSettings(Pretrain):
    """What the step `pretrain` is told: its section."""
