"""Steps that would harm the weights: found before their update."""

import math
from dataclasses import dataclass

from modelmill.training.settings import Training

# A spike is told from noise once so many good steps have been seen.
_LEAST = 20
_DECAY = 1 - 1 / 50


@dataclass(kw_only=True)
class Watch:
    """The running mean of the losses of good steps, and how often a step was not good."""

    mean: float = 0.0
    seen: int = 0
    spikes: int = 0

    def fault(self, loss: float, norm: float | None, settings: Training) -> str:
        """Return what is wrong with a step, '' for nothing; a good one is taken into the mean."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if norm is not None and not math.isfinite(norm):
            return f"the gradient's length is {norm}"
        if settings.spike is not None and self.seen >= _LEAST and loss > settings.spike * self.mean:
            return f"the loss is {loss:.4g}, {loss / self.mean:.1f} times its running mean of {self.mean:.4g}"
        self.seen += 1
        # As a plain mean at first, which forgets as slowly as it should only later.
        self.mean += (loss - self.mean) * max(1 - _DECAY, 1 / self.seen)
        return ""


def reads_every_step(settings: Training) -> bool:
    """Return whether the loss of every step must be known before its update."""
    return settings.on_spike != "stop" or settings.spike is not None
