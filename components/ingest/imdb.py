"""Reads the Large Movie Review Dataset as it is published (Maas et al. 2011, aclanthology.org/P11-1015).

`aclImdb_v1.tar.gz`, or the folder that it unpacks to: a review a file, in `train/pos`, `train/neg`, `test/pos`,
`test/neg`, whose folder is its label, and in `train/unsup`, which have none and are read for a corpus alone. What else
lies there (lists of addresses, bags of words) holds no review. The split is the recipe's own.
"""

import re
from collections.abc import Iterator

from components.ingest.images.tars import members
from components.ingest.rows import Opened, Rows, Sorter, decoded
from components.ingest.streams import unpacked
from modelmill.pictures.faults import Fault

_REVIEW = re.compile(r"(?:^|/)(?:train|test)/(pos|neg|unsup)/[^/]+\.txt$")
# The longest has 14 kB.
_BYTES = 16 << 20


def read_imdb(opened: Opened) -> Iterator[Rows]:
    """Yield the reviews, numbered as they lie in the archive; of a folder each file is one.

    Raises:
        UserError: the archive cannot be read to its end, or unpacks to far more than it is.
        ModelmillError: the file was changed while it was read.
    """
    sorter = Sorter()
    for number, name, data in _files(opened):
        found = _REVIEW.search(name)
        if found is None or (opened.labelled and found[1] == "unsup"):
            continue
        if isinstance(data, Fault):
            sorter.reject(number, data.reason, name, data.detail)
        else:
            sorter.add(number, decoded([data])[0], label=found[1])
        yield from sorter.batches()
    yield sorter.rows()


def _files(opened: Opened) -> Iterator[tuple[int, str, bytes | Fault]]:
    # Of a file in a folder the whole path tells where it lies.
    path = opened.file.uri
    if re.search(r"\.(tar|tgz)(\.\w+)?$", path.lower()):
        yield from members(opened)
    elif _REVIEW.search(path):
        stream = unpacked(opened)
        review = stream.read(_BYTES)
        if stream.read(1):
            raise opened.broken(f"more than {_BYTES} bytes, and a review has 14 kB at most; is the format right?", 0)
        yield 1, path, review
    else:
        # What holds no review is read to its end all the same, so that it is known to be whole.
        stream = unpacked(opened)
        while stream.read(1 << 20):
            pass
