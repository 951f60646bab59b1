"""A temporary folder that what it was for may still write into for a moment."""

import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

# Before each look. Requests that were under way when another one failed end in this time.
_WAITS = (0, 0.05, 0.1, 0.2, 0.5, 1, 2, 4)


@contextmanager
def scratch_folder(what: str) -> Iterator[Path]:
    """Give a folder that is gone afterwards; `what` is in its name.

    MLflow fetches files in threads. Where one fails the others go on, and a folder that one of them puts a file into
    while it is removed cannot be: then it is removed once more, and the error that ended the block stays the one that
    is told.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"modelmill-{what}-"))
    try:
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    for seconds in _WAITS:
        time.sleep(seconds)
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
    log.warning("%s: could not be removed in %.0f s; delete it", folder, sum(_WAITS))
