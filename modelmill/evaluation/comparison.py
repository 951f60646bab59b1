"""What a recipe asks of a model beside the champion, and how the two compare, as data."""

from typing import Literal

from pydantic import Field, model_validator

from modelmill.evaluation.checks import Metric
from modelmill.settings import Section

Outcome = Literal["better", "not_worse", "worse", "open"]
"""Shown to be better; shown to lose no more than the margin; shown to be worse; none of these."""


class AgainstChampion(Section):
    """What a model must show beside the champion, on the very same test rows, to take its place."""

    wants: Literal["better", "not_worse"] = "better"
    """`not_worse`: it is enough to lose no more than `margin`, as for a model that is cheaper to serve."""
    margin: float = Field(default=0.0, ge=0)
    """By how much the figure may be worse and still count as not worse, in the figure's own unit."""
    metric: Metric | None = None
    """The figure that decides; left out: accuracy, R², F1 of answers, chrF, or of language models bits per byte."""
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    """Of the two-sided interval: of equal models at most half of what is missing to 1 is promoted, 2.5 %."""
    slice_margin: float | None = Field(default=None, ge=0)
    """Given, every slice with rows enough must be shown to lose no more than this, else the verdict is undecided.
    Without it a slice that is shown to be worse holds a model back. Both corrected for the number of slices."""

    @model_validator(mode="after")
    def _has_a_margin(self) -> "AgainstChampion":
        if self.wants == "not_worse" and self.margin == 0:
            raise ValueError("wants not_worse: says by how much, as in {wants: not_worse, margin: 0.01}")
        return self


class Difference(Section):
    """One figure of both models on the same rows."""

    metric: str
    champion: float
    challenger: float
    difference: float
    """Challenger less champion."""
    low: float
    high: float
    """Interval of the difference, at the confidence that was asked for."""
    better: bool | None
    """Whether the interval shows the challenger to be better, or worse; None where it shows neither."""


class SliceDifference(Section):
    """The figure that decides, of both models, on a part of the rows."""

    column: str
    value: str
    rows: int
    few: bool
    """Too few rows to be judged."""
    champion: float | None = None
    challenger: float | None = None
    low: float | None = None
    high: float | None = None
    """Interval of challenger less champion, not corrected."""
    p: float | None = None
    """One-sided: that the slice is not worse (no `slice_margin`), or is worse by more than it."""
    shown: bool = False
    """Whether that is refused after Holm's correction: the slice is shown to be worse, or shown not to be."""


class Comparison(Section):
    """Two models on the very same test rows."""

    champion: str
    """Its address in the store."""
    version: str
    """Its version in the registry."""
    rows: int
    metric: str
    """The figure that decides."""
    asked: AgainstChampion
    outcome: Outcome
    p: float
    """Two-sided p of no difference in that figure; for accuracy McNemar's exact one."""
    differences: tuple[Difference, ...]
    gained: int | None = None
    """Rows that the challenger alone has right, of classes."""
    lost: int | None = None
    """Rows that the champion alone has right."""
    smallest: float | None = None
    """The smallest gain that these rows show four times in five; None where they can show none."""
    rows_needed: int | None = None
    """Rows that would show the gain that was seen four times in five; None where none was seen."""
    slices: tuple[SliceDifference, ...] = ()

    @property
    def main(self) -> Difference:
        """The figure that decides."""
        return next(each for each in self.differences if each.metric == self.metric)
