"""The plots of an evaluation: a figure with its interval, ROC curves, reliability, confidence."""

from collections.abc import Sequence

from markupsafe import Markup

from modelmill.evaluation.document import ConfidenceBin, RocCurve
from modelmill.page.plots import CURVES, LEFT, PLOT_HEIGHT, PLOT_WIDTH, Axis, frame, round_up, share_bar, x, y

__all__ = ["CURVES", "bar", "histogram", "reliability", "roc", "share_bar"]


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


def roc(curves: Sequence[RocCurve]) -> Markup:
    """Return the ROC curves, at most six, over the diagonal of a guess."""
    shown = curves[:CURVES]
    lines = [_diagonal()]
    for index, curve in enumerate(shown):
        points = " ".join(f"{x(false_rate):.1f},{y(true_rate):.1f}" for false_rate, true_rate in curve.points)
        lines.append(Markup('<polyline class="line s{}" points="{}"/>').format(index, points))
    said = ", ".join(f"{curve.label} {curve.auc:.3f}" for curve in shown)
    said = f"ROC curve. Area under the curve: {said}."
    return frame(said, Axis(word="false positive rate"), Axis(word="true positive rate"), lines)


def reliability(bins: Sequence[ConfidenceBin], error: float) -> Markup:
    """Return the reliability diagram: accuracy against confidence, dots sized by their rows."""
    filled = [each for each in bins if each.rows]
    most = max(each.rows for each in filled)
    lines = [_diagonal()]
    points = " ".join(f"{x(each.confidence):.1f},{y(each.correct / each.rows):.1f}" for each in filled)
    lines.append(Markup('<polyline class="line thin s0" points="{}"/>').format(points))
    for each in filled:
        radius = 2 + 5 * (each.rows / most) ** 0.5
        lines.append(
            Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"><title>{}</title></circle>').format(
                x(each.confidence),
                y(each.correct / each.rows),
                radius,
                f"confidence {each.confidence:.3f}, accuracy {each.correct / each.rows:.3f}, {each.rows:,} rows",
            )
        )
    said = f"Reliability diagram. Expected calibration error {error:.3f}."
    return frame(said, Axis(word="confidence in the prediction"), Axis(word="accuracy"), lines)


def histogram(bins: Sequence[ConfidenceBin]) -> Markup:
    """Return how many rows were predicted with which confidence, the wrong ones at the foot of each bar."""
    top = round_up(max(each.rows for each in bins))
    low, high = bins[0].low, bins[-1].high
    slot = PLOT_WIDTH / len(bins)
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
                        LEFT + index * slot + 1,
                        y((base + count) / top),
                        slot - 2,
                        PLOT_HEIGHT * count / top,
                        f"{each.low:.2f} to {each.high:.2f}: {count:,} {kind}",
                    )
                )
    rows, mistakes = sum(each.rows for each in bins), sum(each.rows - each.correct for each in bins)
    said = f"Histogram of confidence. {mistakes:,} of {rows:,} rows are wrong."
    across = Axis(word="confidence in the prediction", ticks=(low, (low + high) / 2, high))
    return frame(said, across, Axis(word="rows", ticks=(0, top / 2, top)), lines)


def _diagonal() -> Markup:
    return Markup('<line class="guide" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(x(0), y(0), x(1), y(1))
