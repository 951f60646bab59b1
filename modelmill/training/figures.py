"""What a training says of itself: sums between two points of its curves, and of the whole."""

import time
from dataclasses import dataclass, field

import torch

from modelmill.training import utilisation
from modelmill.training.gradients import Total
from modelmill.training.precision import Precision


@dataclass(kw_only=True)
class Window:
    """What is summed up between two points of the curves."""

    loss: torch.Tensor | float = 0.0
    count: int = 0
    rows: int = 0
    tokens: int = 0
    waited: float = 0.0
    """Seconds spent on getting batches."""
    began: float = field(default_factory=time.perf_counter)

    def add(self, total: Total, waited: float) -> None:
        """Count a step."""
        # Stays on the device: to read it there is to wait for it.
        self.loss = self.loss + total.loss
        self.count += total.count
        self.rows += total.rows
        self.tokens += total.tokens
        self.waited += waited

    def mean_loss(self) -> float:
        """Return the loss of a prediction, 0 where there was none."""
        return float(self.loss) / self.count if self.count else 0.0

    def figures(self) -> dict[str, float]:
        """Return the figures of the steps that were counted, and of the time since the window began."""
        seconds = time.perf_counter() - self.began
        return {"loss": self.mean_loss(), **self.rates(seconds), "data_wait_share": self.waited / seconds}

    def rates(self, seconds: float) -> dict[str, float]:
        """Return how many rows, and of rows with tokens how many of these, there were in a second."""
        rates = {"samples_per_second": self.rows / seconds}
        # A picture, or a row of a table, counts as one token.
        return rates if self.tokens == self.rows else {**rates, "tokens_per_second": self.tokens / seconds}


@dataclass(kw_only=True)
class Meter:
    """How far and how fast one process trained."""

    window: Window = field(default_factory=Window)
    """Since the last point of the curves."""
    whole: Window = field(default_factory=Window)
    seconds: float = 0.0
    """Of training alone."""
    flops_per_token: float = 0.0

    def add(self, total: Total, waited: float) -> None:
        """Count a step."""
        for window in (self.window, self.whole):
            window.add(total, waited)

    def point(self) -> dict[str, float]:
        """Return the figures since the last point, and begin anew."""
        figures = self.window.figures()
        self.window = Window()
        return figures

    def resume_clock(self) -> None:
        """Leave out of the next point the time until now, where no step has been counted."""
        if not self.window.count:
            self.window.began = time.perf_counter()

    def figures(self, device: torch.device, precision: Precision, saving: float) -> dict[str, float]:
        """Return the figures of all steps; `saving` is how many seconds they waited for checkpoints."""
        if not self.seconds:
            return {}
        done = self.flops_per_token * self.whole.tokens / self.seconds
        return {
            **{name: round(rate, 2) for name, rate in self.whole.rates(self.seconds).items()},
            "data_wait_share": round(self.whole.waited / self.seconds, 4),
            "checkpoint_share": round(saving / self.seconds, 4),
            "flop_utilisation": round(done / utilisation.peak(device, precision), 6),
        }
