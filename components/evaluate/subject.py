"""What is probed: a model that answers, the rows that it was asked, and what it said."""

# N rows, L labels

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from modelmill.errors import ModelmillError
from modelmill.evaluation import regression
from modelmill.evaluation.intervals import wilson
from modelmill.evaluation.metrics import DECIMALS
from modelmill.evaluation.probes import Measured

Answers = npt.NDArray[np.float64]
_NONE = np.zeros(0)


class NoAnswers(ModelmillError):  # noqa: N818 - it says what the model gives
    """A model gives no finite numbers; the message says for how many rows, and which is the first."""


def check_finite(finite_N: Any, ids: Sequence[str], what: str, rows: str, way_out: str) -> None:
    """Check that a model has given a finite number for each row.

    Raises:
        NoAnswers: it has not.
    """
    bad = np.flatnonzero(~finite_N)
    if len(bad):
        raise NoAnswers(
            f"the model gives no finite {what} for {len(bad):,} of {len(finite_N):,} {rows} (the first is "
            f"{ids[bad[0]]}): its training diverged; lower {way_out}"
        )


class Scoring(Protocol):
    """How answers that are texts are scored."""

    metric: str

    def figures(self, batch: slice, answers: npt.NDArray[Any]) -> Answers:
        """Return what each answer to some of the rows, [B] or [B, S], adds to the figure."""

    def measured(self, figures: Answers) -> Measured:
        """Return the figure of the first rows, and its 95 % interval."""


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
    scoring: Scoring | None = None
    """Where answers are texts, for which `answers` is what each adds to the figure."""

    @property
    def metric(self) -> str:
        """The figure that the model is measured by."""
        if self.scoring is not None:
            return self.scoring.metric
        return "accuracy" if self.labels else "r2"

    def asked(self, inputs: Sequence[Any], batch: slice) -> Answers:
        """Ask the model what some of the rows have become; of texts, return what each adds to the figure."""
        found: npt.NDArray[Any] = self.predictor.predict(inputs)
        return found if self.scoring is None else self.scoring.figures(batch, found)

    def measured(self, answers: Answers) -> Measured:
        """Return the figure of answers to the first rows, and its 95 % interval."""
        if self.scoring is not None:
            return self.scoring.measured(answers)
        truth_N = self.truth[: len(answers)]
        if self.labels:
            right = int((answers.argmax(axis=1) == truth_N).sum())
            value, (low, high) = right / len(truth_N), wilson(right, len(truth_N))
        else:
            value = regression.score(truth_N, answers)["r2"]
            low, high = regression.intervals(truth_N, answers)["r2"]
        return Measured(value=round(value, DECIMALS), low=round(low, DECIMALS), high=round(high, DECIMALS))
