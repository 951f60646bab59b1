"""The plots of an evaluation: a figure with its interval, ROC curves, reliability, confidence."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from modelmill.evaluation.document import ConfidenceBin, Place, PrecisionRecall, ResidualBin, RocCurve, SliceFigures
from modelmill.page.plots import CURVES, LEFT, PLOT_HEIGHT, PLOT_WIDTH, Axis, frame, round_up, share_bar, x, y

__all__ = [
    "CURVES",
    "amount",
    "bar",
    "difference",
    "errors",
    "histogram",
    "places",
    "precision_recall",
    "predictions",
    "reliability",
    "residuals",
    "roc",
    "share_bar",
    "signed_amount",
    "slice_bar",
]


def bar(value: float, low: float, high: float, kind: str) -> Markup:
    """Return a bar from 0 to 1, as wide as its place, with a whisker over an interval; what is outside is cut off."""
    value, low, high = (min(max(each, 0.0), 1.0) for each in (value, low, high))
    return Markup(
        '<svg class="bar {kind}" width="100%" height="24" aria-hidden="true">'
        '<rect class="track" width="100%" height="14" y="5" rx="3"/>'
        '<rect class="fill" width="{value:.2f}%" height="14" y="5" rx="3"/>'
        '<line class="whisker" x1="{low:.2f}%" x2="{high:.2f}%" y1="12" y2="12"/>'
        '<line class="whisker" x1="{low:.2f}%" x2="{low:.2f}%" y1="8" y2="16"/>'
        '<line class="whisker" x1="{high:.2f}%" x2="{high:.2f}%" y1="8" y2="16"/></svg>'
    ).format(kind=kind, value=100 * value, low=100 * low, high=100 * high)


def slice_bar(part: SliceFigures, parts: Sequence[SliceFigures]) -> Markup:
    """Return the bar of a slice's main figure; beside figures that exceed 1, from 0 to the highest of them."""
    ends = [each.interval[1] for each in parts if each.interval]
    top = max([1.0, *(each.metrics.get(each.main, 0.0) for each in parts), *ends])
    value = part.metrics.get(part.main, 0.0)
    low, high = part.interval or (value, value)
    return bar(value / top, low / top, high / top, "slice")


def difference(value: float, low: float, high: float, better: bool | None) -> Markup:
    """Return where a difference and its interval lie beside 0, which is in the middle."""
    reach = 1.1 * max(abs(low), abs(high), abs(value)) or 1.0
    value, low, high = (50 + 50 * each / reach for each in (value, low, high))
    kind = {True: "better", False: "worse", None: "open"}[better]
    return Markup(
        '<svg class="bar difference {kind}" width="100%" height="24" aria-hidden="true">'
        '<line class="zero" x1="50%" x2="50%" y1="2" y2="22"/>'
        '<line class="whisker" x1="{low:.2f}%" x2="{high:.2f}%" y1="12" y2="12"/>'
        '<circle class="place" cx="{value:.2f}%" cy="12" r="4"/></svg>'
    ).format(kind=kind, value=value, low=low, high=high)


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


def precision_recall(curves: Sequence[PrecisionRecall]) -> Markup:
    """Return the precision-recall curves, at most six, as steps: between two rows found nothing is known."""
    shown, lines = curves[:CURVES], []
    for index, curve in enumerate(shown):
        before, steps = 0.0, []
        for recall, precision in curve.points:
            steps += [f"{x(before):.1f},{y(precision):.1f}", f"{x(recall):.1f},{y(precision):.1f}"]
            before = recall
        lines.append(Markup('<polyline class="line s{}" points="{}"/>').format(index, " ".join(steps)))
    said = ", ".join(f"{curve.label} {curve.average_precision:.3f}" for curve in shown)
    said = f"Precision-recall curve. Area under the curve: {said}."
    return frame(said, Axis(word="recall"), Axis(word="precision"), lines)


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


def places(words: Sequence[Place]) -> Markup:
    """Return words where they lie in a plane, each beside its dot."""
    lines = []
    for word in words:
        right = word.x > 0.75
        lines.append(
            Markup(
                '<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="1.5"/>'
                '<text x="{at:.1f}" y="{base:.1f}" text-anchor="{anchor}">{word}</text>'
            ).format(
                x=x(word.x),
                y=y(word.y),
                at=x(word.x) + (-4 if right else 4),
                base=y(word.y) + 3,
                anchor="end" if right else "start",
                word=word.word,
            )
        )
    said = f"{len(words)} frequent words in the plane in which their vectors differ most."
    across, up = (Axis(word=word, ticks=("", "")) for word in ("first principal component", "second"))
    return frame(said, across, up, lines)


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


def predictions(points: Sequence[tuple[float, float]], target: str) -> Markup:
    """Return predicted against true numbers, over the line of exact predictions."""
    numbers = [number for point in points for number in point]
    low, high = min(numbers), max(numbers)
    reach = (high - low) or 1.0
    lines = [_diagonal()]
    for truth, predicted in points:
        lines.append(
            Markup('<circle class="point" cx="{:.1f}" cy="{:.1f}" r="2.5"><title>{}</title></circle>').format(
                x((truth - low) / reach),
                y((predicted - low) / reach),
                f"true {amount(truth)}, predicted {amount(predicted)}",
            )
        )
    ticks = tuple(_tick(low + reach * share) for share in (0, 0.5, 1))
    said = f"Predicted against true {target} of {len(points):,} rows, from {amount(low)} to {amount(high)}."
    return frame(said, Axis(word=f"true {target}", ticks=ticks), Axis(word="predicted", ticks=ticks), lines)


def errors(points: Sequence[tuple[float, float]], target: str) -> Markup:
    """Return errors, predicted less true, against the predictions, over the line of none."""
    predicted = [point[1] for point in points]
    low, high = min(predicted), max(predicted)
    reach = (high - low) or 1.0
    most = max(abs(point[1] - point[0]) for point in points) or 1.0
    lines = [Markup('<line class="guide" x1="{}" x2="{}" y1="{at}" y2="{at}"/>').format(x(0), x(1), at=y(0.5))]
    for truth, guess in points:
        lines.append(
            Markup('<circle class="point" cx="{:.1f}" cy="{:.1f}" r="2.5"><title>{}</title></circle>').format(
                x((guess - low) / reach),
                y(0.5 + (guess - truth) / (2 * most)),
                f"predicted {amount(guess)}, {signed_amount(guess - truth)} off",
            )
        )
    across = Axis(word=f"predicted {target}", ticks=tuple(_tick(low + reach * share) for share in (0, 0.5, 1)))
    up = Axis(word="predicted less true", ticks=tuple(_tick(value) for value in (-most, 0.0, most)))
    said = f"Errors of {len(points):,} rows against their predictions, at most {amount(most)}."
    return frame(said, across, up, lines)


def residuals(bins: Sequence[ResidualBin], target: str) -> Markup:
    """Return how many rows are predicted too low and too high, and how far."""
    top = round_up(max(each.rows for each in bins))
    slot = PLOT_WIDTH / len(bins)
    lines = [
        Markup(
            '<rect class="right" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>'
        ).format(
            LEFT + index * slot + 1,
            y(each.rows / top),
            slot - 2,
            PLOT_HEIGHT * each.rows / top,
            f"{amount(each.low)} to {amount(each.high)}: {each.rows:,}",
        )
        for index, each in enumerate(bins)
        if each.rows
    ]
    said = f"Histogram of the errors of {sum(each.rows for each in bins):,} rows, predicted less true {target}."
    ticks = tuple(_tick(value) for value in (bins[0].low, 0.0, bins[-1].high))
    across = Axis(word="predicted less true", ticks=ticks)
    return frame(said, across, Axis(word="rows", ticks=(0, top / 2, top)), lines)


def amount(value: float) -> str:
    """Return a number of any size with at most four digits that count."""
    if value == 0:
        return "0"
    if 0.001 <= abs(value) < 1e6:
        digits = max(0, 3 - math.floor(math.log10(abs(value))))
        text = f"{value:,.{digits}f}"
        return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def signed_amount(value: float) -> str:
    """Return a difference with its sign, and at most four digits that count."""
    return amount(value) if value <= 0 else f"+{amount(value)}"


def _tick(value: float) -> str:
    """Return a number in five signs or a little more: so much fits beside an axis."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if max(size, 1e4) <= abs(value) < 1e12:
            return f"{value / size:.3g}{unit}".replace("-", "−")
    digits = 4 if 1e3 <= abs(value) < 1e4 else 3 if abs(value) >= 1e-3 else 2
    return f"{value:.{digits}g}".replace("-", "−")


def _diagonal() -> Markup:
    return Markup('<line class="guide" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(x(0), y(0), x(1), y(1))
