"""Reads WebDataset: a tar archive in which files that share a name but for its ending make one sample.

`0001.jpg` and beside it `0001.cls` (a class as text), `0001.json` (an object with the label under a key) or `0001.txt`;
of several the first in this order. Source: https://github.com/webdataset/webdataset, "The WebDataset Format".
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.ingest.images.pictures import Gatherer, Pictures
from components.ingest.images.tars import members
from components.ingest.rows import Opened
from modelmill.pictures.faults import Fault

_PICTURES = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm", "pgm", "pbm"})
_LABELS = ("cls", "json", "txt")


def read_webdataset(opened: Opened, label: str = "label", slices: Sequence[str] = ()) -> Iterator[Pictures]:
    """Yield the samples of a WebDataset archive, numbered from 1; `label` is the key in a sample's JSON object,
    `slices` are those that are kept beside its picture, whatever its label stands in.

    Raises:
        UserError: the archive cannot be read to its end, or unpacks to far more than it is.
        ModelmillError: the file was changed while it was read.
    """
    gatherer = Gatherer()
    sample: _Sample | None = None
    number = 0
    for _, name, data in members(opened):
        key, ending = _key(name)
        if sample is None or sample.key != key:
            number += 1
            if sample is not None:
                sample.give(gatherer, number - 1, label, slices)
                yield from gatherer.batches()
            sample = _Sample(key)
        sample.take(name, ending, data)
    if sample is not None:
        sample.give(gatherer, number, label, slices)
    yield from gatherer.rest()


def _key(name: str) -> tuple[str, str]:
    """Return what a sample's files share, and the rest of the name from the first dot on, as WebDataset has it."""
    folder, slash, base = name.rpartition("/")
    stem, _, ending = base.partition(".")
    return folder + slash + stem, ending.lower()


@dataclass
class _Sample:
    """The files of one sample so far; what is neither picture nor label is let go."""

    key: str
    name: str = ""
    picture: bytes | Fault | None = None
    labels: dict[str, bytes] = field(default_factory=dict)

    def take(self, name: str, ending: str, data: bytes | Fault) -> None:
        if isinstance(data, Fault):
            self.name, self.picture = name, data
        elif ending in _LABELS:
            self.labels[ending] = data
        elif ending in _PICTURES and self.picture is None:
            self.name, self.picture = name, data
        elif ending in _PICTURES:
            self.picture = Fault("several_images", f"{self.name!r} and {name!r} in one sample; 1 is expected")

    def give(self, gatherer: Gatherer, number: int, key: str, slices: Sequence[str]) -> None:
        picture = Fault("missing_image", "no picture among its files") if self.picture is None else self.picture
        label = None if isinstance(picture, Fault) else self._label(key)
        beside = dict.fromkeys(slices) if isinstance(picture, Fault) else self._beside(slices)
        wrong = next((each for each in (label, beside) if isinstance(each, Fault)), None)
        kept = None if isinstance(beside, Fault) else beside
        gatherer.add(number, self.name or self.key, wrong or picture, label, kept)

    def _beside(self, slices: Sequence[str]) -> dict[str, Any] | Fault:
        value = self._read("json") if slices and "json" in self.labels else {}
        return value if isinstance(value, Fault) else {name: value.get(name) for name in slices}

    def _label(self, key: str) -> Any:
        ending = next((each for each in _LABELS if each in self.labels), None)
        if ending is None:
            return None
        value = self._read(ending)
        return value.get(key) if isinstance(value, dict) else value

    def _read(self, ending: str) -> Any:
        """Return what one of its files says: text, or of JSON the object."""
        try:
            text = self.labels[ending].decode().strip()
            value = json.loads(text) if ending == "json" else text
        except UnicodeDecodeError as error:
            return Fault("invalid_encoding", f"its .{ending}: byte {error.start} is not UTF-8")
        except (ValueError, RecursionError) as error:
            return Fault("bad_json", f"its .json: {str(error)[:100]}")
        if ending != "json" or isinstance(value, dict):
            return value
        return Fault("bad_json", "its .json holds no object")
