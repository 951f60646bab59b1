"""What a checkpoint of the loop holds beside tensors, and what is told to the loop."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch

from modelmill.training.checkpoint import Checkpoints
from modelmill.training.data import Batch, Batches
from modelmill.training.distributed import ALONE, World
from modelmill.training.objectives import Objective
from modelmill.training.precision import Precision
from modelmill.training.settings import Training
from modelmill.training.spikes import Watch
from modelmill.training.strategy import Plan


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How long and how to learn."""

    training: Training
    steps: int
    batches: int | None = None
    """Batches to read in all, where the last step needs fewer than the others; None for those of all steps."""
    validate_every: int
    """Steps between two looks at the validation rows; the last step is always followed by one."""
    keep_best: str | None
    """The validation figure by which the best weights are chosen and returned; without one the last ones are."""

    @classmethod
    def of_epochs(cls, training: Training, epochs: int, batches: int, best: str | None) -> Self:
        """Return the settings of a training that reads some batches so many times, with a validation after each."""
        return cls(
            training=training,
            steps=-(-epochs * batches // training.accumulate),
            batches=epochs * batches,
            validate_every=-(-batches // training.accumulate),
            keep_best=best,
        )

    @property
    def figure(self) -> str | None:
        """The validation figure by which weights are kept: the recipe's, else the stage's."""
        return {None: self.keep_best, "last": None}.get(self.training.best, self.training.best)


@dataclass(kw_only=True)
class Job:
    """What to train: the loop knows no model and no objective."""

    what: str
    """Name on the progress bar."""
    model: torch.nn.Module
    objective: Objective
    batches: Batches
    validation: Sequence[Batch]
    checkpoints: Checkpoints
    device: torch.device
    plan: Plan | None = None
    """Which weights learn; None for all that may."""
    world: World = ALONE
    """The processes that train together."""


@dataclass(kw_only=True)
class State:
    """What a checkpoint holds beside tensors."""

    precision: Precision
    micro_rows: int | None
    """Rows computed at once; None for a whole batch."""
    flops_per_token: float = 0.0
    """Counted in the first step."""
    step: int = 0
    """Steps done."""
    passed: int = 0
    """Batches passed over, so that the next step's are so many further on."""
    seconds: float = 0.0
    """Time spent until here, over all processes."""
    validated: int = 0
    """The last step that was followed by validation."""
    validations: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, float] | None = None
    ended: str = ""
    """The setting that ended training early."""
    watch: Watch = field(default_factory=Watch)

    @classmethod
    def of(cls, content: dict[str, Any]) -> Self:
        """Return the state that `dataclasses.asdict` made into this."""
        return cls(**{**content, "watch": Watch(**content["watch"])})
