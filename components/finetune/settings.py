"""What `finetune` is told."""

from typing import Literal

from pydantic import Field

from modelmill.models.architecture import Shape
from modelmill.settings import Task
from modelmill.training.settings import Training


class Finetune(Training):
    """The recipe's section `finetune`: learning the task from labelled rows."""

    strategy: Literal["full"] = "full"
    """`full`: every weight learns."""
    base: str | None = None
    """URI of a model's folder to start from, where there is no pretraining."""
    epochs: int = Field(default=3, ge=1)
    """Times that every row is read; the weights after the epoch with the best validation accuracy are kept."""
    lr: float = Field(default=8e-5, gt=0, le=1)
    """Highest learning rate; it rises to it during the warm-up and falls to 0 in a straight line."""
    model: Shape | None = None
    """The shape of a start from random weights, where there is neither pretraining nor a base."""


class FinetuneSettings(Finetune):
    """What the step `finetune` is told: its section, with the shape that pretraining has, and the task."""

    task: Task
    max_tokens: int = Field(default=128, ge=8, le=8192)
    """Length that a row of tokens is cut to: `preprocess.max_tokens`."""
    start: Literal["weights", "random"] = "weights"
    """`random`: the comparison, which takes nothing but the shape from the model that the others start from."""
