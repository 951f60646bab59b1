"""Sources on this machine: paths, globs, folders, and files inside installed packages."""

import glob
import hashlib
import importlib.util
import os
from pathlib import Path

from modelmill.errors import ModelmillError, UserError
from modelmill.sources.stream import RawStream, SourceFile

_PACKAGE = "package://"
_MAGIC = frozenset("*?[")


def locate(uri: str, base: Path | None) -> Path:
    """Return the file or folder that a path or a `package://` URI names.

    Raises:
        UserError: it is not there, or its package is not installed.
    """
    path = _path(uri, base)
    if not path.exists():
        raise _missing(uri, path)
    return path


def list_local(uri: str, base: Path | None) -> list[SourceFile]:
    """Return the files of a path, glob or folder, with their sha256.

    Raises:
        UserError: nothing is there, or it cannot be read.
    """
    path = _path(uri, base)
    root, found = _found(uri, path)
    files = []
    for each in found:
        name = each.relative_to(root).as_posix()
        # A single file or a glob is named by where it lies, a folder's file by the folder's URI.
        own = uri if each == path else f"{_PACKAGE}{_inside(uri, each)}" if uri.startswith(_PACKAGE) else str(each)
        try:
            with each.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                size = file.tell()
        except OSError as error:
            raise _unreadable(own, error) from error
        files.append(SourceFile(uri=own, name=name, bytes=size, fingerprint=f"sha256:{sha256}"))
    return files


def sizes(uri: str) -> list[int]:
    """Return the size in bytes of each file of a source, without reading any.

    Raises:
        UserError: nothing is there.
    """
    return [path.stat().st_size for path in _found(uri, _path(uri, None))[1]]


class LocalStream(RawStream):
    """A file of this machine, hashed while it is read."""

    def __init__(self, file: SourceFile) -> None:
        super().__init__(file)
        try:
            self._file = _path(file.uri, None).open("rb", buffering=0)
        except OSError as error:
            raise _unreadable(file.uri, error) from error
        self._sha256 = hashlib.sha256()

    def _fill(self, view: memoryview) -> int:
        try:
            count = self._file.readinto(view) or 0
        except OSError as error:
            raise _unreadable(self.file.uri, error) from error
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


def _found(uri: str, path: Path) -> tuple[Path, list[Path]]:
    """Return the files of a source and the folder that their names count from."""
    if path.is_file():
        return path.parent, [path]
    if path.is_dir():
        return path, _walk(uri, path)
    # A file that is really called 'a[1].csv' was found above.
    fixed = [part for part in path.parts if not _MAGIC & set(part)]
    if len(fixed) == len(path.parts):
        raise UserError(f"{uri}: neither a file nor a folder") if path.exists() else _missing(uri, path)
    first_magic = next(index for index, part in enumerate(path.parts) if _MAGIC & set(part))
    root = Path(*path.parts[:first_magic])
    # Path.glob would match hidden names too.
    matches = [Path(match) for match in glob.glob(str(path), recursive=True)]  # noqa: PTH207
    return root, [match for match in matches if match.is_file()]


def _walk(uri: str, folder: Path) -> list[Path]:
    def stop(error: OSError) -> None:
        raise _unreadable(uri, error) from error

    files = []
    for here, folders, names in os.walk(folder, onerror=stop):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        files += [Path(here, name) for name in names if not name.startswith((".", "_"))]
    return [file for file in files if file.is_file()]


def _missing(uri: str, path: Path) -> UserError:
    from modelmill.sources import nearest

    folder = path.parent
    if not folder.is_dir():
        while not folder.is_dir() and folder != folder.parent:
            folder = folder.parent
        return UserError(f"{uri}: no such file or folder; the path is there up to {folder}")
    hint = nearest(path.name, sorted(each.name for each in folder.iterdir()))
    return UserError(f"{uri}: no such file or folder{hint or '; correct the path'}")


def _unreadable(uri: str, error: OSError) -> UserError:
    return UserError(f"{uri}: cannot be read: {error.strerror or error}; correct its path or its rights")
