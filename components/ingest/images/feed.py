"""The pictures of a source in batches, and what is done with a batch wherever it is done."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from components.ingest.formats import format_of
from components.ingest.images.cifar import names_beside, read_cifar, refuse_pickle, refuse_pickled_members
from components.ingest.images.examine import Examined, examine
from components.ingest.images.files import read_files
from components.ingest.images.idx import idx_pairs, read_idx
from components.ingest.images.imagenet import Truth, is_truth, truth_of
from components.ingest.images.parquet import read_image_parquet
from components.ingest.images.pictures import Pictures
from components.ingest.images.pixel_csv import read_pixel_csv
from components.ingest.images.settings import Images
from components.ingest.images.tars import read_tar
from components.ingest.images.webdataset import read_webdataset
from components.ingest.images.zips import read_zip
from components.ingest.labels import labeller
from components.ingest.payload import IMAGE
from components.ingest.rows import Handed, Listed, Opened, without_columns
from components.ingest.settings import IngestSettings, LabelRule
from components.ingest.source_settings import Source
from components.ingest.text.personal import Personal
from components.ingest.work import Worked, draw
from components.ingest.work_parts import Dropped
from modelmill.errors import UserError
from modelmill.sources import SourceFile, open_raw
from modelmill.step import Step

# No picture's hash, of which half the bits are set, is 0.
_INCOMPARABLE = np.uint64(0)
_FORMATS = ("image", "zip", "tar", "webdataset", "idx", "cifar", "csv", "parquet")
_WITH_COLUMNS = ("parquet", "webdataset")
_SHOWN = Personal(action="keep")


@dataclass(frozen=True, kw_only=True)
class PictureOrder:
    """What is to be done with the pictures of one source."""

    labelled: bool
    label: LabelRule | None
    """How labels become classes."""
    same: str | None
    """The label of all pictures, where neither folder nor column holds it."""
    sample: float
    images: Images


def feed_pictures(
    step: Step, settings: IngestSettings, listed: Listed
) -> tuple[Callable[[Any], Worked], Iterator[Handed]]:
    """Return what is to be done with each batch of a source, and the batches."""
    order = PictureOrder(
        labelled=listed.labelled,
        label=settings.label,
        same=listed.source.label,
        sample=listed.source.sample,
        images=settings.images,
    )
    columns = settings.slice_columns if listed.labelled else ()
    return partial(work_pictures, order), _handed(step, listed, columns)


def work_pictures(order: PictureOrder, pictures: Pictures) -> Worked:
    """Look at the pictures of a batch, and make them comparable."""
    examined = examine(pictures, order.images)
    dropped, unlabelled = Dropped(personal=_SHOWN), Dropped(personal=_SHOWN)
    for row in examined.bad:
        dropped.add(row.row, row.reason, row.text, row.detail)
    good = _sampled(order, examined, dropped)
    looked = [examined.looked[place] for place in good]
    columns = [
        pa.array([each.data for each in looked], pa.large_binary()),
        pa.array([each.width for each in looked], pa.int32()),
        pa.array([each.height for each in looked], pa.int32()),
        pa.array([examined.names[place] for place in good], pa.string()),
        pa.array(examined.features.flags_N[good], pa.uint8()),
    ]
    hash_N = np.where(examined.comparable_N, examined.features.hash_N, _INCOMPARABLE)[good]
    return Worked(
        numbers=np.array([examined.numbers[place] for place in good], dtype=np.int64),
        payload=pa.table(columns, schema=IMAGE.columns),
        labels=_named(order, examined, good, unlabelled) if order.labelled else [None] * len(good),
        group_N=np.zeros(len(good), dtype=np.uint64),
        time_N=np.full(len(good), np.nan),
        ids=b"".join(each.id for each in looked),
        keys_MB=np.zeros((0, 0), dtype=np.uint64),
        having_M=np.zeros(0, dtype=np.int64),
        hash_N=hash_N,
        masked=Counter(),
        noted=Counter(),
        dropped=dropped,
        unlabelled=unlabelled,
    )


def _sampled(order: PictureOrder, examined: Examined, dropped: Dropped) -> list[int]:
    good = []
    for place, looked in enumerate(examined.looked):
        if order.sample < 1 and draw(looked.id) >= order.sample:
            dropped.add(examined.numbers[place], "not_sampled", examined.names[place], f"sample is {order.sample:g}")
        else:
            good.append(place)
    return good


def _named(order: PictureOrder, examined: Examined, good: list[int], unlabelled: Dropped) -> list[str | None]:
    label_of = labeller(order.label)
    names = []
    for place in good:
        name, reason, detail = label_of(examined.labels[place] if order.same is None else order.same)
        if name is None:
            unlabelled.add(examined.numbers[place], reason, examined.names[place], detail)
        names.append(name)
    return names


def _handed(step: Step, listed: Listed, slices: Sequence[str]) -> Iterator[Handed]:
    source, files = listed.source, _data_files(listed.source, listed.files)
    truth = truth_of(listed.files) if listed.labelled else Truth()
    kinds = {file.name: _format(source, file) for file in files}
    for file in files:
        if slices and kinds[file.name] not in _WITH_COLUMNS:
            raise without_columns(file, kinds[file.name], _WITH_COLUMNS)
    pictures = [file for file in files if kinds[file.name] == "image"]
    total = sum(file.bytes for file in pictures)
    seen = 0
    for batch in truth.named(read_files(pictures)) if pictures else ():
        # A folder of pictures is one table, its files are the rows.
        seen += len(batch.numbers) + len(batch.bad)
        yield _given(source.uri, batch, total * seen // len(pictures))
    done = total
    for file, labels in idx_pairs([file for file in files if kinds[file.name] == "idx"]):
        yield from _idx(step, listed, file, labels, done)
        done += file.bytes
    for file in files:
        if kinds[file.name] not in ("image", "idx"):
            yield from _file(step, listed, file, kinds[file.name], done, truth, slices)
            done += file.bytes


def _given(uri: str, batch: Pictures, done: int) -> Handed:
    # The reader's bad rows go with the batch: the worker gives them back with its own.
    return Handed(uri=uri, read=len(batch.numbers) + len(batch.bad), bad=(), batch=batch, done=done)


def _idx(step: Step, listed: Listed, file: SourceFile, labels: SourceFile | None, done: int) -> Iterator[Handed]:
    if labels is None and listed.labelled:
        raise UserError(f"{file.uri}: no file of labels beside it; name both in the source")
    with open_raw(file) as raw:
        pictures = _opened(step, listed, file, raw)
        if labels is None:
            yield from (_given(file.uri, batch, done + raw.taken) for batch in read_idx(pictures, None))
        else:
            with open_raw(labels) as other:
                named = _opened(step, listed, labels, other)
                yield from (_given(file.uri, batch, done + raw.taken) for batch in read_idx(pictures, named))
                other.finish()
        raw.finish()


def _file(
    step: Step, listed: Listed, file: SourceFile, kind: str, done: int, truth: Truth, slices: Sequence[str]
) -> Iterator[Handed]:
    columns, label = listed.source.columns, listed.source.columns.label if listed.labelled else None
    with open_raw(file) as raw:
        opened = _opened(step, listed, file, raw)
        readers: dict[str, Callable[[], Iterator[Pictures]]] = {
            "zip": lambda: read_zip(opened),
            "tar": lambda: refuse_pickled_members(opened, truth.named(read_tar(opened))),
            "webdataset": lambda: read_webdataset(opened, columns.label, slices),
            "cifar": lambda: read_cifar(opened, names_beside(listed.files, file)),
            "csv": lambda: read_pixel_csv(opened, listed.source.pixels),
            "parquet": lambda: read_image_parquet(opened, columns.image, label, slices),
        }
        yield from (_given(file.uri, batch, done + raw.taken) for batch in readers[kind]())
        raw.finish()


def _opened(step: Step, listed: Listed, file: SourceFile, raw: Any) -> Opened:
    return Opened(file=file, source=listed.source, raw=raw, labelled=listed.labelled, scratch=step.scratch)


def _data_files(source: Source, files: Sequence[SourceFile]) -> Sequence[SourceFile]:
    """Return the files that hold pictures: of CIFAR-10 not the names of the labels, nor the page on it, of ImageNet not
    the lists of labels.
    """
    files = [file for file in files if not is_truth(file)] or files
    if not any((source.format or format_of(file.name)) == "cifar" for file in files):
        return files
    return [file for file in files if not file.name.endswith((".txt", ".html"))]


def _format(source: Source, file: SourceFile) -> str:
    kind = source.format or format_of(file.name)
    refuse_pickle(file)
    if kind == "text" or kind is None:
        # A file of another kind among pictures is a bad row, which looking at it will find.
        return "image"
    if kind not in _FORMATS:
        raise UserError(f"{file.uri}: format {kind} holds no pictures; set format to {', '.join(_FORMATS)}")
    return kind
