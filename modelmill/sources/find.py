"""Which files of this machine a path, a folder or a pattern names, and where symbolic links may lead."""

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from modelmill.errors import UserError

_MAGIC = frozenset("*?[")


def is_pattern(part: str) -> bool:
    """Return whether a part of a path is a pattern (`*.csv`, `**`) rather than a name."""
    return not _MAGIC.isdisjoint(part)


def matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether a path matches a pattern, part by part, as a shell does: `**` is any number of folders."""
    # Every way that the pattern could have matched so far: a plain recursion tries `**/**/**` without end.
    places = _past_any_folders({0}, pattern)
    for position, part in enumerate(parts):
        after = set()
        for place in places:
            if place < len(pattern) and pattern[place] == "**":
                if not part.startswith("."):
                    after.add(place)
                    # A pattern that ends in `**` names what lies under it too.
                    if place == len(pattern) - 1 and position == len(parts) - 1:
                        after.add(place + 1)
            elif place < len(pattern) and _matches(part, pattern[place]):
                after.add(place + 1)
        places = _past_any_folders(after, pattern)
    return len(pattern) in places


def find(uri: str, path: Path, *, links_may_leave: bool) -> tuple[Path, list[Path]]:
    """Return the folder that the names of a source's files count from, and the files.

    A link that the path itself names is followed wherever it leads. One that is found in a folder must stay in it,
    unless `links_may_leave`: what a recipe names is then all that is read.

    Raises:
        UserError: nothing is there, it cannot be read, or a link leads out of the folder.
    """
    try:
        if path.is_file():
            return path.parent, [path]
        if path.is_dir():
            return path, list(_walk(path, links_may_leave))
        # A file that is really called 'a[1].csv' was found above.
        first = next((index for index, part in enumerate(path.parts) if is_pattern(part)), None)
        if first is None:
            raise UserError(f"{uri}: neither a file nor a folder") if path.exists() else missing(uri, path)
        root = Path(*path.parts[:first])
        return root, list(dict.fromkeys(_expand(root, path.parts[first:], links_may_leave)))
    except OSError as error:
        raise unreadable(uri, error) from error


def missing(uri: str, path: Path) -> UserError:
    """Return the error for a path that is not there, with the nearest name that is."""
    from modelmill.sources import nearest

    folder = path.parent
    if not folder.is_dir():
        while not folder.is_dir() and folder != folder.parent:
            folder = folder.parent
        return UserError(f"{uri}: no such file or folder; the path is there up to {folder}")
    hint = nearest(path.name, sorted(each.name for each in folder.iterdir()))
    return UserError(f"{uri}: no such file or folder{hint or '; correct the path'}")


def unreadable(uri: str, error: OSError) -> UserError:
    """Return the error for what is there and cannot be read; it names the very file or folder."""
    place = f"{uri}: " if error.filename is None or str(error.filename) == uri else f"{uri}: {error.filename} "
    return UserError(f"{place}cannot be read: {error.strerror or error}; correct its path or its rights")


def _walk(root: Path, links_may_leave: bool) -> Iterator[Path]:
    inside = _real(root)
    followed: set[Path] = set()
    folders = [root]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.name.startswith((".", "_")):
                    continue
                if entry.is_symlink():
                    target = _target(path, root, inside, links_may_leave)
                    if entry.is_dir():
                        # What lies in plain sight inside the folder is found there, and once; so no loop is entered.
                        if target not in followed and not _in_plain_sight(target, inside):
                            followed.add(target)
                            folders.append(path)
                        continue
                elif entry.is_dir():
                    folders.append(path)
                if entry.is_file():
                    yield path


def _expand(root: Path, pattern: Sequence[str], links_may_leave: bool) -> Iterator[Path]:
    """Yield the files that match; unlike `glob`, which passes over unreadable folders and goes around in loops."""
    inside = _real(root)
    # `**/**` says no more than `**`, and takes a walk within every walk.
    once = [part for part, before in zip(pattern, ("", *pattern), strict=False) if part != "**" or before != "**"]
    open_ends = [(root, tuple(once))]
    while open_ends:
        here, parts = open_ends.pop()
        if not parts:
            if here.is_file():
                yield here
            continue
        first, rest = parts[0], parts[1:]
        if not is_pattern(first):
            open_ends.append((here / first, rest))
            continue
        if not here.is_dir():
            continue
        deep = first == "**"
        if deep:
            open_ends.append((here, rest or ("*",)))
        with os.scandir(here) as entries:
            for entry in entries:
                wanted = not entry.name.startswith(".") and entry.is_dir() if deep else _matches(entry.name, first)
                if not wanted:
                    continue
                if entry.is_symlink():
                    _target(Path(entry.path), root, inside, links_may_leave)
                    if deep:
                        continue
                open_ends.append((here / entry.name, parts if deep else rest))


def _target(link: Path, root: Path, inside: Path, may_leave: bool) -> Path:
    target = _real(link)
    if not may_leave and not target.is_relative_to(inside):
        raise UserError(
            f"{link}: a symbolic link out of {root}, to {target}; name that as a source of its own, or copy it in"
        )
    if not link.exists():
        raise UserError(f"{link}: a symbolic link to {target}, where nothing is; mend or remove it")
    return target


def _in_plain_sight(target: Path, inside: Path) -> bool:
    if not target.is_relative_to(inside):
        return False
    return not any(part.startswith((".", "_")) for part in target.relative_to(inside).parts)


def _real(path: Path) -> Path:
    # Path.resolve raises where links go in a circle.
    return Path(os.path.realpath(path))


def _matches(name: str, part: str) -> bool:
    # As in a shell, `*` leaves out what is hidden.
    return fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))


def _past_any_folders(places: set[int], pattern: Sequence[str]) -> set[int]:
    """Add the places behind each `**` that more of the pattern follows: it may stand for no folder."""
    found = set(places)
    for place in sorted(places):
        while place < len(pattern) - 1 and pattern[place] == "**":
            place += 1  # noqa: PLW2901
            found.add(place)
    return found
