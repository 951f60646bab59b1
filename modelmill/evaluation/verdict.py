"""Whether a model may take the champion's place, and why.

The rule, in this order:

1. A threshold or a baseline that is missed holds the model back.
2. Too few rows, or rows of one label alone, decide nothing.
3. Without a champion, passing all checks promotes.
4. Beside one, both models' predictions on the very same rows are compared (`compare`). A figure that is shown to be
   worse, or a slice that is, holds the model back. One that is shown to be better promotes it; and one that is shown to
   lose no more than the recipe's margin, where the recipe wants no more. What is shown neither way is undecided.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from modelmill.evaluation.checks import METRIC_WORDS, Check, capital, figures_apart
from modelmill.evaluation.comparison import Comparison, SliceDifference
from modelmill.evaluation.sections import ClassFigures
from modelmill.settings import Section

Decision = Literal["promote", "hold", "undecided"]

FEWEST = 10
"""Test rows below which nothing is decided."""
FEWEST_BESIDE = 30
"""The same beside a champion: below this, intervals of differences are too narrow (`benchmarks/verdict.py`)."""
# Slices that the reasons name one by one.
_NAMED = 5


class Verdict(Section):
    """What was decided, with the reasons in sentences."""

    decision: Decision
    reasons: tuple[str, ...]


def verdict(
    checks: Sequence[Check],
    champion: str | None,
    *,
    rows: int | None = None,
    labels: Sequence[ClassFigures] = (),
    comparison: Comparison | None = None,
    why_not: str = "the two models have not been compared on the same rows",
) -> Verdict:
    """Decide on a model from its checks, and from its comparison with the champion.

    `champion` names the version in use, if there is another one than this model's; `rows` counts the test rows, of
    which `labels` tells how many carry each; `why_not` says why there is no comparison.
    """
    failed = [check.sentence for check in checks if not check.passed]
    passed = [check.sentence for check in checks if check.passed]
    stays = f"{champion} stays the champion" if champion else ""
    beside = list(_beside(comparison)) if comparison is not None else []
    if failed:
        told = [f"{stays}."] if champion else []
        return Verdict(decision="hold", reasons=(*failed, *passed, *beside, *told))
    few = _too_few(rows, labels, FEWEST_BESIDE if champion else FEWEST)
    if few:
        return Verdict(decision="undecided", reasons=(few, *passed, *([f"{stays}."] if champion else [])))
    if not champion:
        return Verdict(decision="promote", reasons=("No other version is champion.", *passed))
    if comparison is None:
        return Verdict(decision="undecided", reasons=(f"{stays}: {why_not}.", *passed))
    decision = _decide(comparison)
    told = [f"{stays}."] if decision != "promote" else []
    return Verdict(decision=decision, reasons=(*beside, *passed, *told))


def _too_few(rows: int | None, labels: Sequence[ClassFigures], fewest: int) -> str:
    if rows is not None and rows < fewest:
        return f"{rows:,} test rows are too few to decide on, at least {fewest} are needed: give more test rows."
    there = [one for one in labels if one.rows]
    if labels and len(there) < 2:
        told = f"All {there[0].rows:,} test rows carry the label {there[0].label!r}" if there else "No row has a label"
        return f"{told}, which says nothing about the other {len(labels) - 1}: give test rows of each."
    return ""


def _decide(comparison: Comparison) -> Decision:
    asked = comparison.asked
    worse = asked.slice_margin is None and any(part.shown for part in comparison.slices)
    if comparison.outcome == "worse" or worse:
        return "hold"
    enough = ("better", "not_worse") if asked.wants == "not_worse" else ("better",)
    unshown = asked.slice_margin is not None and any(not part.shown for part in comparison.slices if part.p is not None)
    return "promote" if comparison.outcome in enough and not unshown else "undecided"


def _beside(comparison: Comparison) -> Iterator[str]:
    """Yield what the comparison says, in sentences."""
    main, asked, name = comparison.main, comparison.asked, f"version {comparison.version}"
    word = capital(METRIC_WORDS[main.metric])
    ours, theirs = figures_apart(main.challenger, main.champion)
    test = "McNemar's exact p" if comparison.gained is not None else "p"
    low, high = _signed(main.low), _signed(main.high)
    luck = f"the difference lies between {low} and {high} ({100 * asked.confidence:g} %), {test} {_p(comparison.p)}"
    beside = f"{word} {ours} beside {name}'s {theirs} on the same {comparison.rows:,} rows: {luck}."
    margin = figures_apart(asked.margin, 0.0)[0]
    if comparison.outcome == "better":
        yield f"Better than {name}. {beside}"
    elif comparison.outcome == "worse":
        yield f"Worse than {name}. {beside}"
    elif comparison.outcome == "not_worse":
        wanted = "which is what is wanted" if asked.wants == "not_worse" else "but not shown to be better"
        yield f"Not worse than {name} by more than {margin}, {wanted}. {beside}"
    else:
        yield f"Neither better nor worse than {name}, as far as these rows can tell. {beside}"
    if comparison.outcome in {"open", "not_worse"}:
        yield _reach(comparison)
    yield from _parts(comparison)


def _reach(comparison: Comparison) -> str:
    """Say what so many rows can show."""
    if comparison.smallest is None:
        seen = "none of them tells the two apart" if comparison.main.difference == 0 else "too few tell the two apart"
        return f"These {comparison.rows:,} rows can show no difference: {seen}."
    smallest = figures_apart(comparison.smallest, 0.0)[0]
    said = f"These {comparison.rows:,} rows show a gain of {smallest} or more four times in five"
    if comparison.rows_needed is not None:
        said += f"; to show the one that was seen would take about {_about(comparison.rows_needed)} rows"
    return f"{said}."


def _parts(comparison: Comparison) -> Iterator[str]:
    """Say which slices stand against the model, and which say nothing."""
    judged = [part for part in comparison.slices if part.p is not None]
    margin, corrected = comparison.asked.slice_margin, f"corrected for {len(judged):,} slices (Holm)"
    if margin is None:
        worse = [part for part in judged if part.shown]
        if worse:
            yield f"Shown to be worse, {corrected}, where {_named(worse)}."
        elif judged:
            yield f"In none of {len(judged):,} slices is it shown to be worse, {corrected}."
    elif judged:
        told = f"to lose no more than {figures_apart(margin, 0.0)[0]}, {corrected}"
        missing = [part for part in judged if not part.shown]
        yield f"Not shown {told}, where {_named(missing)}." if missing else f"Every slice is shown {told}."
    few = [part for part in comparison.slices if part.few]
    if few:
        count = "1 slice has" if len(few) == 1 else f"{len(few):,} slices have"
        yield f"{count} too few rows to be judged: {_named(few, figures=False)}."


def _named(parts: Sequence[SliceDifference], *, figures: bool = True) -> str:
    said = []
    for part in parts[:_NAMED]:
        text = f"{part.column} is {part.value}"
        if figures and part.challenger is not None and part.champion is not None:
            ours, theirs = figures_apart(part.challenger, part.champion)
            text += f" ({ours} beside {theirs} on {part.rows:,} rows)"
        elif not figures:
            text += f" ({part.rows:,})"
        said.append(text)
    more = [f"{len(parts) - _NAMED:,} more"] if len(parts) > _NAMED else []
    return ", ".join(said + more)


def _signed(value: float) -> str:
    return figures_apart(value, 0.0)[0].replace("-", "−") if value <= 0 else f"+{figures_apart(value, 0.0)[0]}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def _about(rows: int) -> str:
    """Return a number of rows with two digits that count."""
    digits = max(0, len(str(rows)) - 2)
    return f"{round(rows, -digits):,}"
