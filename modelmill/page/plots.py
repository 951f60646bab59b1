"""The parts of small SVG plots from plain numbers: no plotting library, colours from the page's style sheet.

A plot is drawn in a box 320 wide, about a phone's width, so that its text is readable at every size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 320, 270
LEFT, _RIGHT, _TOP, _BOTTOM = 50, 12, 12, 40
PLOT_WIDTH, PLOT_HEIGHT = WIDTH - LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
# Half the width of a digit of the ticks, and a little: none is cut off at the edge.
_HALF_DIGIT = 3.6
# More lines than this cannot be told apart by colour.
CURVES = 6


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis: what it shows, and its ticks."""

    word: str
    ticks: tuple[float | str, ...] = (0, 0.25, 0.5, 0.75, 1)
    """Numbers, or words as they are."""
    at: tuple[float, ...] | None = None
    """Where each tick stands, from 0 to 1; None: evenly from end to end."""

    @property
    def places(self) -> tuple[float, ...]:
        """Where each tick stands, from 0 to 1."""
        return self.at or tuple(index / (len(self.ticks) - 1) for index in range(len(self.ticks)))


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


def x(share: float) -> float:
    """Return where a share from 0 to 1 of the width lies."""
    return LEFT + PLOT_WIDTH * share


def y(share: float) -> float:
    """Return where a share from 0 to 1 of the height lies."""
    return _TOP + PLOT_HEIGHT * (1 - share)


def round_up(value: int) -> int:
    """Return the next round number whose half is whole, for the end of an axis."""
    power = 1
    while value > 100 * power:
        power *= 10
    steps = (2, 4, 6, 8, 10, 12, 16, 20, 24, 30, 40, 50, 60, 80, 100)
    return next(step * power for step in steps if step * power >= value)


def frame(said: str, across: Axis, up: Axis, lines: Sequence[Markup]) -> Markup:
    """Return a plot: its axes with their ticks, its lines, and what a screen reader says of it."""
    axes = []
    for tick, place in zip(up.ticks, up.places, strict=True):
        axes.append(
            Markup(
                '<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
                '<text x="{text}" y="{base:.1f}" text-anchor="end">{tick}</text>'
            ).format(left=LEFT, right=x(1), y=y(place), text=LEFT - 6, base=y(place) + 4, tick=_tick(tick))
        )
    for tick, place in zip(across.ticks, across.places, strict=True):
        middle = min(x(place), WIDTH - _HALF_DIGIT * len(_tick(tick)))
        axes.append(
            Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(middle, y(0) + 16, _tick(tick))
        )
    words = Markup(
        '<text class="word" x="{}" y="{}" text-anchor="middle">{}</text>'
        '<text class="word" transform="translate(11 {}) rotate(-90)" text-anchor="middle">{}</text>'
    ).format(x(0.5), HEIGHT - 6, across.word, y(0.5), up.word)
    return Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg>').format(
        WIDTH, HEIGHT, said, Markup("").join(axes), Markup("").join(lines), words
    )


def _tick(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value > 1 or value == 0 else f"{value:.2f}".rstrip("0").rstrip(".")
