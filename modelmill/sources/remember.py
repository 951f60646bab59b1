"""What local files were found to hold, so that a file that nobody touched is not read again to be recognised.

Kept in a small database under the local home, which is only ever a shortcut: one that is broken, locked or not writable
is passed over. Whoever reads a file checks it against its digest anyway, so an entry that lies is caught there.
"""

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from modelmill.home import home

# A file may be written twice within one tick of a file system's clock: as git does with its index, what was changed so
# shortly before it was read is not remembered. 2 s: the ticks of FAT, the coarsest.
_RACY_NS = 2_000_000_000
# About 200 bytes an entry.
_MOST_ENTRIES = 1_000_000
_AT_ONCE = 500
_LEARNS: ContextVar[bool] = ContextVar("learns", default=True)


@contextmanager
def only_recalling() -> Iterator[None]:
    """While the block lasts remember nothing new: for what may write nothing."""
    before = _LEARNS.set(False)
    try:
        yield
    finally:
        _LEARNS.reset(before)


def digests(paths: Iterable[Path]) -> dict[Path, tuple[int, str]]:
    """Return each file's size in bytes and its sha256, reading only those that are new or were touched.

    Raises:
        OSError: a file cannot be read.
    """
    states = {path: _state(path.stat()) for path in paths}
    known = _recall(states)
    found: dict[Path, tuple[int, str]] = {}
    learned: dict[Path, tuple[str, str]] = {}
    for path, state in states.items():
        if path in known:
            found[path] = int(state.partition(" ")[0]), known[path]
            continue
        size, sha256, settled = _read(path)
        found[path] = size, sha256
        if settled is not None:
            learned[path] = settled, sha256
    if learned and _LEARNS.get():
        _remember(learned)
    return found


def _read(path: Path) -> tuple[int, str, str | None]:
    """Return size and sha256, and the state that they may be remembered for, if any."""
    now = time.time_ns()
    with path.open("rb") as file:
        before = os.fstat(file.fileno())
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        after = os.fstat(file.fileno())
    settled = max(before.st_mtime_ns, before.st_ctime_ns) <= now - _RACY_NS and _state(before) == _state(after)
    return size, sha256, _state(before) if settled else None


def _state(stat: os.stat_result) -> str:
    # The time of the inode's last change, too: tools that copy a file set the other one back.
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino} {stat.st_dev}"


def _recall(states: Mapping[Path, str]) -> dict[Path, str]:
    """Return the sha256 of the files whose state is still the one that was remembered."""
    keys = {_key(path): path for path in states}
    names = list(keys)
    known: dict[Path, str] = {}
    with suppress(OSError, sqlite3.Error):
        if not _file().is_file():
            return known
        with closing(_open()) as memory:
            for start in range(0, len(names), _AT_ONCE):
                some = names[start : start + _AT_ONCE]
                marks = ",".join("?" * len(some))
                rows = memory.execute(f"SELECT path, state, sha256 FROM files WHERE path IN ({marks})", some)  # noqa: S608
                known |= {keys[key]: sha256 for key, state, sha256 in rows if states[keys[key]] == state}
    return known


def _remember(learned: Mapping[Path, tuple[str, str]]) -> None:
    rows = [(_key(path), state, sha256) for path, (state, sha256) in learned.items()]
    with suppress(OSError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(_open()) as memory, memory:
                memory.execute(
                    "CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, state TEXT, sha256 TEXT) WITHOUT ROWID"
                )
                if memory.execute("SELECT count(*) FROM files").fetchone()[0] > _MOST_ENTRIES:
                    memory.execute("DELETE FROM files")
                memory.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", rows)
        except sqlite3.OperationalError:
            # Locked or not writable, which may pass.
            return
        except sqlite3.DatabaseError:
            # Not a database (any more): the next run begins a new one.
            _file().unlink(missing_ok=True)


def _open() -> sqlite3.Connection:
    memory = sqlite3.connect(_file(), timeout=1)
    # To lose it costs one more reading; to wait for the disk costs more each time.
    memory.execute("PRAGMA synchronous = OFF")
    return memory


def _file() -> Path:
    return home() / "fingerprints.db"


def _key(path: Path) -> bytes:
    # A name need not be text.
    return os.fsencode(path.absolute())
