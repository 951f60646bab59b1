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
    """Return the table of a run: step, state, time, kind of node, cost, and why it waits or failed."""
    made = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    made.add_column("step")
    made.add_column("time", justify="right", no_wrap=True)
    made.add_column("node", style="dim")
    made.add_column(f"cost ({currency})", justify="right", no_wrap=True)
    made.add_column("", overflow="fold")
    for step in run.steps:
        made.add_row(
            Text.assemble(_mark(step.state), " ", (step.name, "dim" if step.state == "waiting" else "")),
            _time(step),
            step.kind,
            "" if step.cost is None or step.state == "waiting" else f"{step.cost:.2f}",
            _aside(step),
        )
    return made


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


def _aside(step: ClusterStep) -> Text:
    if step.state == "pending":
        return Text(step.cause or "waits for its node and image", style="yellow")
    if step.state == "starting":
        return Text("asking the cache", style="dim")
    if step.state in {"failed", "stopped"}:
        return Text(step.cause, style="red" if step.state == "failed" else "yellow")
    return Text("cached" if step.state == "cached" else "", style="dim")
