"""A store in a folder of this machine, or of a file system that several machines share."""

import contextlib
import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from modelmill.disk import full, is_full
from modelmill.errors import ModelmillError
from modelmill.store.backend import Entry, NotFound

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS}
_ATTEMPTS = 20


class LocalBackend:
    """Keys are the files of a folder; `tmp/` holds what is being written and is no key."""

    def __init__(self, root: Path, temporary: str = "tmp") -> None:
        self.root = root
        self.temporary = root / temporary

    def put_if_absent(self, key: str, data: bytes | Path) -> bool:
        """Put by a temporary file and a hard link, which fails where the key is taken and never shows half a file."""
        path = self.root / key
        with self._explained(key):
            if path.exists():
                return False
            temporary = self.temporary / uuid.uuid4().hex
            temporary.parent.mkdir(parents=True, exist_ok=True)
            try:
                _write(temporary, data)
                put = _link(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
            # Gone if all in it was deleted already.
            with contextlib.suppress(FileNotFoundError):
                _sync_folder(path.parent)
        return put

    def get(self, key: str) -> bytes:
        """Return the bytes of a key."""
        with self._explained(key):
            return (self.root / key).read_bytes()

    def fetch(self, key: str, path: Path) -> None:
        """Copy a key to a file."""
        with self._explained(key):
            source = (self.root / key).open("rb")
        with source, path.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)

    def exists(self, key: str) -> bool:
        """Return whether the key is there."""
        with self._explained(key):
            return (self.root / key).is_file()

    def size(self, key: str) -> int:
        """Return the size of a key in bytes."""
        with self._explained(key):
            return (self.root / key).stat().st_size

    def delete(self, key: str) -> None:
        """Delete a key, and the folders above it that are empty then."""
        path = self.root / key
        with self._explained(key):
            path.unlink(missing_ok=True)
        self._delete_empty(path)

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys that start with a prefix, in any order."""
        pending = [self.root / prefix.rpartition("/")[0]]
        with self._explained(prefix):
            while pending:
                folder = pending.pop()
                if folder == self.temporary:
                    continue
                for path in _listed(folder):
                    key = path.relative_to(self.root).as_posix()
                    if path.is_dir():
                        pending.append(path)
                    elif key.startswith(prefix):
                        yield key

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Yield the keys that start with a prefix with size and time, in any order."""
        pending = [self.root / prefix.rpartition("/")[0]]
        with self._explained(prefix):
            while pending:
                for found in _scanned(pending.pop()):
                    path = Path(found.path)
                    if found.is_dir():
                        if path != self.temporary:
                            pending.append(path)
                    elif (key := path.relative_to(self.root).as_posix()).startswith(prefix):
                        # Gone by now, or not.
                        with contextlib.suppress(FileNotFoundError):
                            state = found.stat()
                            yield Entry(key=key, bytes=state.st_size, modified=state.st_mtime)

    def modified(self, key: str) -> float | None:
        """Return when a file was written or last refreshed."""
        with self._explained(key):
            try:
                return (self.root / key).stat().st_mtime
            except (FileNotFoundError, NotADirectoryError):
                return None

    def refresh(self, key: str) -> bool:
        """Give a file the time of now; one of another user's is replaced by its copy."""
        path = self.root / key
        with self._explained(key):
            try:
                os.utime(path)
            except FileNotFoundError:
                return False
            except PermissionError:
                temporary = self.temporary / uuid.uuid4().hex
                temporary.parent.mkdir(parents=True, exist_ok=True)
                _write(temporary, path)
                temporary.replace(path)
        return True

    def now(self) -> float:
        """Return the time of a file that is written now: that of the file system, which may be another machine's."""
        probe = self.temporary / uuid.uuid4().hex
        try:
            probe.parent.mkdir(parents=True, exist_ok=True)
            probe.touch()
            return probe.stat().st_mtime
        except OSError:
            # A store that is only looked at.
            return time.time()
        finally:
            with contextlib.suppress(OSError):
                probe.unlink(missing_ok=True)

    def delete_older(self, key: str, than: float) -> bool:
        """Take a file out of sight, look at its time once more, and delete it or put it back.

        So one that is refreshed at this moment stays: a refresh comes before it is out of sight, and shows, or finds
        nothing, and it is put anew.
        """
        path, aside = self.root / key, self.temporary / uuid.uuid4().hex
        with self._explained(key):
            if not _is_older(path, than):
                return False
            aside.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.rename(aside)
            except FileNotFoundError:
                return False
            older = _is_older(aside, than)
            if not older:
                _link(aside, path)
            aside.unlink()
        self._delete_empty(path)
        return older

    def unfinished(self) -> Iterator[Entry]:
        """Yield the files that were never given a name."""
        for found in _scanned(self.temporary):
            with contextlib.suppress(FileNotFoundError):
                state = found.stat()
                key = Path(found.path).relative_to(self.root).as_posix()
                yield Entry(key=key, bytes=state.st_size, modified=state.st_mtime)

    def delete_unfinished(self, entry: Entry) -> None:
        """Delete one of those."""
        with self._explained(entry.key):
            (self.root / entry.key).unlink(missing_ok=True)

    def file(self, key: str) -> Path | None:
        """Return the file of a key."""
        return self.root / key

    def _delete_empty(self, path: Path) -> None:
        """Delete the folders above a file that are empty; one that another writer fills at this moment stays."""
        with contextlib.suppress(OSError):
            for folder in path.relative_to(self.root).parents[:-1]:
                (self.root / folder).rmdir()

    @contextlib.contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        """Turn what the operating system says into an error that names the store and the way out."""
        try:
            yield
        except FileNotFoundError as error:
            raise NotFound(f"{self.root}: no {key}; run the step that makes it again, or correct the store") from error
        except OSError as error:
            raise ModelmillError(f"{self.root}: {key}: {self._advice(error)}") from error

    def _advice(self, error: OSError) -> str:
        if is_full(error):
            return f"{full(self.root)}; make room or put MODELMILL_STORE elsewhere"
        if error.errno in _NO_LINKS:
            return "its file system refuses hard links; put MODELMILL_STORE on another, or on S3"
        return f"{error.strerror or error}; check the folder's owner and mode, or put MODELMILL_STORE elsewhere"


def _listed(folder: Path) -> list[Path]:
    """Return what lies in a folder; nothing where there is none, or none any more."""
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _scanned(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield what lies in a folder, one at a time; nothing where there is none, or none any more."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as found:
        yield from found


def _is_older(path: Path, than: float) -> bool:
    """Return whether a file is there and was written before a time."""
    try:
        return path.stat().st_mtime < than
    except (FileNotFoundError, NotADirectoryError):
        return False


def _write(path: Path, data: bytes | Path) -> None:
    """Write bytes, or a file's, and wait until they are on the disk."""
    with path.open("xb") as target:
        if isinstance(data, Path):
            with data.open("rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)
        else:
            target.write(data)
        target.flush()
        os.fsync(target.fileno())


def _link(temporary: Path, path: Path) -> bool:
    """Give a file its name; return False where it is taken."""
    for attempt in range(_ATTEMPTS):
        # An empty folder may be deleted by another process just now.
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except FileNotFoundError:
            if attempt + 1 == _ATTEMPTS:
                raise
        else:
            return True
    raise AssertionError("unreachable: the last attempt returns or raises")


def _sync_folder(folder: Path) -> None:
    """Wait until a folder's list of names is on the disk: a file's own fsync does not cover its name."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
