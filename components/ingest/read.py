"""The first pass: every row of every source is read, worked on, and counted or spilled."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from components.ingest.clusters import Meetings
from components.ingest.delimited import read_delimited
from components.ingest.index import Index
from components.ingest.lines import read_html, read_json_lines, read_text
from components.ingest.parquet import read_parquet
from components.ingest.rows import BAD, Opened, Rows
from components.ingest.settings import Columns, Format, Ingest, Source, format_of
from components.ingest.spill import Spill, bucket_bits, unpacked_size
from components.ingest.text.personal import Personal
from components.ingest.work import Batch, Dropped, Order, Worked, sample, work
from components.ingest.workers import Workers
from modelmill.errors import UserError
from modelmill.ledger import FileLedger, Ledger
from modelmill.sources import SourceFile, open_raw, pinned_files, shown
from modelmill.step import Step

READERS: Mapping[Format, Callable[[Opened], Iterator[Rows]]] = {
    "csv": partial(read_delimited, kind="csv"),
    "tsv": partial(read_delimited, kind="tsv"),
    "jsonl": read_json_lines,
    "parquet": read_parquet,
    "text": read_text,
    "html": read_html,
}

# Of text in a batch, in characters: a worker takes some 100 bytes a character while it looks at one.
_BATCH_CHARS = 1 << 21


@dataclass(kw_only=True)
class Reading:
    """What has been read so far."""

    spill: Spill
    meetings: Meetings
    index: Index = field(default_factory=Index)
    masked: Counter[str] = field(default_factory=Counter)
    """Personal data that was masked or dropped, by kind."""
    files: list[str] = field(default_factory=list)
    """URIs of the files; the spilled rows hold positions in this list."""
    corpus: Ledger = field(default_factory=Ledger)
    labelled: Ledger = field(default_factory=Ledger)
    """A labelled row whose text goes into the corpus is counted in both ledgers."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A source with the files that it holds now, which are those that were pinned."""

    source: Source
    labelled: bool
    files: Sequence[SourceFile]


def list_sources(settings: Ingest, pins: Mapping[str, str]) -> list[Listed]:
    """Return all sources with their files, the labelled ones first.

    Raises:
        UserError: a source is not there.
        ModelmillError: a source was changed since it was pinned.
    """
    sources = [(source, True) for source in settings.labelled] + [(source, False) for source in settings.corpus_sources]
    return [
        Listed(source=source, labelled=labelled, files=pinned_files(source.uri, pins)) for source, labelled in sources
    ]


def size_of(listed: Sequence[Listed]) -> int:
    """Return about how many bytes all sources hold when they are unpacked."""
    return unpacked_size([(file.name, file.bytes) for one in listed for file in one.files])


def read_sources(step: Step, settings: Ingest, listed: Sequence[Listed], workers: Workers) -> Reading:
    """Read all sources.

    Raises:
        UserError: a source lacks a column, cannot be read to its end, or has too many bad rows.
        ModelmillError: a source was changed while it was read.
    """
    spill = Spill(step.scratch, bucket_bits(size_of(listed)))
    reading = Reading(spill=spill, meetings=Meetings(step.scratch))
    for one in listed:
        ledgers = [reading.labelled] if one.labelled else [reading.corpus]
        if one.labelled and settings.takes_labelled:
            ledgers.append(reading.corpus)
        _SourceReader(step, reading, one, ledgers).read(workers, order_of(settings, one))
        _check_bad_rows(one, ledgers[0], settings.max_bad_rows)
    return reading


def order_of(settings: Ingest, one: Listed) -> Order:
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
    )


class _SourceReader:
    """Hands the rows of one source to the workers, and takes what they come to."""

    def __init__(self, step: Step, reading: Reading, listed: Listed, ledgers: Sequence[Ledger]) -> None:
        self._step = step
        self._reading = reading
        self._listed = listed
        self._ledgers = ledgers
        # The file of each batch under way, by its position, and how many bytes were read when it was handed over.
        self._under_way: deque[tuple[int, int]] = deque()

    def read(self, workers: Workers, order: Order) -> None:
        """Read the source to its end."""
        total = sum(file.bytes for file in self._listed.files)
        name = shown(self._listed.source.uri).rstrip("/").rpartition("/")[2]
        for worked in workers.map(partial(work, order), self._batches(order)):
            file, done = self._under_way.popleft()
            self._take(worked, file)
            self._step.progress(f"reading {name}", done, total, "B")
            self._step.check_stop()
        self._step.progress(f"reading {name}", total, total, "B")

    def _batches(self, order: Order) -> Iterator[Batch]:
        listed = self._listed
        before = 0
        for file in listed.files:
            kind = _format(listed.source, file, listed.labelled)
            self._reading.files.append(file.uri)
            number = len(self._reading.files) - 1
            with open_raw(file) as raw:
                opened = Opened(
                    file=file, source=listed.source, raw=raw, labelled=listed.labelled, scratch=self._step.scratch
                )
                for rows in READERS[kind](opened):
                    self._count(file.uri, rows, order.personal)
                    for batch in _pieces(rows, listed.source.columns):
                        self._under_way.append((number, before + raw.taken))
                        yield batch
                raw.finish()
            before += file.bytes

    def _count(self, uri: str, rows: Rows, personal: Personal) -> None:
        bad = [replace(row, text=sample(row.text, personal)) for row in rows.bad]
        for ledger in self._files(uri):
            ledger.read += len(rows.numbers) + len(rows.bad)
            ledger.drop(bad)

    def _take(self, worked: Worked, file: int) -> None:
        reading, uri = self._reading, self._reading.files[file]
        for ledger in self._files(uri):
            _enter(ledger, worked.dropped)
        _enter(self._files(uri)[0], worked.unlabelled)
        reading.masked.update(worked.masked)
        if not len(worked.numbers):
            return
        numbers = reading.index.add(
            worked.ids, worked.labels, labelled=self._listed.labelled, groups=worked.group_N, times=worked.time_N
        )
        reading.meetings.add(worked.keys_MB, numbers[worked.having_M])
        reading.spill.add(worked, labelled=self._listed.labelled, file=file, numbers=numbers)

    def _files(self, uri: str) -> list[FileLedger]:
        return [ledger.file(uri) for ledger in self._ledgers]


def _pieces(rows: Rows, columns: Columns) -> Iterator[Batch]:
    """Cut rows into batches of about as much text as a worker takes at a time."""
    has_groups, has_times = columns.group is not None, columns.time is not None
    start = chars = 0
    for place, text in enumerate(rows.texts):
        chars += len(text)
        if chars >= _BATCH_CHARS or place == len(rows.texts) - 1:
            part = slice(start, place + 1)
            yield Batch(
                numbers=rows.numbers[part],
                texts=rows.texts[part],
                labels=rows.labels[part],
                groups=rows.groups[part] if has_groups else (),
                times=rows.times[part] if has_times else (),
            )
            start, chars = place + 1, 0


def _enter(ledger: FileLedger, dropped: Dropped) -> None:
    for reason, count in dropped.counts.items():
        ledger.drop_counted(reason, count)
    for row in dropped.samples:
        ledger.sample(row)


def _format(source: Source, file: SourceFile, labelled: bool) -> Format:
    kind = source.format or format_of(file.name)
    if kind is None:
        raise UserError(f"{file.uri}: the name tells no format; set format to csv, tsv, jsonl, parquet, text or html")
    if labelled and kind in ("text", "html"):
        raise UserError(f"{file.uri}: format {kind} has no labels; a labelled source is csv, tsv, jsonl or parquet")
    return kind


def _check_bad_rows(listed: Listed, ledger: Ledger, allowed: float) -> None:
    files = listed.files
    counted = [ledger.file(file.uri) for file in files]
    read = sum(file.read for file in counted)
    reasons = sum((Counter({r: n for r, n in file.dropped.items() if r in BAD}) for file in counted), Counter[str]())
    bad = reasons.total()
    if bad <= allowed * read:
        return
    uri, first = next(
        (file.uri, min(samples, key=lambda sample: sample.row))
        for file, own in zip(files, counted, strict=True)
        if (samples := [row for reason, rows in own.samples.items() if reason in BAD for row in rows])
    )
    said = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    raise UserError(
        f"{shown(listed.source.uri)}: {bad} of {read} rows are bad ({bad / read:.2%}: {said}), max_bad_rows allows "
        f"{allowed:.2%}; first: {uri} row {first.row}: {first.reason}, {first.detail}; mend the file or raise "
        "ingest.max_bad_rows"
    )
