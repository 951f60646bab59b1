"""What every reader of pictures gives: batches of numbered pictures, and beside them those that cannot be taken."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from modelmill.ledger import Rejected
from modelmill.pictures.faults import Fault

BATCH_PICTURES = 1024
"""Pictures that a reader hands on at a time, at most; about as many are looked at together."""
BATCH_BYTES = 64 << 20
"""A batch ends with the picture that reaches so many bytes."""
# What a Mac adds to a zip archive: no pictures, though they are named as such.
_RESOURCE_FORKS = "__MACOSX"
PICTURE_BYTES = 256 << 20
"""More than a picture of any allowed size takes, in bytes: such files and members are not read into memory."""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """A batch of pictures of one file or folder, as they stand there."""

    numbers: Sequence[int]
    """Position of each, from 1: of the file among the source's files, of the member in its archive, of the row."""
    names: Sequence[str]
    """Name of the file or member; '' where pictures have none."""
    data: Sequence[bytes]
    """Each as the bytes of an image file, not looked at."""
    labels: Sequence[Any]
    """A string, number, truth value or None of each; None where there is no label."""
    bad: Sequence[Rejected] = ()
    """Those that cannot be taken."""
    slices: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """What is kept beside each, by name."""


@dataclass
class Gatherer:
    """Puts pictures as they are found into batches."""

    numbers: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    bad: list[Rejected] = field(default_factory=list)
    slices: dict[str, list[Any]] = field(default_factory=dict)
    _bytes: int = 0

    def add(
        self, number: int, name: str, data: bytes | Fault, label: Any, slices: Mapping[str, Any] | None = None
    ) -> None:
        """Add a picture with what is kept beside it, or what is wrong with it."""
        if isinstance(data, Fault):
            self.bad.append(Rejected(row=number, reason=data.reason, text=name, detail=data.detail))
            return
        self.numbers.append(number)
        self.names.append(name)
        self.data.append(data)
        self.labels.append(label)
        for column, value in (slices or {}).items():
            self.slices.setdefault(column, []).append(value)
        self._bytes += len(data)

    def pictures(self) -> Pictures:
        """Return the pictures so far and begin anew."""
        batch = Pictures(
            numbers=self.numbers,
            names=self.names,
            data=self.data,
            labels=self.labels,
            bad=self.bad,
            slices=self.slices,
        )
        self.numbers, self.names, self.data, self.labels, self.bad, self._bytes = [], [], [], [], [], 0
        self.slices = {}
        return batch

    def batches(self) -> Iterator[Pictures]:
        """Yield the pictures so far if they make a batch."""
        if len(self.numbers) + len(self.bad) >= BATCH_PICTURES or self._bytes >= BATCH_BYTES:
            yield self.pictures()

    def rest(self) -> Iterator[Pictures]:
        """Yield the pictures so far if there are any."""
        if self.numbers or self.bad:
            yield self.pictures()


def folder_label(name: str) -> str | None:
    """Return the name of the innermost folder that a file lies in, None for one that lies in none."""
    folder = name.rpartition("/")[0]
    return folder.rpartition("/")[2] or None


def too_long(size: int) -> Fault | None:
    """Return what is wrong with a picture of so many bytes, before it is read."""
    return Fault("too_large", f"{size} bytes, {PICTURE_BYTES} are allowed") if size > PICTURE_BYTES else None


def member_name(name: str) -> str | Fault | None:
    """Return the name of an archive's member with '/' between its parts; None for a hidden one.

    Nothing is ever written under such a name. But an archive whose names lead out of it was made to do harm, or names
    files that are not its own.
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0].startswith("/") or ".." in parts or re.match("[A-Za-z]:", name) or "\0" in name:
        return Fault("unsafe_name", f"{name[:100]!r} leads out of the archive; pack it again with plain names")
    if any(part.startswith(".") or part == _RESOURCE_FORKS for part in parts):
        return None
    return "/".join(parts)
