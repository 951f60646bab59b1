"""Reads IDX, the format of MNIST and its family: a file of pictures, and one of labels beside it.

Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits, "File formats". Magic number: two
zero bytes, the type of the numbers (8: unsigned bytes), the number of dimensions; then each dimension as 4 bytes,
big-endian; then the numbers.
"""

import io
import re
from collections.abc import Iterator, Sequence

import numpy as np

from components.ingest.images.pictures import BATCH_BYTES, BATCH_PICTURES, Pictures
from components.ingest.images.png import encode_all
from components.ingest.rows import Opened
from components.ingest.streams import unpacked
from modelmill.errors import UserError
from modelmill.sources import SourceFile

_UNSIGNED_BYTES = 8
_MAX_SIDE = 1 << 16


def idx_pairs(files: Sequence[SourceFile]) -> list[tuple[SourceFile, SourceFile | None]]:
    """Return each file of pictures with its file of labels, told by the names.

    `train-images-idx3-ubyte.gz` and `train-labels-idx1-ubyte.gz` are a pair; '.' for '-' and other packing are fine.

    Raises:
        UserError: a file of labels is without pictures.
    """
    labels = {_stem(file.name): file for file in files if _has_labels(file)}
    pairs = [(file, labels.pop(_stem(file.name), None)) for file in files if not _has_labels(file)]
    if labels:
        lonely = next(iter(labels.values()))
        raise UserError(
            f"{lonely.uri}: labels without pictures: none of {len(files)} files is called "
            f"{lonely.name.replace('labels', 'images').replace('idx1', 'idx3')!r} or alike; name both in the source"
        )
    return pairs


def read_idx(pictures: Opened, labels: Opened | None) -> Iterator[Pictures]:
    """Yield the pictures of an IDX file, numbered from 1, with the labels of another; each becomes a PNG.

    Raises:
        UserError: a file is not IDX of unsigned bytes, the counts differ, or a file is not as long as it says.
        ModelmillError: a file was changed while it was read.
    """
    stream = unpacked(pictures)
    count, height, width = _dimensions(pictures, stream, "pictures", 3)
    if not (0 < height < _MAX_SIDE and 0 < width < _MAX_SIDE):
        raise pictures.broken(f"IDX pictures of {height} x {width} pixels, 1 to {_MAX_SIDE - 1} are possible", 0)
    labels_N = None if labels is None else _labels(pictures, labels, count)
    step = max(1, min(BATCH_PICTURES, BATCH_BYTES // (height * width)))
    for start in range(0, count, step):
        stop = min(start + step, count)
        data = stream.read((stop - start) * height * width)
        done, rest = divmod(len(data), height * width)
        if start + done < stop:
            why = f"IDX of {count} pictures ends in picture {start + done + 1}, {rest} of {height * width} bytes there"
            raise pictures.broken(why, start)
        pixels_NHW = np.frombuffer(data, dtype=np.uint8).reshape(-1, height, width)
        yield Pictures(
            numbers=range(start + 1, stop + 1),
            names=[""] * (stop - start),
            data=encode_all(pixels_NHW),
            labels=[None] * (stop - start) if labels_N is None else labels_N[start:stop].tolist(),
        )
    _check_end(pictures, stream, f"{count} pictures", count)


def _labels(pictures: Opened, labels: Opened, count: int) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
    stream = unpacked(labels)
    (found,) = _dimensions(labels, stream, "labels", 1)
    if found != count:
        raise UserError(
            f"{labels.file.uri}: {found} labels, and {pictures.file.uri} holds {count} pictures; replace one of them"
        )
    data = stream.read(count)
    if len(data) < count:
        raise labels.broken(f"IDX of {count} labels ends after {len(data)}", len(data))
    _check_end(labels, stream, f"{count} labels", count)
    return np.frombuffer(data, dtype=np.uint8)


def _dimensions(opened: Opened, stream: io.BufferedReader, what: str, dimensions: int) -> list[int]:
    size = 4 + 4 * dimensions
    head = stream.read(size)
    magic = bytes((0, 0, _UNSIGNED_BYTES, dimensions))
    if head[:4] != magic:
        raise UserError(
            f"{opened.file.uri}: begins with {head[:4].hex()}, and IDX {what} (bytes, {dimensions} dimensions) "
            f"with {magic.hex()}; correct format, or the names of pictures and labels"
        )
    if len(head) < size:
        raise opened.broken(f"IDX whose header ends after {len(head)} of {size} bytes", 0)
    return [int(each) for each in np.frombuffer(head[4:], dtype=">u4")]


def _check_end(opened: Opened, stream: io.BufferedReader, what: str, rows: int) -> None:
    if stream.read(1):
        raise opened.broken(f"IDX goes on after the {what} that it says it holds", rows)


def _has_labels(file: SourceFile) -> bool:
    return "labels" in file.name.lower().rpartition("/")[2]


def _stem(name: str) -> str:
    """Return what the names of pictures and labels share."""
    return re.sub(r"(images|labels)|idx\d|ubyte|[-._]|(gz|bz2|xz)$", "", name.lower())
