"""Two models' predictions on the very same rows: which is better, by how much, and whether so many rows can tell.

N rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelmill.errors import ModelmillError
from modelmill.evaluation.checks import LOWER_IS_BETTER, main_metric
from modelmill.evaluation.comparison import AgainstChampion, Comparison, Difference, Outcome, SliceDifference
from modelmill.evaluation.document import Report
from modelmill.evaluation.gains import Gain, all_gains, gains_of
from modelmill.evaluation.metrics import DECIMALS
from modelmill.evaluation.predictions import faulty, sums_of, truth_of
from modelmill.evaluation.slices import FEWEST, slicings_of
from modelmill.evaluation.sums import Sums
from modelmill.settings import LanguageTask


class NotComparable(ModelmillError):  # noqa: N818 - it is a finding, told in the verdict
    """The two models cannot be compared on these rows; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A model's report and its table of predictions."""

    report: Report
    table: pa.Table

    def sums(self) -> list[Sums]:
        """Return what the figures follow from."""
        return sums_of(self.report.task, self.report.labels, self.table)


def compare(champion: Measured, challenger: Measured, asked: AgainstChampion, version: str) -> Comparison:
    """Compare a challenger with the champion, whose version is told.

    Raises:
        NotComparable: they have other tasks, labels or targets, were measured on other rows, or gave no numbers.
        ModelmillError: the tables are not of the same rows, though the reports say so.
    """
    check_same(champion, challenger)
    metric = asked.metric or deciding(challenger.report)
    pairs = list(zip(champion.sums(), challenger.sums(), strict=True))
    gains = all_gains(pairs, champion.table, challenger.table)
    if metric not in gains:
        raise NotComparable(
            f"evaluate.against_champion.metric: {metric} is not measured here; take one of {', '.join(gains)}"
        )
    gain, tail = gains[metric], (1 - asked.confidence) / 2
    smallest, needed = gain.reach(asked.confidence)
    return Comparison(
        champion=champion.report.model,
        version=version,
        rows=challenger.table.num_rows,
        metric=metric,
        asked=asked,
        outcome=outcome(gain, asked),
        p=_rounded(
            min(1.0, gain.p if gain.p is not None else 2 * min(gain.p_at_most(0), gain.mirrored().p_at_most(0)))
        ),
        differences=tuple(_difference(name, one, asked.confidence) for name, one in gains.items()),
        gained=gain.gained,
        lost=gain.lost,
        smallest=None if smallest is None else _rounded(smallest),
        rows_needed=needed,
        slices=_slices(pairs, metric, challenger.table, asked, tail),
    )


def deciding(report: Report) -> str:
    """Return the figure that decides between two models of a task."""
    test = report.metrics["test"]
    if report.task in get_args(LanguageTask):
        # Of loss and accuracy a tokenizer with other tokens makes other figures.
        return "bits_per_byte" if "bits_per_byte" in test else "loss"
    return main_metric(test)


def check_same(champion: Measured, challenger: Measured) -> None:
    """Check that two models can be compared on these rows.

    Raises:
        NotComparable: they have other tasks, labels or targets, were measured on other rows, or gave no numbers.
        ModelmillError: the tables are not of the same rows, though the reports say so.
    """
    theirs, ours = champion.report, challenger.report
    for what, old, new in (
        ("task", theirs.task, ours.task),
        ("labels", list(theirs.labels), list(ours.labels)),
        ("target", _target(theirs), _target(ours)),
        ("rows", theirs.dataset, ours.dataset),
    ):
        if old != new:
            raise NotComparable(f"the champion has the {what} {old}, this model {new}")
    for name, model in (("the champion", champion), ("this model", challenger)):
        if bad := faulty(model.table):
            raise NotComparable(f"{name} gave no finite number for {bad:,} of {model.table.num_rows:,} rows")
    if champion.table.num_rows != challenger.table.num_rows:
        raise ModelmillError(
            f"{theirs.dataset}: {champion.table.num_rows:,} predictions of the champion and "
            f"{challenger.table.num_rows:,} of this model; evaluate both again"
        )
    other = pc.not_equal(champion.table["id"], challenger.table["id"])
    truth_N, theirs_N = truth_of(challenger.table), truth_of(champion.table)
    wrong = int(np.sum(other.to_numpy())) or (0 if truth_N is None else int(np.sum(truth_N != theirs_N)))
    if wrong:
        raise ModelmillError(
            f"{theirs.dataset}: {wrong:,} of {challenger.table.num_rows:,} predictions of the two models are of other "
            "rows, or tell other truths; evaluate both again"
        )
    if deciding(ours) == "loss" and not _column(champion, "tokens").equals(_column(challenger, "tokens")):
        raise NotComparable("the two models cut the text into other tokens, so that their losses say nothing together")


def _target(report: Report) -> str:
    return report.regression.target if report.regression is not None else ""


def _column(model: Measured, name: str) -> Any:
    found = model.table["predicted" if name not in model.table.column_names else name]
    return found.combine_chunks()


def outcome(gain: Gain, asked: AgainstChampion) -> Outcome:
    """Return what is shown of a gain."""
    tail = (1 - asked.confidence) / 2
    if gain.p_at_most(0.0) <= tail:
        return "better"
    if asked.margin and gain.p_at_most(-asked.margin) <= tail:
        return "not_worse"
    return "worse" if gain.mirrored().p_at_most(0.0) <= tail else "open"


def _difference(name: str, gain: Gain, confidence: float) -> Difference:
    low, high = gain.interval(confidence)
    better = True if low > 0 else False if high < 0 else None
    if name == "interval_coverage":
        # Intervals that hold more than they are to are no better, only wider.
        better = None
    if name in LOWER_IS_BETTER:
        low, high = -high, -low
    figures = {"champion": gain.champion, "challenger": gain.challenger, "low": low, "high": high}
    return Difference(
        metric=name,
        difference=_rounded(gain.challenger - gain.champion),
        better=better,
        **{key: _rounded(value) for key, value in figures.items()},
    )


def _rounded(value: float) -> float:
    # Figures in the target's own unit may be of any size.
    return round(value, DECIMALS) if abs(value) < 1000 and (abs(value) >= 0.01 or value == 0) else float(f"{value:.6g}")


def _slices(
    pairs: Sequence[tuple[Sums, Sums]], metric: str, table: pa.Table, asked: AgainstChampion, tail: float
) -> tuple[SliceDifference, ...]:
    """Return each slice's difference, the smallest slice first, with Holm's correction over those that are judged."""
    before, after = next(pair for pair in pairs if metric in pair[0].score())
    truth_N = truth_of(table)
    found = []
    for each in slicings_of(table):
        for name in each.names:
            rows = each.of(name)
            plain = SliceDifference(column=each.column, value=name, rows=len(rows), few=len(rows) < FEWEST)
            flat = metric == "r2" and truth_N is not None and (truth_N[rows] == truth_N[rows[0]]).all()
            found.append(plain if plain.few or flat else _judged(plain, before.of(rows), after.of(rows), metric, asked))
    ordered = sorted(found, key=lambda part: (part.rows, part.column, part.value))
    shown = holm([part.p if part.p is not None else None for part in ordered], tail)
    return tuple(part.model_copy(update={"shown": here}) for part, here in zip(ordered, shown, strict=True))


def _judged(plain: SliceDifference, before: Sums, after: Sums, metric: str, asked: AgainstChampion) -> SliceDifference:
    gain = gains_of(before, after, [metric])[metric]
    p = gain.mirrored().p_at_most(0.0) if asked.slice_margin is None else gain.p_at_most(-asked.slice_margin)
    told = _difference(metric, gain, asked.confidence)
    figures = {name: getattr(told, name) for name in ("champion", "challenger", "low", "high")}
    return plain.model_copy(update={**figures, "p": p})


def holm(ps: Sequence[float | None], level: float) -> list[bool]:
    """Return which hypotheses are refused so that one is wrongly at most at a level (Holm 1979); None is none."""
    order = sorted((place for place, p in enumerate(ps) if p is not None), key=lambda place: (ps[place], place))
    shown = [False] * len(ps)
    for step, place in enumerate(order):
        p = ps[place]
        if p is None or p > level / (len(order) - step):
            break
        shown[place] = True
    return shown
