"""What the store asks of the place that holds its bytes, and the names that both agree on."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from modelmill.errors import ModelmillError

# Keys become file names and object keys as they are, so they hold nothing that one of the two reads as something else.
_NAME = re.compile(r"[A-Za-z0-9_+=@,()\[\] .-]+(/[A-Za-z0-9_+=@,()\[\] .-]+)*")


class NotFound(ModelmillError):  # noqa: N818  it reads as what it says, like FileNotFound in other stores
    """The store holds nothing under that key."""


class Changed(ModelmillError):  # noqa: N818  as above
    """What lies in the store is not what was put there."""


@dataclass(frozen=True)
class Blob:
    """Bytes in the store, by the name that they give themselves."""

    sha256: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One key of a listing, or one piece of writing that was never finished."""

    key: str
    bytes: int
    modified: float
    """When it was put or last refreshed, in seconds since 1970 by the clock of the place."""
    upload: str = ""
    """Of an upload in parts that was never finished, its id."""


class Backend(Protocol):
    """A place for bytes by key, in which nothing is ever overwritten; what may be deleted, the store decides."""

    def put_if_absent(self, key: str, data: bytes | Path) -> bool:
        """Put bytes, or a file's, whole or not at all; return whether they were put.

        False means that the key is taken; after a broken connection, it may be taken by this very call. Of several
        writers of bytes exactly one wins. Of a large file that holds only on some servers, so only what is named by
        its content may be put as a file.
        """

    def get(self, key: str) -> bytes:
        """Return the bytes of a key; raise NotFound without one."""

    def fetch(self, key: str, path: Path) -> None:
        """Write the bytes of a key to a file; raise NotFound without one."""

    def exists(self, key: str) -> bool:
        """Return whether the key is there."""

    def size(self, key: str) -> int:
        """Return the size of a key in bytes; raise NotFound without one."""

    def delete(self, key: str) -> None:
        """Delete a key; it may be gone already."""

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys that start with a prefix, in any order."""

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Yield the keys that start with a prefix with size and time, in any order, and never all in memory."""

    def modified(self, key: str) -> float | None:
        """Return when a key was put or last refreshed, in seconds since 1970; None where there is none."""

    def refresh(self, key: str) -> bool:
        """Let a key count as put now; return whether it is there."""

    def now(self) -> float:
        """Return the time by the clock that `modified` is told by, in seconds since 1970."""

    def delete_older(self, key: str, than: float) -> bool:
        """Delete a key that was put or refreshed before a time; return whether it was."""

    def unfinished(self) -> Iterator[Entry]:
        """Yield what was begun to be written and is no key; writers that are at work now have theirs there too."""

    def delete_unfinished(self, entry: Entry) -> None:
        """Delete one of those; it may be gone already."""

    def file(self, key: str) -> Path | None:
        """Return the file that holds a key, where the place is a folder of this machine."""


def is_name(name: str) -> bool:
    """Return whether a key or a file's name is a plain relative path: ASCII, no '..', nothing empty."""
    return _NAME.fullmatch(name) is not None and not any(part in {".", ".."} for part in name.split("/"))


def check_name(name: str) -> str:
    """Return a key or a file's name as it is.

    Raises:
        ModelmillError: it is empty, absolute, climbs with '..', or holds a character that could mean something else.
    """
    if not is_name(name):
        raise ModelmillError(f"{name!r} cannot name a file in the store; use a relative path of plain ASCII characters")
    return name
