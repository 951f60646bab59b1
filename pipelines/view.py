"""What a person sees of a run: the steps live, and a table at the end."""

import contextlib
import sys
import termios
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipelines.run import Run, StepState
from pipelines.steps import stage_of

_MARKS = {
    "waiting": ("·", "dim"),
    "running": ("●", "cyan"),
    "done": ("✓", "green"),
    "cached": ("≡", "blue"),
    "failed": ("✗", "red"),
    "stopped": ("■", "yellow"),
}
# What a person wants to know of each stage, from its summary; of several ways to say a thing, the first that it can.
_FIGURES: Mapping[str, tuple[str | tuple[str, ...], ...]] = {
    "resolve": (),
    "ingest": (
        "{corpus_kept:,} of {corpus_read:,} corpus rows kept",
        "{labelled_kept:,} of {labelled_read:,} labelled rows kept",
    ),
    "preprocess": (
        "{corpus_tokens:,} tokens",
        "{tokenizer_bytes_per_token:.1f} bytes each",
        "vocabulary {vocabulary:,}",
        "{labelled_rows:,} pictures of {size} x {size} x {channels}",
        "{rows:,} rows of {features:,} features",
    ),
    "pretrain": (
        "validation loss {validation_loss:.3f}",
        ("{tokens_per_second:,.0f} tokens/s", "{samples_per_second:,.0f} rows/s"),
        "{precision}",
    ),
    "finetune": (
        "validation accuracy {validation_accuracy:.3f}",
        "validation mse {validation_mse:.4g}",
        "validation perplexity {validation_perplexity:.2f}",
        "{samples_per_second:,.0f} rows/s",
        "{precision}",
    ),
    "evaluate": (
        "perplexity {perplexity:.2f}",
        "chrF {chrf:.2f}",
        "BLEU {bleu:.2f}",
        "accuracy {accuracy:.3f}",
        "f1 {f1_macro:.3f}",
        "r2 {r2:.3f}",
        "rmse {rmse:.4g}",
        "{test_rows:,} test rows",
    ),
    "register": ("{verdict}", "version {version}", "{aliases}", "{unchanged}"),
}
# Rates of the first moments mean nothing.
RATE_SECONDS = 1.0
BAR_WIDTH = 28
"""In characters."""
# Drawing takes a hundredth of a second of a core that training could use.
DRAW_SECONDS = 0.3
_UNITS = ("k", "M", "G")


class View:
    """Draws a run: in place on a terminal, a line a change elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, refresh_per_second=8, transient=True, auto_refresh=False)
        self._said: dict[str, str] = {}
        self._echo: list[Any] | None = None
        self._drawn = 0.0

    def __enter__(self) -> "View":
        if self.console.is_terminal:
            self._echo = _silence_keys()
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self._live.stop()
            if self._echo is not None:
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._echo)

    def __call__(self, run: Run) -> None:
        """Draw the run as it is now."""
        if self.console.is_terminal:
            if time.monotonic() - self._drawn >= DRAW_SECONDS:
                self._drawn = time.monotonic()
                self._live.update(_panel(run, self.console.width), refresh=True)
            return
        for step in run.steps.values():
            if step.state != self._said.get(step.name, "waiting"):
                self._said[step.name] = step.state
                self.console.print(
                    Text.assemble(_mark(step), f" {step.name} {step.state} ", _aside(step)), soft_wrap=True
                )


def _silence_keys() -> list[Any] | None:
    """Keep what is typed, and the `^C` of Ctrl-C, out of the drawing; return the terminal's settings of before."""
    if not sys.stdin.isatty():
        return None
    before = termios.tcgetattr(sys.stdin)
    silent = termios.tcgetattr(sys.stdin)
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, silent)
    return before


def final_table(run: Run) -> RenderableType:
    """Return the table of a finished run: step, time, cached or not, main figures."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("step")
    table.add_column("time", justify="right")
    table.add_column("", style="dim")
    table.add_column("figures", overflow="fold")
    for step in run.steps.values():
        seconds = "" if step.state in {"cached", "waiting"} else duration(step.seconds)
        table.add_row(
            Text.assemble(_mark(step), " ", step.name),
            seconds,
            "cached" if step.state == "cached" else "",
            figures(step),
        )
    return table


def duration(seconds: float) -> str:
    """Return seconds as a person says them: `0.8 s`, `12 s`, `3:25`, `1:02:03`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def figures(step: StepState) -> str:
    """Return a step's main figures as one line; those that a step does not have are left out."""
    parts = []
    for ways in _FIGURES[stage_of(step.name)]:
        for text in (ways,) if isinstance(ways, str) else ways:
            with contextlib.suppress(KeyError, ValueError):
                parts.append(text.format_map(step.summary))
                break
    return ", ".join(parts)


def _mark(step: StepState) -> Text:
    mark, style = _MARKS[step.state]
    return Text(mark, style=style)


def _panel(run: Run, width: int) -> RenderableType:
    title = Text.assemble((run.recipe.name, "bold"), ("  " + duration(time.time() - run.started), "dim"))
    names = max(len(name) for name in run.steps) + 2
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, min_width=names)
    table.add_column(justify="right", no_wrap=True, min_width=7)
    table.add_column(no_wrap=True, overflow="ellipsis")
    for step in run.steps.values():
        style = "dim" if step.state == "waiting" else ""
        name = Text.assemble(_mark(step), " ", (step.name, style))
        table.add_row(name, Text(_time(step), style="dim"), _doing(step, width))
    return Group(title, Text(), table)


def _time(step: StepState) -> str:
    if step.state == "running" and step.started:
        return duration(time.time() - step.started)
    return duration(step.seconds) if step.state in {"done", "failed", "stopped"} else ""


def _doing(step: StepState, width: int) -> RenderableType:
    if step.state != "running":
        return _aside(step)
    if not step.progress:
        return Text("starting", style="dim")
    total, done = step.progress["total"], step.progress["done"]
    what = step.progress["what"]
    text = Text.assemble("" if what == step.name else f"{what}  ", (_amount(step), "dim"))
    if not total or width < 90:
        return text
    bar = Table.grid(padding=(0, 1, 0, 0))
    bar.add_column(no_wrap=True)
    bar.add_column(no_wrap=True, overflow="ellipsis")
    bar.add_row(ProgressBar(total=total, completed=min(done, total), width=BAR_WIDTH), text)
    return bar


def _amount(step: StepState) -> str:
    """How much is done, how fast, and how long the rest takes; with the latest loss where there is one."""
    done, total, unit = step.progress["done"], step.progress["total"], step.progress["unit"]
    parts = [f"{short(done)}/{short(total)} {unit}" if total else f"{short(done)} {unit}"]
    seconds = step.progress["time"] - step.progress_started
    if seconds > RATE_SECONDS and done:
        rate = done / seconds
        parts.append(f"{short(rate)} {unit}/s" if rate >= 1 else f"{1 / rate:.1f} s/{unit.removesuffix('s')}")
        if total and done < total:
            parts.append(f"{duration((total - done) / rate)} left")
    if "loss" in step.figures:
        parts.append(f"loss {step.figures['loss']:.3f}")
    return "  ".join(parts)


def short(number: float) -> str:
    """Return a number as a person reads it at a glance: `7.5`, `1,234`, `12.3k`, `4M`."""
    if abs(number) < 10:
        return f"{number:.1f}".removesuffix(".0")
    if abs(number) < 10_000:
        return f"{number:,.0f}"
    for unit in _UNITS:
        number /= 1000
        if abs(number) < 1000 or unit == _UNITS[-1]:
            return f"{number:.1f}{unit}" if abs(number) < 100 else f"{number:.0f}{unit}"
    raise AssertionError("the last unit always returns")


def _aside(step: StepState) -> Text:
    if step.state in {"failed", "stopped"}:
        return Text(
            step.message.splitlines()[0] if step.message else "", style="red" if step.state == "failed" else "yellow"
        )
    return Text(figures(step), style="dim")
