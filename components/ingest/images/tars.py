"""Reads tar archives of pictures front to back: the label is the member's folder, or lies beside it (WebDataset).

A tar within the tar is a folder of its name: so ImageNet's training pictures are shipped, `n01440764.tar` and 999 more
in `ILSVRC2012_img_train.tar`.
"""

import io
import tarfile
from collections.abc import Iterator
from typing import Self

from components.ingest.images.pictures import Gatherer, Pictures, folder_label, member_name, too_long
from components.ingest.images.zips import FREE_BYTES, MAX_RATIO
from components.ingest.rows import Opened
from components.ingest.streams import unpacked
from modelmill.errors import UserError
from modelmill.pictures.faults import Fault

# Of what stands before a member to give it a long name.
_EXTRA_BYTES = 1 << 20
_BLOCK_BYTES = 1 << 20

Member = tuple[int, str, bytes | Fault]
"""Number in the archive from 1, name, content."""


def read_tar(opened: Opened) -> Iterator[Pictures]:
    """Yield the pictures in a tar archive, packed or not, numbered as they lie in it.

    Raises:
        UserError: the archive cannot be read to its end, or unpacks to far more than it is.
        ModelmillError: the file was changed while it was read.
    """
    gatherer = Gatherer()
    for number, name, data in members(opened):
        gatherer.add(number, name, data, folder_label(name))
        yield from gatherer.batches()
    yield from gatherer.rest()


def members(opened: Opened) -> Iterator[Member]:
    """Yield the files in a tar archive, and in those that lie in it; hidden ones and folders are left out.

    Raises:
        UserError: the archive cannot be read to its end, or unpacks to far more than it is.
        ModelmillError: the file was changed while it was read.
    """
    number = 0
    stream = unpacked(opened)
    try:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Checked) as archive:
            for info in archive:
                # A list of all members would grow with the archive.
                archive.members = []  # type: ignore[attr-defined]
                number += 1
                _check_ratio(opened, archive.offset)
                name = member_name(info.name)
                if info.isdir() or name is None:
                    continue
                if isinstance(name, str) and name.endswith(".tar") and info.isreg():
                    number -= 1
                    for inner, data in _inner(archive, info, name.removesuffix(".tar")):
                        number += 1
                        yield number, inner, data
                    continue
                yield (number, info.name, name) if isinstance(name, Fault) else (number, name, _content(archive, info))
            _drain(opened, stream, archive.offset)
    except tarfile.TarError as error:
        raise opened.broken(f"broken tar: {error}", number) from error


def _inner(archive: tarfile.TarFile, info: tarfile.TarInfo, folder: str) -> Iterator[tuple[str, bytes | Fault]]:
    """Yield the files of an archive that is a member of one, as if they lay in a folder of its name."""
    with tarfile.open(fileobj=archive.extractfile(info), mode="r|", tarinfo=_Checked) as within:
        for member in within:
            within.members = []  # type: ignore[attr-defined]
            name = member_name(member.name)
            if member.isdir() or name is None:
                continue
            if isinstance(name, Fault):
                yield member.name, name
            else:
                yield f"{folder}/{name}", _content(within, member)


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes | Fault:
    if not info.isreg():
        return Fault("not_a_file", f"a link or device (type {info.type!r}); pack what it leads to")
    fault = too_long(info.size)
    if fault is not None:
        return fault
    file = archive.extractfile(info)
    data = file.read() if file is not None else b""
    if len(data) != info.size:
        raise tarfile.ReadError(f"{info.name[:100]!r} stops after {len(data)} of {info.size} bytes")
    return data


def _check_ratio(opened: Opened, unpacked_bytes: int) -> None:
    allowed = FREE_BYTES + MAX_RATIO * max(opened.raw.taken, _BLOCK_BYTES)
    if unpacked_bytes > allowed:
        raise UserError(
            f"{opened.file.uri}: {opened.raw.taken} of {opened.file.bytes} bytes become {unpacked_bytes}, more than "
            f"{MAX_RATIO} times as many, as in a decompression bomb; pack it again"
        )


def _drain(opened: Opened, stream: io.BufferedReader, done: int) -> None:
    """Read what follows the last member, so that a packed stream's checksum is checked."""
    while block := stream.read(_BLOCK_BYTES):
        done += len(block)
        _check_ratio(opened, done)


class _Checked(tarfile.TarInfo):
    """A member's header. A damaged one is an error: by itself tarfile takes it for the archive's end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} where a member or the end should be") from error
        if info.type not in tarfile.SUPPORTED_TYPES or info.type in tarfile.REGULAR_TYPES:
            return info
        if not info.isdir() and info.size > _EXTRA_BYTES:
            raise tarfile.ReadError(f"{info.size} bytes of type {info.type!r} before a member, {_EXTRA_BYTES} allowed")
        return info
