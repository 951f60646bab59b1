"""Turn pictures into pixels: decoded once, of one size, in rows that a network's batches are cut from."""

# N pictures, H rows, W columns, C channels

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.preprocess.outputs import Inputs, PreprocessOutputs
from components.preprocess.settings import PreprocessSettings
from modelmill.dataset import Dataset, DatasetWriter, open_dataset, write_made
from modelmill.errors import UserError
from modelmill.models.base import base_folder
from modelmill.models.image_config import read_config
from modelmill.pictures.decode import mode_of, quiet
from modelmill.pictures.pixels import Pixels, pixels_of
from modelmill.pictures.shape import PixelShape
from modelmill.step import Step
from modelmill.version import code_digest

# Of a shard before compression, and of what is read, or made of it, at a time.
_SHARD_BYTES = 64 << 20
_BATCH_BYTES = 32 << 20
_BATCH_PICTURES = 4096
# torchvision's networks were made for it; more is rarely worth its price.
_LARGEST_SIZE = 224
# Pictures whose size, or kind, are looked at together.
_LOOKED = 1 << 16


def run(step: Step, settings: PreprocessSettings, inputs: Inputs) -> PreprocessOutputs:
    """Decode, cut and resize the pictures of ingest's datasets, and measure the training pictures' channels.

    Where there is a corpus, size, channels and statistics are those of its training split, also for the labelled
    pictures: what is learned from the one must fit the other.

    Raises:
        UserError: there are no training pictures, or one cannot be decoded.
        ModelmillError: a dataset or the base model is not what it was.
    """
    source = open_dataset(step.store, inputs.corpus or inputs.labelled)
    if not source.rows("train"):
        total = sum(map(source.rows, source.splits))
        raise UserError(f"{source.address}: 0 of {total} pictures in the train split; raise ingest.split.train")
    work = _Work(step=step, settings=settings, inputs=asdict(inputs), shape=_shape(step, settings, source, inputs.base))
    corpus, made_corpus = work.write(inputs.corpus, "corpus-pixels") if inputs.corpus else ("", "")
    labelled, made_labelled = work.write(inputs.labelled, "labelled-pixels") if inputs.labelled else ("", "")
    summary: dict[str, Any] = {"size": work.shape.size, "channels": work.shape.channels, **work.rows}
    for name, values in work.statistics.items():
        summary |= {f"{name}_{channel}": value for channel, value in enumerate(values)}
    return PreprocessOutputs(
        corpus=corpus, labelled=labelled, made_corpus=made_corpus, made_labelled=made_labelled, summary=summary
    )


def _shape(step: Step, settings: PreprocessSettings, source: Dataset, base: str) -> PixelShape:
    """Return what every picture becomes: as the recipe says, else as the base model needs it, else as the data are."""
    told = settings.images
    like = read_config(base_folder(base)).pixels if base else None
    size = told.size or (like.size if like else _usual_side(source))
    gray = _all_gray(step, source)
    channels: Literal[1, 3] = told.channels or (like.channels if like else 1 if gray else 3)
    return PixelShape(size=size, channels=channels, resize=told.resize, gray=gray)


def _usual_side(source: Dataset) -> int:
    """Return the median of the training pictures' shorter sides, within reason."""
    batches = source.batches("train", ["width", "height"], rows=_LOOKED)
    sides = np.concatenate([pc.min_element_wise(each["width"], each["height"]).to_numpy() for each in batches])
    return int(np.clip(np.sort(sides)[len(sides) // 2], 8, _LARGEST_SIZE))


def _all_gray(step: Step, source: Dataset) -> bool:
    """Say whether every training picture is gray: told by their headers, up to the first that is not."""
    done = 0
    for batch in source.batches("train", ["image"], rows=_rows_at_once(source, 0)):
        with quiet():
            if any(mode_of(data) != "L" for data in batch["image"].to_pylist()):
                return False
        done += batch.num_rows
        step.progress("looking for colours", done, source.rows("train"), "pictures")
        step.check_stop()
    return True


def _rows_at_once(source: Dataset, made_bytes: int) -> int:
    """Return how many pictures may be in memory, as files or as what is made of them."""
    shards = list(chain.from_iterable(source.splits.values()))
    mean = sum(shard.bytes for shard in shards) // max(1, sum(shard.rows for shard in shards))
    return max(1, min(_BATCH_PICTURES, _BATCH_BYTES // max(1, mean, made_bytes)))


class _Channels:
    """How often each value occurs in each channel: whole numbers, so that the sums are exact in every order."""

    def __init__(self, channels: int) -> None:
        self.counts: npt.NDArray[np.int64] = np.zeros((channels, 256), dtype=np.int64)

    def add(self, pixels_NHWC: Pixels) -> None:
        for channel in range(len(self.counts)):
            self.counts[channel] += np.bincount(pixels_NHWC[..., channel].ravel(), minlength=256)

    def statistics(self) -> dict[str, list[float]]:
        """Return mean and deviation of each channel, from 0 to 1; a deviation of 0 becomes 1, as it divides."""
        means, deviations = [], []
        for counts in self.counts.tolist():
            total = sum(counts)
            first = sum(value * count for value, count in enumerate(counts))
            second = sum(value * value * count for value, count in enumerate(counts))
            means.append(first / total / 255)
            variance = (second * total - first * first) / (total * total)
            deviations.append(variance**0.5 / 255 or 1.0)
        return {"mean": means, "deviation": deviations}


@dataclass(kw_only=True)
class _Work:
    step: Step
    settings: PreprocessSettings
    inputs: dict[str, str]
    shape: PixelShape

    def __post_init__(self) -> None:
        self.statistics: dict[str, list[float]] = {}
        self.rows: dict[str, int] = {}

    def write(self, address: str, kind: str) -> tuple[str, str]:
        """Write the pixels of a dataset; return their address and that of what made them."""
        source = open_dataset(self.step.store, address)
        column = pa.field("pixels", pa.binary(self.shape.bytes))
        beside = [name for name in ("id", "label") if name in source.schema.names]
        schema = pa.schema([source.schema.field("id"), column, *(source.schema.field(name) for name in beside[1:])])
        meta: dict[str, Any] = {"kind": kind, **self.shape.model_dump()}
        if "labels" in source.meta:
            meta["labels"] = source.meta["labels"]
        writer = DatasetWriter(self.step.store, schema, meta)
        channels = _Channels(self.shape.channels)
        done, total = 0, sum(map(source.rows, source.splits))
        for split in source.splits:
            for table in self._shards(source, split, beside, schema, channels):
                writer.add(split, table)
                done += table.num_rows
                self.step.progress("decoding pictures", done, total, "pictures")
        # Filled in place: what the training pictures come to is known only at the end.
        self.statistics = self.statistics or channels.statistics()
        meta |= self.statistics
        self.rows["corpus_rows" if kind == "corpus-pixels" else "labelled_rows"] = total
        dataset = writer.commit()
        made = {
            "inputs": self.inputs,
            "settings": self.settings.model_dump(mode="json"),
            "code": code_digest(),
            "report": {"rows": total, **self.shape.model_dump(), **self.statistics},
        }
        return dataset.address, write_made(self.step.store, dataset.address, made)

    def _shards(
        self, source: Dataset, split: str, beside: list[str], schema: pa.Schema, channels: _Channels
    ) -> Iterator[pa.Table]:
        """Yield a split as tables of full shards, each cut at the same rows whatever the batches are."""
        most = max(1, _SHARD_BYTES // self.shape.bytes)
        waiting, rows = [], 0
        for batch in source.batches(split, [*beside, "image"], rows=_rows_at_once(source, self.shape.bytes)):
            self.step.check_stop()
            pixels_NHWC = self._pixels(source, batch)
            if split == "train" and not self.statistics:
                channels.add(pixels_NHWC)
            waiting.append(_table(batch, pixels_NHWC, schema))
            rows += batch.num_rows
            while rows >= most:
                whole = pa.concat_tables(waiting)
                yield whole.slice(0, most)
                waiting, rows = [whole.slice(most)], rows - most
        if rows:
            yield pa.concat_tables(waiting)

    def _pixels(self, source: Dataset, batch: pa.RecordBatch) -> Pixels:
        found = pixels_of(batch["image"].to_pylist(), self.shape)
        if isinstance(found, tuple):
            row, fault = found
            raise UserError(
                f"{source.address}: picture {batch['id'][row].as_py()}: {fault.reason}: {fault.detail}; write "
                "ingest.images.check: true, which drops such pictures"
            )
        return found


def _table(batch: pa.RecordBatch, pixels_NHWC: Pixels, schema: pa.Schema) -> pa.Table:
    kind = schema.field("pixels").type
    pixels = pa.FixedSizeBinaryArray.from_buffers(kind, len(pixels_NHWC), [None, pa.py_buffer(pixels_NHWC)])
    columns = [pixels if name == "pixels" else batch[name] for name in schema.names]
    return pa.table(columns, schema=schema)
