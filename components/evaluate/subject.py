"""What is probed: a model that answers, the rows that it was asked, and what it said."""

# N rows, L labels

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from modelmill.evaluation import regression
from modelmill.evaluation.intervals import wilson
from modelmill.evaluation.metrics import DECIMALS
from modelmill.evaluation.probes import Measured

Answers = npt.NDArray[np.float64]
_NONE = np.zeros(0)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model, the rows that it was asked, and what it said."""

    predictor: Any
    folder: Path
    """Where its files are."""
    inputs: Sequence[Any]
    ids: Sequence[str] = ()
    truth: npt.NDArray[Any] = field(default_factory=lambda: _NONE)
    """Label numbers, or numbers in the target's own unit, [N]."""
    answers: Answers = field(default_factory=lambda: _NONE)
    """The probability of each label [N, L], or the numbers predicted [N]."""
    labels: tuple[str, ...] = ()
    """None where a number is predicted."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """What each column holds, of a table's rows."""
    target: str = ""
    """Name of the number that is predicted."""

    @property
    def metric(self) -> str:
        """The figure that the model is measured by."""
        return "accuracy" if self.labels else "r2"

    def measured(self, answers: Answers) -> Measured:
        """Return the figure of answers to the first rows, and its 95 % interval."""
        truth_N = self.truth[: len(answers)]
        if self.labels:
            right = int((answers.argmax(axis=1) == truth_N).sum())
            value, (low, high) = right / len(truth_N), wilson(right, len(truth_N))
        else:
            value = regression.score(truth_N, answers)["r2"]
            low, high = regression.intervals(truth_N, answers)["r2"]
        return Measured(value=round(value, DECIMALS), low=round(low, DECIMALS), high=round(high, DECIMALS))
