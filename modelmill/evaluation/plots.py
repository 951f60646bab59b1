"""Small SVG plots from plain numbers: no plotting library, colours from the page's style sheet.

Each is drawn in a box 320 wide, about a phone's width, so that its text is readable at every size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from modelmill.evaluation.document import ConfidenceBin, RocCurve

WIDTH, HEIGHT = 320, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 12, 12, 40
_PLOT_WIDTH, _PLOT_HEIGHT = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
# More lines than this cannot be told apart by colour.
CURVES = 6


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis: what it shows, and its evenly spaced ticks from end to end."""

    word: str
    ticks: tuple[float, ...] = (0, 0.25, 0.5, 0.75, 1)


def bar(value: float, low: float, high: float, kind: str) -> Markup:
    """Return a bar from 0 to 1, as wide as its place, with a whisker over an interval."""
    return Markup(
        '<svg class="bar {kind}" width="100%" height="24" aria-hidden="true">'
        '<rect class="track" width="100%" height="14" y="5" rx="3"/>'
        '<rect class="fill" width="{value:.2f}%" height="14" y="5" rx="3"/>'
        '<line class="whisker" x1="{low:.2f}%" x2="{high:.2f}%" y1="12" y2="12"/>'
        '<line class="whisker" x1="{low:.2f}%" x2="{low:.2f}%" y1="8" y2="16"/>'
        '<line class="whisker" x1="{high:.2f}%" x2="{high:.2f}%" y1="8" y2="16"/></svg>'
    ).format(kind=kind, value=100 * value, low=100 * low, high=100 * high)


def share_bar(parts: Sequence[tuple[str, int]]) -> Markup:
    """Return one bar cut into parts in proportion to their counts; the first is what was kept."""
    total = sum(count for _, count in parts) or 1
    pieces, start = [], 0.0
    for index, (name, count) in enumerate(parts):
        share = 100 * count / total
        piece = Markup('<rect class="part{}" x="{:.3f}%" width="{:.3f}%" height="14"><title>{}: {:,}</title></rect>')
        pieces.append(piece.format(min(index, 4), start, share, name, count))
        start += share
    return Markup('<svg class="shares" width="100%" height="14" aria-hidden="true">{}</svg>').format(
        Markup("").join(pieces)
    )


def roc(curves: Sequence[RocCurve]) -> Markup:
    """Return the ROC curves, at most six, over the diagonal of a guess."""
    shown = curves[:CURVES]
    lines = [_diagonal()]
    for index, curve in enumerate(shown):
        points = " ".join(f"{_x(false_rate):.1f},{_y(true_rate):.1f}" for false_rate, true_rate in curve.points)
        lines.append(Markup('<polyline class="line s{}" points="{}"/>').format(index, points))
    said = ", ".join(f"{curve.label} {curve.auc:.3f}" for curve in shown)
    said = f"ROC curve. Area under the curve: {said}."
    return _frame(said, Axis(word="false positive rate"), Axis(word="true positive rate"), lines)


def reliability(bins: Sequence[ConfidenceBin], error: float) -> Markup:
    """Return the reliability diagram: accuracy against confidence, dots sized by their rows."""
    filled = [each for each in bins if each.rows]
    most = max(each.rows for each in filled)
    lines = [_diagonal()]
    points = " ".join(f"{_x(each.confidence):.1f},{_y(each.correct / each.rows):.1f}" for each in filled)
    lines.append(Markup('<polyline class="line thin s0" points="{}"/>').format(points))
    for each in filled:
        radius = 2 + 5 * (each.rows / most) ** 0.5
        lines.append(
            Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"><title>{}</title></circle>').format(
                _x(each.confidence),
                _y(each.correct / each.rows),
                radius,
                f"confidence {each.confidence:.3f}, accuracy {each.correct / each.rows:.3f}, {each.rows:,} rows",
            )
        )
    said = f"Reliability diagram. Expected calibration error {error:.3f}."
    return _frame(said, Axis(word="confidence in the prediction"), Axis(word="accuracy"), lines)


def histogram(bins: Sequence[ConfidenceBin]) -> Markup:
    """Return how many rows were predicted with which confidence, the wrong ones at the foot of each bar."""
    top = _round_up(max(each.rows for each in bins))
    low, high = bins[0].low, bins[-1].high
    slot = _PLOT_WIDTH / len(bins)
    lines = []
    for index, each in enumerate(bins):
        wrong = each.rows - each.correct
        for kind, count, base in (("wrong", wrong, 0), ("right", each.correct, wrong)):
            if count:
                lines.append(
                    Markup(
                        '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>'
                    ).format(
                        kind,
                        _LEFT + index * slot + 1,
                        _y((base + count) / top),
                        slot - 2,
                        _PLOT_HEIGHT * count / top,
                        f"{each.low:.2f} to {each.high:.2f}: {count:,} {kind}",
                    )
                )
    rows, mistakes = sum(each.rows for each in bins), sum(each.rows - each.correct for each in bins)
    said = f"Histogram of confidence. {mistakes:,} of {rows:,} rows are wrong."
    across = Axis(word="confidence in the prediction", ticks=(low, (low + high) / 2, high))
    return _frame(said, across, Axis(word="rows", ticks=(0, top / 2, top)), lines)


def _x(share: float) -> float:
    return _LEFT + _PLOT_WIDTH * share


def _y(share: float) -> float:
    return _TOP + _PLOT_HEIGHT * (1 - share)


def _diagonal() -> Markup:
    return Markup('<line class="guide" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(_x(0), _y(0), _x(1), _y(1))


def _round_up(value: int) -> int:
    """The next round number whose half is whole, for the end of an axis."""
    power = 1
    while value > 100 * power:
        power *= 10
    steps = (2, 4, 6, 8, 10, 12, 16, 20, 24, 30, 40, 50, 60, 80, 100)
    return next(step * power for step in steps if step * power >= value)


def _tick(value: float) -> str:
    return f"{value:,.0f}" if value > 1 or value == 0 else f"{value:.2f}".rstrip("0").rstrip(".")


def _frame(said: str, across: Axis, up: Axis, lines: Sequence[Markup]) -> Markup:
    """Return a plot: its axes with evenly spaced ticks, its lines, and what a screen reader says of it."""
    axes = []
    for index, tick in enumerate(up.ticks):
        height = _y(index / (len(up.ticks) - 1))
        axes.append(
            Markup(
                '<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
                '<text x="{text}" y="{base:.1f}" text-anchor="end">{tick}</text>'
            ).format(left=_LEFT, right=_x(1), y=height, text=_LEFT - 6, base=height + 4, tick=_tick(tick))
        )
    for index, tick in enumerate(across.ticks):
        at = _x(index / (len(across.ticks) - 1))
        axes.append(
            Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(at, _y(0) + 16, _tick(tick))
        )
    words = Markup(
        '<text class="word" x="{}" y="{}" text-anchor="middle">{}</text>'
        '<text class="word" transform="translate(11 {}) rotate(-90)" text-anchor="middle">{}</text>'
    ).format(_x(0.5), HEIGHT - 6, across.word, _y(0.5), up.word)
    return Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg>').format(
        WIDTH, HEIGHT, said, Markup("").join(axes), Markup("").join(lines), words
    )
