"""Reads the binary version of CIFAR-10: records of a label and a picture of 32 x 32, one after the other.

Source: A. Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version": a byte with the label, then 1,024
bytes of red, of green and of blue, row by row. The labels' names are lines of `batches.meta.txt` beside the files. The
files are read one by one, or in the archive that they are shipped in, `cifar-10-binary.tar.gz`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from components.ingest.images.pictures import BATCH_PICTURES, Pictures
from components.ingest.images.png import encode_all
from components.ingest.images.tars import members
from components.ingest.rows import Opened
from components.ingest.streams import unpacked
from modelmill.errors import UserError
from modelmill.ledger import Rejected
from modelmill.pictures.faults import Fault
from modelmill.sources import SourceFile, open_raw

NAMES_FILE = "batches.meta.txt"
_SIDE = 32
_RECORD = 1 + 3 * _SIDE * _SIDE
_MOST_NAMES = 1 << 16
_BATCH = re.compile(r"(^|/)(data_batch_\d+|test_batch)\.bin$")
_ARCHIVE = re.compile(r"\.(tar(\.\w+)?|tgz)$", re.IGNORECASE)
_PICKLED = re.compile(r"(^|/)(data_batch_\d+|test_batch|batches\.meta)$|\.(pkl|pickle)$|cifar-100?-python\b")


def refuse_pickle(file: SourceFile) -> None:
    """Let a file pass that is not called as the Python version of CIFAR-10 is, or another pickle.

    Raises:
        UserError: it is one.
    """
    if _PICKLED.search(file.name):
        raise _pickled(file.uri)


def _pickled(uri: str) -> UserError:
    return UserError(
        f"{uri}: refused: a pickle runs whatever its maker put in when it is opened; of CIFAR-10 take the binary "
        "version (cifar-10-binary.tar.gz, or data_batch_1.bin to data_batch_5.bin, test_batch.bin and batches.meta.txt)"
    )


def refuse_pickled_members(opened: Opened, batches: Iterator[Pictures]) -> Iterator[Pictures]:
    """Pass on what was read of an archive, if it is not the Python version of CIFAR-10 under another name.

    Raises:
        UserError: it is.
    """
    for batch in batches:
        found = next((row.text for row in batch.bad if _PICKLED.search(row.text)), "")
        found = found or next((name for name in batch.names if _PICKLED.search(name)), "")
        if found:
            raise _pickled(f"{opened.file.uri}: {found}")
        yield batch


def names_beside(files: Sequence[SourceFile], batch: SourceFile) -> list[str]:
    """Return the names of the labels, from the file of them in a batch's folder; nothing where there is none."""
    wanted = batch.name.rpartition("/")[0]
    for file in files:
        folder, _, name = file.name.rpartition("/")
        if folder == wanted and name == NAMES_FILE:
            with open_raw(file) as raw:
                return _names(raw.read(_MOST_NAMES) or b"")
    return []


def _names(text: bytes) -> list[str]:
    return [line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()]


def _names_within(opened: Opened) -> list[str]:
    """Return the names of the labels from an archive, in which they may stand behind the pictures."""
    with open_raw(opened.file) as raw:
        for _, name, data in members(replace(opened, raw=raw)):
            if name.rpartition("/")[2] == NAMES_FILE and isinstance(data, bytes):
                return _names(data[:_MOST_NAMES])
    return []


def read_cifar(opened: Opened, names: Sequence[str]) -> Iterator[Pictures]:
    """Yield the pictures of a batch, numbered from 1; each becomes a PNG. Without names, labels are numbers.

    Raises:
        UserError: the file ends within a record, or cannot be read to its end.
        ModelmillError: the file was changed while it was read.
    """
    if _ARCHIVE.search(opened.file.name):
        yield from _read_archive(opened)
        return
    stream = unpacked(opened)
    done = 0
    while data := stream.read(BATCH_PICTURES * _RECORD):
        count, rest = divmod(len(data), _RECORD)
        if rest:
            raise opened.broken(f"CIFAR-10 ends in picture {done + count + 1}, {rest} of {_RECORD} bytes there", done)
        records_NR = np.frombuffer(data, dtype=np.uint8).reshape(count, _RECORD)
        yield _pictures(records_NR, names, done + 1)
        done += count
    if not done:
        raise opened.broken(f"0 bytes, and a picture of CIFAR-10 takes {_RECORD}", 0)


def _read_archive(opened: Opened) -> Iterator[Pictures]:
    names, done = _names_within(opened), 0
    for _, name, data in members(opened):
        if _PICKLED.search(name):
            raise _pickled(f"{opened.file.uri}: {name}")
        if not _BATCH.search(name):
            continue
        if isinstance(data, Fault):
            raise UserError(f"{opened.file.uri}: {name}: {data.reason}: {data.detail}")
        count, rest = divmod(len(data), _RECORD)
        if rest or not count:
            raise opened.broken(f"{name} holds {len(data)} bytes, and a picture of CIFAR-10 takes {_RECORD}", done)
        records_NR = np.frombuffer(data, dtype=np.uint8).reshape(count, _RECORD)
        for first in range(0, count, BATCH_PICTURES):
            yield _pictures(records_NR[first : first + BATCH_PICTURES], names, done + first + 1)
        done += count
    if not done:
        raise opened.broken("0 members are called data_batch_1.bin, and so on, or test_batch.bin", 0)


def _pictures(
    records_NR: "np.ndarray[tuple[int, int], np.dtype[np.uint8]]", names: Sequence[str], first: int
) -> Pictures:
    known = records_NR[:, 0] < (len(names) or 10)
    bad = [
        Rejected(
            row=first + int(row),
            reason="out_of_range",
            text="",
            detail=f"label is {records_NR[row, 0]}, and there are {len(names) or 10}, from 0",
        )
        for row in np.flatnonzero(~known)
    ]
    good_NR = records_NR[known]
    pixels_NCHW = good_NR[:, 1:].reshape(-1, 3, _SIDE, _SIDE)
    return Pictures(
        numbers=(first + np.flatnonzero(known)).tolist(),
        names=[""] * len(good_NR),
        data=encode_all(np.ascontiguousarray(pixels_NCHW.transpose(0, 2, 3, 1))),
        labels=[names[label] if names else label for label in good_NR[:, 0].tolist()],
        bad=bad,
    )
