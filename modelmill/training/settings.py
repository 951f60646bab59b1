"""The settings that every training step has."""

from typing import Literal

from pydantic import Field

from modelmill.settings import Section


class Training(Section):
    """How the weights are learned."""

    batch_rows: int = Field(default=32, ge=1)
    """Rows that go into one step."""
    lr: float = Field(default=1e-4, gt=0, le=1)
    """Highest learning rate; it rises to it during the warm-up and falls to 0 in a straight line."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = Field(default=0.01, ge=0, lt=1)
    """Of AdamW, a step and unit of learning rate; not for biases and normalisation."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of each dense map's outputs that is set to 0 while learning."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic; `auto` times both on a few batches and takes bf16 where it is at least 1.1 times as fast."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of new weights, of the rows' order, and of dropout."""
    checkpoint_seconds: float = Field(default=60.0, ge=0)
    """Time between two saves of the whole state, from which the step goes on when it is run again."""
