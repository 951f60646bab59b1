"""A store in a folder of this machine, or of a file system that several machines share."""

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from modelmill.disk import full, is_full
from modelmill.errors import ModelmillError
from modelmill.store.backend import NotFound

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
        # One that another writer fills at this moment stays.
        with contextlib.suppress(OSError):
            for folder in path.relative_to(self.root).parents[:-1]:
                (self.root / folder).rmdir()

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

    def file(self, key: str) -> Path | None:
        """Return the file of a key."""
        return self.root / key

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
