"""The learning rate over the steps, as a share of its highest value."""

import math
from dataclasses import dataclass
from typing import Self

from modelmill.training.settings import Schedule, Training

# Smith's range of rates (arXiv:1708.07120), as torch.optim.lr_scheduler.OneCycleLR has it.
_ONE_CYCLE_START = 1 / 25


@dataclass(frozen=True, kw_only=True)
class Rates:
    """A rise over the warm-up, then what the schedule says, for steps counted from 0."""

    schedule: Schedule
    steps: int
    warmup: float
    """Share of the steps, from 0 to 1."""
    final: float
    """Share of the highest rate, from 0 to 1."""
    decay: float
    """Share of the steps, from 0 to 1; of warmup-stable-decay."""

    @classmethod
    def of(cls, settings: Training, steps: int) -> Self:
        """Return the rates of a training of so many steps."""
        return cls(
            schedule=settings.schedule,
            steps=steps,
            warmup=settings.warmup,
            final=settings.lr_final,
            decay=settings.decay,
        )

    def factor(self, step: int) -> float:
        """Return the share of the highest rate at a step: above 0, at most 1."""
        rising = self.warmup * self.steps
        if step < rising:
            risen = (step + 1) / (rising + 1)
            if self.schedule == "one-cycle":
                return _ONE_CYCLE_START + (1 - _ONE_CYCLE_START) * _half_wave(risen)
            return risen
        left = (self.steps - step) / max(self.steps - rising, 1.0)
        return self.final + (1 - self.final) * self._left(left)

    def _left(self, left: float) -> float:
        """Return the height between the final and the highest rate, by the share of the time after the warm-up."""
        if self.schedule == "constant":
            return 1.0
        if self.schedule == "linear":
            return left
        if self.schedule == "warmup-stable-decay":
            falling = min(self.decay / (1 - self.warmup), 1.0)
            return min(left / falling, 1.0)
        return _half_wave(left)


def _half_wave(share: float) -> float:
    return (1 - math.cos(math.pi * share)) / 2
