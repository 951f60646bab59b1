"""The plots of the ingest report: what is left of rows, how a figure is distributed, five figures of a column."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import pairwise

from markupsafe import Markup

from components.ingest.report.facts import Histogram
from components.ingest.report.words import cut, number, percent
from modelmill.page.plots import CURVES, LEFT, PLOT_HEIGHT, PLOT_WIDTH, Axis, frame, round_up, share_bar, x, y

__all__ = ["CURVES", "box", "funnel_bar", "histogram", "shares"]

# Narrower bars than 4 of the plot's units cannot be told apart.
_BINS = 60
# Of a name, in characters.
_NAME = 40


def shares(parts: Sequence[tuple[str, int]]) -> Markup:
    """Return one bar cut into parts in proportion to their counts; of many parts the first."""
    return share_bar([(cut(name, _NAME), count) for name, count in parts[:_BINS]])


def funnel_bar(left: int, before: int, read: int) -> Markup:
    """Return a bar of the rows that are left of all that were read, and of those that this step took."""
    whole = read or 1
    return Markup(
        '<svg class="bar funnel" width="100%" height="24" aria-hidden="true">'
        '<rect class="track" width="100%" height="14" y="5" rx="3"/>'
        '<rect class="lost" width="{:.2f}%" height="14" y="5" rx="3"/>'
        '<rect class="left" width="{:.2f}%" height="14" y="5" rx="3"/></svg>'
    ).format(100 * before / whole, 100 * left / whole)


def box(figures: Sequence[float]) -> Markup:
    """Return smallest value, quartiles and largest value of a column as a line with a box and a median."""
    low, high = figures[0], figures[-1]
    # Halved first: the span of two huge numbers may be too much for a float.
    span = (high / 2 - low / 2) or 1.0
    low_quartile, median, high_quartile = (100 * ((figure / 2 - low / 2) / span) for figure in figures[1:4])
    return Markup(
        '<svg class="box" width="100%" height="18" aria-hidden="true">'
        '<line class="reach" x1="0" x2="100%" y1="9" y2="9"/>'
        '<rect class="middle" x="{:.2f}%" width="{:.2f}%" y="3" height="12" rx="2"/>'
        '<line class="median" x1="{:.2f}%" x2="{:.2f}%" y1="1" y2="17"/></svg>'
    ).format(low_quartile, max(0.0, high_quartile - low_quartile), median, median)


def histogram(shown: Histogram) -> Markup:
    """Return how a figure is distributed: rows where there is one split, else each split's share of its own rows."""
    shown = _coarse(shown)
    totals = {split: sum(counts) for split, counts in shown.counts.items()}
    lone = len(totals) < 2
    most = max((count for counts in shown.counts.values() for count in counts), default=0)
    own = {split: [count / (totals[split] or 1) for count in counts] for split, counts in shown.counts.items()}
    top = round_up(most) if lone else _share_above(max((max(each, default=0) for each in own.values()), default=0))
    lines: list[Markup] = []
    for index, (split, counts) in enumerate(list(shown.counts.items())[:CURVES]):
        heights = [count / top for count in counts] if lone else [share / top for share in own[split]]
        lines.append(_outline(heights, index))
    lines += _sensitive(shown, totals)
    rows = ", ".join(f"{cut(split, _NAME)} {total:,} rows" for split, total in totals.items())
    # What goes up is said above the plot: beside it there is no room for it and for long numbers.
    marks = (0, top / 2, top) if lone else ("0", f"{50 * top:g} %", f"{100 * top:g} %")
    said = f"Histogram of {cut(shown.name, _NAME)} in {cut(shown.unit, _NAME)}. {rows}."
    return frame(said, _edges(shown), Axis(word="", ticks=marks), lines)


def _coarse(shown: Histogram) -> Histogram:
    """Return a histogram of few enough bins, neighbours put together."""
    step = -(-(len(shown.edges) - 1) // _BINS)
    if step < 2:
        return shown
    counts: Mapping[str, tuple[int, ...]] = {
        split: tuple(sum(each[start : start + step]) for start in range(0, len(each), step))
        for split, each in shown.counts.items()
    }
    edges = (*shown.edges[:-1:step], shown.edges[-1])
    return Histogram(name=shown.name, unit=shown.unit, edges=edges, counts=counts)


def _share_above(share: float) -> float:
    tops = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
    return tops[min(bisect_left(tops, share), len(tops) - 1)]


def _outline(heights: Sequence[float], index: int) -> Markup:
    """Return the outline of one split's bars; the first split's are filled."""
    slot = PLOT_WIDTH / max(len(heights), 1)
    points = [f"{x(0):.1f},{y(0):.1f}"]
    for place, height in enumerate(heights):
        points += [f"{LEFT + at * slot:.1f},{y(height):.1f}" for at in (place, place + 1)]
    points.append(f"{LEFT + len(heights) * slot:.1f},{y(0):.1f}")
    return Markup('<polyline class="line thin {}s{}" points="{}"/>').format(
        "" if index else "filled ", index, " ".join(points)
    )


def _sensitive(shown: Histogram, totals: Mapping[str, int]) -> list[Markup]:
    """Return what says a bin's figures under the pointer."""
    slot = PLOT_WIDTH / max(len(shown.edges) - 1, 1)
    bins = []
    for place, (low, high) in enumerate(pairwise(shown.edges)):
        rows = "; ".join(
            f"{cut(split, _NAME)} {counts[place]:,} ({percent(counts[place], totals[split])})"
            for split, counts in shown.counts.items()
        )
        bins.append(
            Markup('<rect class="bin" x="{:.1f}" y="{}" width="{:.1f}" height="{}"><title>{}</title></rect>').format(
                LEFT + place * slot, y(1), slot, PLOT_HEIGHT, f"{number(low)} to {number(high)}: {rows}"
            )
        )
    return bins


def _edges(shown: Histogram) -> Axis:
    """Return the axis of the edges: all bins are drawn equally wide, and about five edges are named."""
    bins = len(shown.edges) - 1
    if bins < 1:
        return Axis(word=cut(shown.unit, _NAME), ticks=("", ""))
    places = sorted({round(bins * quarter / 4) for quarter in range(5)})
    ticks = tuple(number(shown.edges[place]) for place in places)
    return Axis(word=cut(shown.unit, _NAME), ticks=ticks, at=tuple(place / bins for place in places))
