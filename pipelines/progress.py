"""How far a whole input is scored: a bar on a terminal, a line now and then elsewhere, and what came of it."""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipelines.view import BAR_WIDTH, DRAW_SECONDS, RATE_SECONDS, duration, short

# A log that is read tomorrow needs no more.
_SAY_SECONDS = 30.0


class Progress:
    """Draws how much of an input is done, how fast, and how long the rest takes."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, transient=True, auto_refresh=False)
        self._started, self._drawn = time.monotonic(), 0.0
        self._first: float | None = None

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def __call__(self, done: float, total: int, rows: int) -> None:
        """Hear of bytes that are done, of all, and of rows that were scored."""
        now = time.monotonic()
        if self._first is None:
            # Loading the model is no part of the rate, and what an earlier run did neither.
            self._started, self._first = now, done
        if now - max(self._drawn, self._started) < (DRAW_SECONDS if self.console.is_terminal else _SAY_SECONDS):
            return
        self._drawn = now
        text = said(done, total, rows, now - self._started, done - self._first)
        if not self.console.is_terminal:
            self.console.print(text, soft_wrap=True)
            return
        bar = Table.grid(padding=(0, 1, 0, 0))
        bar.add_row(
            ProgressBar(total=max(total, 1), completed=min(done, total), width=BAR_WIDTH), Text(text, style="dim")
        )
        self._live.update(bar, refresh=True)


def said(done: float, total: int, rows: int, seconds: float, since: float) -> str:
    """Return the share that is done, rows, rows a second, and the time left by the bytes of `since` in `seconds`."""
    parts = [f"{done / max(total, 1):.0%}", f"{short(rows)} rows"]
    if seconds > RATE_SECONDS and rows:
        rate = rows / seconds
        parts.append(f"{short(rate)} rows/s" if rate >= 1 else f"{1 / rate:.1f} s/row")
        if since > 0 and done < total:
            parts.append(f"{duration((total - done) * seconds / since)} left")
    return "  ".join(parts)


def summary(output: str, manifest: Mapping[str, Any], scored: int, seconds: float) -> str:
    """Return what came of scoring, for a person."""
    refused = ", ".join(f"{count:,} {reason}" for reason, count in manifest["refused"].items())
    before = manifest["rows"] - scored
    without = manifest["rows"] - manifest["answered"]
    counts = f"{manifest['answered']:,} answered + {without:,} refused{f' ({refused})' if refused else ''}"
    lines = [
        f"{output}: {manifest['rows']:,} rows = {counts}",
        f"{scored:,} rows in {duration(seconds)}{f', {before:,} were done before' if before else ''}",
    ]
    if refused:
        lines.append(f"refused rows, with reasons: {output.rstrip('/')}/_refused/")
    return "\n".join(lines)
