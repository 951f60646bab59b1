"""What the workers are given to do: the rows of a source, file by file, in batches."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from components.ingest.delimited import read_delimited
from components.ingest.fields import FIELDS
from components.ingest.formats import Format, format_of
from components.ingest.images.feed import feed_pictures
from components.ingest.imdb import read_imdb
from components.ingest.lines import read_html, read_json_lines, read_text
from components.ingest.parquet import read_parquet
from components.ingest.rows import Handed, Listed, Opened, Rows, without_columns
from components.ingest.settings import WITHOUT_CLASSES, IngestSettings
from components.ingest.slices import PREFIX, slice_fields, slicing_job
from components.ingest.source_settings import Columns, Source
from components.ingest.squad import read_squad
from components.ingest.tables.feed import feed_table
from components.ingest.tables.prepare import PreparedTable
from components.ingest.work import Order, Worked, work
from components.ingest.work_parts import Batch, sample
from modelmill.errors import UserError
from modelmill.sources import SourceFile, open_raw
from modelmill.step import Step

READERS: Mapping[str, Callable[[Opened], Iterator[Rows]]] = {
    "csv": partial(read_delimited, kind="csv"),
    "tsv": partial(read_delimited, kind="tsv"),
    "jsonl": read_json_lines,
    "parquet": read_parquet,
    "text": read_text,
    "html": read_html,
    "squad": read_squad,
    "imdb": read_imdb,
}

_WITH_COLUMNS = ("csv", "tsv", "jsonl", "parquet")
# Of text in a batch, in characters: a worker takes some 100 bytes a character while it looks at one.
_BATCH_CHARS = 1 << 20


Job = Callable[[Any], Worked]


def feed(
    step: Step, settings: IngestSettings, listed: Listed, table: PreparedTable | None
) -> tuple[Job, Iterator[Handed]]:
    """Return what is to be done with each batch of a source, and the batches."""
    if table is not None:
        job, handed = feed_table(settings, listed, table)
    elif settings.task == "image-classification":
        job, handed = feed_pictures(step, settings, listed)
    else:
        order = order_of(settings, listed)
        job, handed = partial(work, order), _texts(step, settings, listed, order)
    return slicing_job(settings, listed, job), handed


def order_of(settings: IngestSettings, one: Listed) -> Order:
    """Return what is to be done with the texts of a source."""
    return Order(
        labelled=one.labelled,
        label=settings.label,
        min_chars=settings.min_chars,
        max_chars=settings.max_chars,
        sample=one.source.sample,
        quality=None if one.labelled else settings.quality,
        near=settings.near_duplicates,
        repair=settings.repair,
        personal=settings.labelled_personal if one.labelled else settings.personal,
        language=None if one.labelled else settings.language,
        by_time=one.labelled and settings.split.by == "time",
        fields=FIELDS.get(settings.task),
        classes=settings.task not in WITHOUT_CLASSES,
    )


def _texts(step: Step, settings: IngestSettings, listed: Listed, order: Order) -> Iterator[Handed]:
    before = 0
    slices = slice_fields(settings, labelled=listed.labelled)
    columns = {**(_columns(listed.source.columns, order) if listed.labelled else {}), **slices}
    for file in listed.files:
        kind = _format(listed.source, file, listed.labelled)
        if slices and kind not in _WITH_COLUMNS:
            raise without_columns(file, kind, _WITH_COLUMNS)
        with open_raw(file) as raw:
            opened = Opened(
                file=file,
                source=listed.source,
                raw=raw,
                labelled=listed.labelled,
                scratch=step.scratch,
                columns=columns,
                classes=order.classes,
            )
            for rows in READERS[kind](opened):
                bad = [replace(row, text=sample(row.text, order.personal)) for row in rows.bad]
                yield Handed(uri=file.uri, read=len(rows.numbers) + len(bad), bad=bad, batch=None, done=before)
                for batch in _pieces(rows, listed.source):
                    yield Handed(uri=file.uri, read=0, bad=(), batch=batch, done=before + raw.taken)
            raw.finish()
        # A file without a row has its place in the ledger too.
        yield Handed(uri=file.uri, read=0, bad=(), batch=None, done=before)
        before += file.bytes


def _columns(columns: Columns, order: Order) -> dict[str, str]:
    """Return the names of the columns that a task's labelled rows are read from, by field."""
    if order.fields is None:
        return {}
    named = {name: getattr(columns, name) for name in order.fields.names}
    # What a question is asked of is the text of its row.
    return {**named, "text": columns.context} if order.fields.answers else named


def _pieces(rows: Rows, source: Source) -> Iterator[Batch]:
    """Cut rows into batches of about as much text as a worker takes at a time."""
    has_groups, has_times = source.columns.group is not None, source.columns.time is not None
    start = chars = 0
    for place, text in enumerate(rows.texts):
        chars += len(text)
        if chars >= _BATCH_CHARS or place == len(rows.texts) - 1:
            part = slice(start, place + 1)
            yield Batch(
                numbers=rows.numbers[part],
                texts=rows.texts[part],
                labels=rows.labels[part] if source.label is None else [source.label] * len(rows.texts[part]),
                groups=rows.groups[part] if has_groups else (),
                times=rows.times[part] if has_times else (),
                others=_named(rows, part, beside=False),
                slices=_named(rows, part, beside=True),
            )
            start, chars = place + 1, 0


def _named(rows: Rows, part: slice, *, beside: bool) -> dict[str, Any]:
    """Return the further fields of some rows by name: the task's own, or what is kept beside them."""
    found = {name: values[part] for name, values in rows.others.items() if name.startswith(PREFIX) == beside}
    return {name.removeprefix(PREFIX): values for name, values in found.items()}


def _format(source: Source, file: SourceFile, labelled: bool) -> Format:
    kind = source.format or format_of(file.name)
    if kind is None:
        raise UserError(f"{file.uri}: the name tells no format; set format to csv, tsv, jsonl, parquet, text or html")
    if labelled and kind in ("text", "html") and source.label is None:
        raise UserError(f"{file.uri}: format {kind} has no labels; a labelled source is csv, tsv, jsonl or parquet")
    return kind
