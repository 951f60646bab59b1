"""The labels of ImageNet's validation pictures, which are shipped in one flat folder, or archive, without them.

They stand beside it, in `LOC_val_solution.csv` as Kaggle ships them (a picture's name, its synset and boxes), or in
`ILSVRC2012_validation_ground_truth.txt` as the development kit does: line n is the number, from 1, of the synset of
picture n. What number stands for which synset is in a MATLAB file there; here a file `synsets.txt` says it, line n for
number n. (Other lists go by the order of the alphabet, and are not the same.)

Source: https://image-net.org/challenges/LSVRC/2012, and readme.txt of ILSVRC2012_devkit_t12.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from components.ingest.images.pictures import Pictures
from modelmill.errors import UserError
from modelmill.sources import SourceFile, open_raw

KAGGLE_FILE = "LOC_val_solution.csv"
NUMBERS_FILE = "ILSVRC2012_validation_ground_truth.txt"
SYNSETS_FILE = "synsets.txt"
_PICTURE = re.compile(r"(?:^|/)(ILSVRC2012_val_(\d{8}))\.JPEG$")
_MOST_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The synset of each validation picture."""

    labels: Mapping[str, str] = field(default_factory=dict)
    """By the picture's name without its ending; empty where no list lies beside the pictures."""

    def named(self, batches: Iterator[Pictures]) -> Iterator[Pictures]:
        """Yield batches with the labels of the validation pictures in them; all others keep what they have."""
        if not self.labels:
            yield from batches
            return
        for batch in batches:
            found = [_PICTURE.search(name) for name in batch.names]
            labels = [
                label if match is None else self.labels.get(match[1])
                for match, label in zip(found, batch.labels, strict=True)
            ]
            yield replace(batch, labels=labels)


def is_truth(file: SourceFile) -> bool:
    """Say whether a file is a list of labels."""
    return _name(file) in (KAGGLE_FILE, NUMBERS_FILE, SYNSETS_FILE)


def truth_of(files: Sequence[SourceFile]) -> Truth:
    """Return the labels that stand among a source's files.

    Raises:
        UserError: a list is not as its owner ships it, or numbers stand for nothing.
    """
    named = {_name(file): file for file in files if is_truth(file)}
    if KAGGLE_FILE in named:
        return Truth(labels=_kaggle(named[KAGGLE_FILE]))
    if NUMBERS_FILE in named:
        if SYNSETS_FILE not in named:
            raise UserError(
                f"{named[NUMBERS_FILE].uri}: holds numbers of synsets, and nothing here says which: put {SYNSETS_FILE} "
                f"beside it, its line n the synset of number n, or take Kaggle's {KAGGLE_FILE}"
            )
        return Truth(labels=_numbered(named[NUMBERS_FILE], named[SYNSETS_FILE]))
    return Truth()


def _name(file: SourceFile) -> str:
    return file.uri.rpartition("/")[2]


def _lines(file: SourceFile) -> list[str]:
    with open_raw(file) as raw:
        data = b""
        while len(data) <= _MOST_BYTES and (more := raw.read(_MOST_BYTES)):
            data += more
    if len(data) > _MOST_BYTES:
        raise UserError(f"{file.uri}: more than {_MOST_BYTES} bytes; a list of ImageNet's labels is smaller")
    return data.decode(errors="replace").splitlines()


def _kaggle(file: SourceFile) -> dict[str, str]:
    rows = list(csv.reader(_lines(file)))
    if not rows or rows[0] != ["ImageId", "PredictionString"]:
        raise UserError(f"{file.uri}: begins with {rows[:1]}, and not with ImageId,PredictionString as Kaggle's does")
    labels = {}
    for number, row in enumerate(rows[1:], 2):
        words = row[1].split() if len(row) == 2 else []
        if not words:
            raise UserError(f"{file.uri}:{number}: {len(row)} values, and a picture's name and its synset are 2")
        labels[row[0]] = words[0]
    return labels


def _numbered(numbers: SourceFile, names: SourceFile) -> dict[str, str]:
    synsets = [line.split()[0] for line in _lines(names) if line.strip()]
    labels = {}
    for place, line in enumerate(_lines(numbers), 1):
        number = int(line) if line.strip().isdecimal() else 0
        if not 1 <= number <= len(synsets):
            raise UserError(
                f"{numbers.uri}:{place}: {line[:40]!r} is no number from 1 to {len(synsets)}, of so many synsets in "
                f"{names.uri}"
            )
        labels[f"ILSVRC2012_val_{place:08}"] = synsets[number - 1]
    return labels
