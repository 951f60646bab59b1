"""Reads folders of pictures, a file each; the label is the folder's name."""

import hashlib
import os
from collections.abc import Iterator, Sequence

from components.ingest.images.pictures import Gatherer, Pictures, folder_label, too_long
from modelmill.pictures.faults import Fault
from modelmill.sources import SourceFile, open_raw


def read_files(files: Sequence[SourceFile], first: int = 1) -> Iterator[Pictures]:
    """Yield the pictures of files, numbered from `first` in their order.

    Raises:
        UserError: a file is gone.
        ModelmillError: a file was changed since it was listed.
    """
    gatherer = Gatherer()
    for number, file in enumerate(files, first):
        data = too_long(file.bytes) or _content(file)
        gatherer.add(number, file.name, data, folder_label(file.name))
        yield from gatherer.batches()
    yield from gatherer.rest()


def _content(file: SourceFile) -> bytes | Fault:
    """Return the bytes of a file, which must be those that were listed."""
    data = None if "://" in file.uri else _local(file)
    if data is not None and file.fingerprint == f"sha256:{hashlib.sha256(data).hexdigest()}":
        return data
    # The long way finds the right words for what is wrong.
    with open_raw(file) as raw:
        data = raw.read(file.bytes + 1) or b""
        while len(data) < file.bytes and (more := raw.read(file.bytes + 1 - len(data))):
            data += more
        raw.finish()
    return data


def _local(file: SourceFile) -> bytes | None:
    """Return the bytes of a small local file with three calls of the system: a folder may hold millions of them."""
    try:
        opened = os.open(file.uri, os.O_RDONLY)
        try:
            return os.read(opened, file.bytes + 1)
        finally:
            os.close(opened)
    except OSError:
        return None
