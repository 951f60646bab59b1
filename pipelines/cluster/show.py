"""What a person sees of a run on a cluster: its steps live, and a table at the end."""

import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from modelmill.profile import Profile
from pipelines.cluster.state import ClusterRun, ClusterStep
from pipelines.view import DRAW_SECONDS, duration

_MARKS = {
    "waiting": ("·", "dim"),
    "starting": ("◌", "cyan"),
    "pending": ("◌", "yellow"),
    "running": ("●", "cyan"),
    "done": ("✓", "green"),
    "cached": ("≡", "blue"),
    "failed": ("✗", "red"),
    "stopped": ("■", "yellow"),
    "stopping": ("■", "yellow"),
}
_ASIDES = {"starting": "starting", "pending": "waits", "cached": "cached", "failed": "failed", "stopped": "stopped"}
# Where Kubernetes says nothing, or nothing yet.
_CAUSES = {"starting": "asks the cache", "pending": "waits for its node and image"}


class ClusterView:
    """Draws a run: in place on a terminal, a line a change elsewhere."""

    def __init__(self, console: Console, profile: Profile) -> None:
        self.console = console
        self.currency = profile.currency
        self._live = Live(console=console, transient=True, auto_refresh=False)
        self._said: dict[str, str] = {}
        self._drawn = 0.0

    def __enter__(self) -> "ClusterView":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def __call__(self, run: ClusterRun, lines: list[str]) -> None:
        """Draw the run as it is now, with the last lines of the running step."""
        if self.console.is_terminal:
            if run.ended or time.monotonic() - self._drawn >= DRAW_SECONDS:
                self._drawn = time.monotonic()
                self._live.update(_panel(run, lines, self.currency), refresh=True)
            return
        for step in run.steps:
            now = f"{step.state} {step.cause}".strip()
            if now != self._said.get(step.name, "waiting"):
                self._said[step.name] = now
                self.console.print(Text.assemble(_mark(step.state), f" {step.name} {now}"), soft_wrap=True)

    def away(self, what: str) -> None:
        """Say that the server is away, or with '' that it is back."""
        self.console.print(Text(f"{what}; waiting for it" if what else "the server is back", "yellow"), soft_wrap=True)


def table(run: ClusterRun, currency: str) -> RenderableType:
    """Return the table of a run: step, state, time, kind of node, cost; and below it why steps wait, or failed."""
    made = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    made.add_column("step", no_wrap=True)
    made.add_column("time", justify="right", no_wrap=True)
    made.add_column("node", style="dim", no_wrap=True)
    made.add_column(f"cost ({currency})", justify="right", no_wrap=True)
    made.add_column("", no_wrap=True)
    for step in run.steps:
        made.add_row(
            Text.assemble(_mark(step.state), " ", (step.name, "dim" if step.state == "waiting" else "")),
            _time(step),
            step.kind,
            "" if step.cost is None or step.state == "waiting" else f"{step.cost:.2f}",
            Text(_ASIDES.get(step.state, ""), style="dim"),
        )
    # Of any length, and a terminal may be narrow.
    return Group(made, *(_cause(step) for step in run.steps if step.cause or step.state in _CAUSES))


def title(run: ClusterRun, currency: str) -> Text:
    """Return the line above the table: recipe, state, time, cost so far, and the run's id."""
    cost = "" if run.cost is None else f"  {run.cost:.2f} {currency}{'' if run.ended else ' so far'}"
    style = _MARKS.get(run.state, ("", ""))[1]
    return Text.assemble(
        (run.recipe, "bold"), "  ", (run.state, style), f"  {duration(run.seconds)}", cost, (f"  run {run.id}", "dim")
    )


def _panel(run: ClusterRun, lines: list[str], currency: str) -> RenderableType:
    parts: list[RenderableType] = [title(run, currency), Text(), table(run, currency)]
    if lines:
        parts += [Text(), *(Text(f"  {line}", "dim", no_wrap=True, overflow="ellipsis") for line in lines)]
    return Group(*parts)


def _mark(state: str) -> Text:
    mark, style = _MARKS[state]
    return Text(mark, style=style)


def _time(step: ClusterStep) -> str:
    return "" if step.state in {"waiting", "starting", "cached"} else duration(step.seconds)


def _cause(step: ClusterStep) -> Text:
    return Text(f"{step.name}: {step.cause or _CAUSES[step.state]}", "red" if step.state == "failed" else "yellow")
