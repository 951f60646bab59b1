"""The last lines that a process logged, kept for whoever asks why it failed."""

import logging
from collections import deque

_MOST = 20
_CHARACTERS = 300


class LastLines(logging.Handler):
    """Keeps the newest lines of a log in memory."""

    def __init__(self, most: int = _MOST) -> None:
        super().__init__()
        self._kept: deque[str] = deque(maxlen=most)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the lines of a record."""
        self.add(self.format(record))

    def add(self, text: str) -> None:
        """Keep lines that went past the log."""
        self._kept.extend(line[:_CHARACTERS] for line in text.splitlines() if line.strip())

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines, oldest first."""
        return tuple(self._kept)
