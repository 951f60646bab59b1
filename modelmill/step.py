"""What a running step has in hand: its store, its scratch folder, its voice, and the wish to stop."""

import logging
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from modelmill.errors import Interrupted
from modelmill.events import Events
from modelmill.store import Store


class Figures(Protocol):
    """Where a step's figures go beside its events: the tracking run."""

    def log(self, values: Mapping[str, float], at: int | None) -> None:
        """Record figures by name, at a training step if there is one."""


@dataclass(kw_only=True)
class Step:
    """One step while it runs."""

    name: str
    store: Store
    scratch: Path
    """A folder of its own, gone when the step ends."""
    events: Events
    figures_to: Figures | None = None
    stop_signal: int | None = field(default=None, init=False)

    def progress(self, what: str, done: int, total: int | None, unit: str) -> None:
        """Say how far a piece of work is, for the bar that a person watches."""
        self.events.progress(what, done, total, unit)

    def figures(self, values: Mapping[str, float], at: int | None = None) -> None:
        """Record figures: shown live, kept by the tracking run."""
        self.events.emit("figures", values=dict(values), at=at)
        if self.figures_to is not None:
            self.figures_to.log(values, at)

    def stop_on_signals(self) -> None:
        """From now on SIGTERM and SIGINT only set the wish to stop; the work ends itself at a safe place."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note_signal)

    def _note_signal(self, number: int, _frame: object) -> None:
        self.stop_signal = number
        logging.getLogger(__name__).warning("%s received, stopping", signal.Signals(number).name)

    @property
    def stopping(self) -> bool:
        """Whether the step was asked to stop."""
        return self.stop_signal is not None

    def check_stop(self) -> None:
        """Raise if the step was asked to stop; called where nothing would be lost.

        Raises:
            Interrupted: SIGTERM or SIGINT has come.
        """
        if self.stop_signal is not None:
            raise Interrupted(f"{self.name}: stopped by {signal.Signals(self.stop_signal).name}; run again to go on")
