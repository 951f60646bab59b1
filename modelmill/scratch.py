"""A temporary folder that what it was for may still write into for a moment."""

import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

# Of a request that was under way most end in this time; each look takes twice as long as the one before.
_FIRST_SECONDS, _LOOKS = 0.05, 8


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
    for look in range(_LOOKS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(_FIRST_SECONDS * 2**look)
    log.warning("%s: could not be removed; it may be deleted", folder)
