"""Reads zip archives of pictures; the label is the name of the member's folder."""

import mmap
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from struct import unpack_from

from components.ingest.images.pictures import Gatherer, Pictures, folder_label, member_name, too_long
from components.ingest.rows import Opened
from modelmill.errors import UserError
from modelmill.pictures.faults import Fault

# Pictures hardly shrink when packed; a blank bitmap of 1 MB may by more.
MAX_RATIO = 200
"""Bytes that one packed byte may become, in members of more than FREE_BYTES."""
FREE_BYTES = 1 << 20

# Of a local file header (APPNOTE.TXT 6.3.10, section 4.3.7).
_HEADER_BYTES = 30
_ENCRYPTED = 0x1


def read_zip(opened: Opened) -> Iterator[Pictures]:
    """Yield the pictures in a zip archive, numbered as its directory lists them.

    Raises:
        UserError: the archive cannot be read to its end, or its members overlap.
        ModelmillError: the file was changed while it was read.
    """
    with opened.copy(".zip") as copy:
        yield from _pictures(opened, copy)


def _pictures(opened: Opened, copy: Path) -> Iterator[Pictures]:
    gatherer = Gatherer()
    with copy.open("rb") as file:
        members = _directory(opened, copy)
        if not members:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
            for number, info in enumerate(members, 1):
                name = member_name(info.filename)
                if info.is_dir() or name is None:
                    continue
                shown, label = (info.filename, None) if isinstance(name, Fault) else (name, folder_label(name))
                data = name if isinstance(name, Fault) else _refused(info) or _content(whole, info)
                gatherer.add(number, shown, data, label)
                yield from gatherer.batches()
    yield from gatherer.rest()


def _directory(opened: Opened, copy: Path) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(copy) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, EOFError) as error:
        raise opened.broken(f"broken zip: {error}", 0) from error
    packed = sum(info.compress_size for info in members)
    if packed > opened.file.bytes:
        raise UserError(
            f"{opened.file.uri}: its {len(members)} members take {packed} bytes packed, and the file has "
            f"{opened.file.bytes}: members overlap, as in a decompression bomb; pack it again"
        )
    return members


def _refused(info: zipfile.ZipInfo) -> Fault | None:
    """Return why a member is not even unpacked."""
    if info.flag_bits & _ENCRYPTED:
        return Fault("encrypted", f"{info.file_size} bytes; pack it without a password")
    if stat.S_ISLNK(info.external_attr >> 16):
        return Fault("not_a_file", "a symbolic link; pack what it leads to")
    if info.file_size > FREE_BYTES and info.file_size > MAX_RATIO * info.compress_size:
        return Fault(
            "packing_bomb", f"{info.compress_size} bytes become {info.file_size}, {MAX_RATIO} times is allowed"
        )
    return too_long(info.file_size)


def _content(whole: mmap.mmap, info: zipfile.ZipInfo) -> bytes | Fault:
    """Return the bytes of a member, which must be as many and have the checksum that the directory says.

    `ZipFile.read` does the same in ten times the time, most of it in Python.
    """
    head = whole[info.header_offset : info.header_offset + _HEADER_BYTES]
    if len(head) < _HEADER_BYTES or head[:4] != b"PK\3\4":
        return Fault("broken_member", f"no member begins at byte {info.header_offset}")
    start = info.header_offset + _HEADER_BYTES + sum(unpack_from("<HH", head, 26))
    data = whole[start : start + info.compress_size]
    if info.compress_type == zipfile.ZIP_DEFLATED:
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, info.file_size + 1)
        except zlib.error as error:
            return Fault("broken_member", str(error))
    elif info.compress_type != zipfile.ZIP_STORED:
        return Fault("broken_member", f"packed by method {info.compress_type}; 0 (stored) and 8 (deflate) can be read")
    if len(data) != info.file_size:
        return Fault("broken_member", f"more or fewer than the {info.file_size} bytes declared ({len(data)} were read)")
    checksum = zlib.crc32(data)
    if checksum != info.CRC:
        return Fault("broken_member", f"checksum {checksum:08x}, {info.CRC:08x} expected")
    return data
