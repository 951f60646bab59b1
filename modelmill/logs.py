"""Logs on standard error, in which no URI holds a password, whichever library wrote it."""

import logging
import sys

from modelmill.errors import without_credentials


class _Formatter(logging.Formatter):
    """Writes a record, its traceback included, without credentials."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record."""
        return without_credentials(super().format(record))


def log_to_stderr(*others: logging.Handler) -> None:
    """Write the logs of this process to standard error from now on, and to other handlers beside it."""
    handlers = [logging.StreamHandler(sys.stderr), *others]
    for handler in handlers:
        handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
