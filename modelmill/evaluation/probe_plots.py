"""The plots of what a model was probed with: a figure under stronger and stronger changes, and what moved an answer."""

import math
from typing import get_args

from markupsafe import Markup

from modelmill.evaluation.checks import TargetMetric
from modelmill.evaluation.probes import Changed, Robustness
from modelmill.page.plots import Axis, frame, x, y

# R² has no least value: what is far below 0 is as useless as what is a little.
_LEAST = -1.0


def levels(changed: Changed, robustness: Robustness) -> Markup:
    """Return the figure at each strength with its interval, beside the band of that of the rows as they are."""
    whole = robustness.unchanged
    found = [whole, *(level.measured for level in changed.levels)]
    # An interval may reach below the plot, whose end then cuts it off.
    least = min(each.value for each in found)
    bottom = 0.0 if least >= 0 else max(_LEAST, -math.ceil(-2 * least) / 2)
    top = 100.0 if robustness.metric in get_args(TargetMetric) else 1.0

    def up(value: float) -> float:
        return y(min(max((value - bottom) / (top - bottom), 0.0), 1.0))

    def across(number: int) -> float:
        # Half a step of room at both ends, for the ticks' words.
        return x((number + 0.5) / len(found))

    lines = [
        Markup('<rect class="band" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
            x(0), up(whole.high), x(1) - x(0), up(whole.low) - up(whole.high)
        ),
        Markup('<line class="whole" x1="{:.1f}" x2="{:.1f}" y1="{at:.1f}" y2="{at:.1f}"/>').format(
            x(0), x(1), at=up(whole.value)
        ),
    ]
    words = ["none", *(level.word for level in changed.levels)]
    # Two ways of writing are no more and less of one thing.
    if changed.change != "case":
        points = " ".join(f"{across(number):.1f},{up(each.value):.1f}" for number, each in enumerate(found))
        lines.append(Markup('<polyline class="line thin s0" points="{}"/>').format(points))
    for number, (each, word) in enumerate(zip(found, words, strict=True)):
        lines.append(
            Markup(
                '<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
                '<circle class="dot" cx="{x:.1f}" cy="{value:.1f}" r="4"><title>{said}</title></circle>'
            ).format(
                x=across(number),
                low=up(each.low),
                high=up(each.high),
                value=up(each.value),
                said=f"{word}: {each.value:.3f} ({each.low:.3f} to {each.high:.3f})",
            )
        )
    name = "R²" if robustness.metric == "r2" else robustness.metric
    said = "; ".join(f"{word} {each.value:.3f}" for word, each in zip(words, found, strict=True))
    quarters = tuple(top * share for share in (0.0, 0.25, 0.5, 0.75, 1.0))
    up_ticks = quarters if not bottom else tuple(halves / 2 for halves in range(int(2 * bottom), 3))
    return frame(
        f"{name} under {changed.change}: {said}.",
        Axis(word=changed.unit, ticks=tuple(words), at=tuple((each + 0.5) / len(found) for each in range(len(found)))),
        Axis(
            word=name,
            ticks=tuple(f"{tick:g}".replace("-", "−") for tick in up_ticks),
            at=tuple((tick - bottom) / (top - bottom) for tick in up_ticks),
        ),
        lines,
    )


def tip(weight: float) -> Markup:
    """Return a bar from the middle to the right for what moved towards the answer, to the left for what moved away."""
    size = 50 * abs(weight)
    return Markup(
        '<svg class="tip" width="100%" height="16" aria-hidden="true">'
        '<rect class="track" width="100%" height="10" y="3" rx="3"/>'
        '<rect class="{kind}" x="{start:.2f}%" width="{size:.2f}%" height="10" y="3"/>'
        '<line class="middle" x1="50%" x2="50%" y2="16"/></svg>'
    ).format(kind="towards" if weight >= 0 else "away", start=50 if weight >= 0 else 50 - size, size=size)
