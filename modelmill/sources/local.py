"""Sources on this machine: paths, globs, folders, and files inside installed packages."""

import hashlib
import importlib.util
import os
from pathlib import Path

from modelmill.errors import ModelmillError, UserError
from modelmill.sources.find import find, missing, unreadable
from modelmill.sources.remember import digests
from modelmill.sources.stream import RawStream, SourceFile

_PACKAGE = "package://"


def locate(uri: str, base: Path | None) -> Path:
    """Return the file or folder that a path or a `package://` URI names.

    Raises:
        UserError: it is not there, or its package is not installed.
    """
    path = _path(uri, base)
    try:
        if not path.exists():
            raise missing(uri, path)
    except OSError as error:
        raise unreadable(uri, error) from error
    return path


def list_local(uri: str, base: Path | None) -> list[SourceFile]:
    """Return the files of a path, glob or folder, with their sha256.

    Raises:
        UserError: nothing is there, or it cannot be read.
    """
    path = _path(uri, base)
    root, found = _find(uri, path)
    try:
        known = digests(found)
    except OSError as error:
        raise unreadable(uri, error) from error
    files = []
    for each in found:
        name = _name(uri, each.relative_to(root))
        # A single file or a glob is named by where it lies, a folder's file by the folder's URI.
        own = uri if each == path else f"{_PACKAGE}{_inside(uri, each)}" if uri.startswith(_PACKAGE) else str(each)
        size, sha256 = known[each]
        files.append(SourceFile(uri=own, name=name, bytes=size, fingerprint=f"sha256:{sha256}"))
    return files


def sizes(uri: str) -> list[int]:
    """Return the size in bytes of each file of a source, without reading any.

    Raises:
        UserError: nothing is there, or it cannot be read.
    """
    found = _find(uri, _path(uri, None))[1]
    try:
        return [path.stat().st_size for path in found]
    except OSError as error:
        raise unreadable(uri, error) from error


class LocalStream(RawStream):
    """A file of this machine, hashed while it is read."""

    def __init__(self, file: SourceFile) -> None:
        super().__init__(file)
        try:
            self._file = _path(file.uri, None).open("rb", buffering=0)
        except OSError as error:
            raise unreadable(file.uri, error) from error
        self._sha256 = hashlib.sha256()

    def _fill(self, view: memoryview) -> int:
        try:
            count = self._file.readinto(view) or 0
        except OSError as error:
            raise unreadable(self.file.uri, error) from error
        self._sha256.update(view[:count])
        return count

    def _check_end(self) -> None:
        found = f"sha256:{self._sha256.hexdigest()}"
        if found != self.file.fingerprint:
            raise ModelmillError(
                f"{self.file.uri}: changed while it was read ({self.taken} bytes, {self.file.bytes} when listed; "
                f"{found[:19]}, was {self.file.fingerprint[:19]}); run again when nothing writes to it"
            )

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._file.close()
        super().close()


def _name(uri: str, path: Path) -> str:
    """Return the name of a file of a source; one that is no text has no place in a fingerprint, ledger or report."""
    name = path.as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as error:
        # The bytes as they stand there.
        raise UserError(f"{uri}: the file name {os.fsencode(path)!r} is not UTF-8; rename the file") from error
    return name


def _path(uri: str, base: Path | None) -> Path:
    if uri.startswith(_PACKAGE):
        return _package_path(uri)
    path = Path(uri).expanduser()
    return base / path if base is not None else path


def _package_path(uri: str) -> Path:
    """Return the path inside a package, which is looked up and not imported."""
    module, _, inside = uri.removeprefix(_PACKAGE).partition("/")
    folders = _package_folders(uri, module)
    paths = [folder / inside for folder in folders]
    for folder, path in zip(folders, paths, strict=True):
        # Parts are compared as written: a package manager may link single files from its cache.
        if ".." in Path(inside).parts or not path.absolute().is_relative_to(folder.absolute()):
            raise UserError(f"{uri}: leads out of the package; name a path inside {module!r}")
    # A namespace package has several folders.
    return next((path for path in paths if path.exists()), paths[0])


def _package_folders(uri: str, module: str) -> list[Path]:
    if not module.isidentifier():
        raise UserError(f"{uri}: {module!r} is not the name of a Python package; write package://module/path")
    spec = importlib.util.find_spec(module)
    if spec is None:
        raise UserError(
            f"{uri}: no Python package {module!r} is installed; `pip install {module.replace('_', '-')}` "
            "(the distribution may have another name), or correct the URI"
        )
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    if not folders:
        raise UserError(f"{uri}: {module!r} is a module without a folder; name a package that holds data")
    return folders


def _inside(uri: str, path: Path) -> str:
    """Return 'module/path' of a file that was found under a package's URI."""
    module = uri.removeprefix(_PACKAGE).partition("/")[0]
    folder = next(folder for folder in _package_folders(uri, module) if path.is_relative_to(folder))
    return f"{module}/{path.relative_to(folder).as_posix()}"


def _find(uri: str, path: Path) -> tuple[Path, list[Path]]:
    # A package manager may link a package's files from its cache.
    return find(uri, path, links_may_leave=uri.startswith(_PACKAGE))
