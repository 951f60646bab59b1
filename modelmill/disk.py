"""A disk without room, told in the same words wherever it is met."""

import errno
import shutil
from pathlib import Path

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def is_full(error: OSError) -> bool:
    """Return whether something could not be written for want of room: no block, no quota, or too large a file."""
    return error.errno in _FULL


def full(path: Path) -> str:
    """Return what is to be said of a path, which may not exist, whose disk is full; a way out is to follow."""
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    return f"the disk is full ({shutil.disk_usage(there).free:,} bytes free)"
