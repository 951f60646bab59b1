"""The first pass: every row of every source is read, worked on, and counted or spilled."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.ingest.changed import MOST, Changed
from components.ingest.clusters import Meetings
from components.ingest.feed import feed
from components.ingest.images import faults
from components.ingest.index import Index
from components.ingest.payload import IMAGE, SEVERAL, TEXT, Payload
from components.ingest.rows import BAD, Handed, Listed
from components.ingest.settings import IngestSettings
from components.ingest.slices import sliced, tie_breaks
from components.ingest.spill import Spill, bucket_bits, unpacked_size
from components.ingest.tables import convert
from components.ingest.tables.prepare import PreparedTable
from components.ingest.work import Worked
from components.ingest.work_parts import Dropped
from components.ingest.workers import Workers
from modelmill.errors import UserError
from modelmill.ledger import FileLedger, Ledger
from modelmill.settings import Task
from modelmill.sources import pinned_files, shown
from modelmill.step import Step

_BAD = BAD | faults.BAD | convert.BAD


@dataclass(kw_only=True)
class Reading:
    """What has been read so far."""

    spill: Spill
    meetings: Meetings
    index: Index = field(default_factory=Index)
    masked: Counter[str] = field(default_factory=Counter)
    """Personal data that was masked or dropped, by kind."""
    noted: Counter[str] = field(default_factory=Counter)
    """What else was found in rows that may be kept, by kind."""
    files: list[str] = field(default_factory=list)
    """URIs of the files; the spilled rows hold positions in this list."""
    corpus: Ledger = field(default_factory=Ledger)
    labelled: Ledger = field(default_factory=Ledger)
    """A labelled row whose text goes into the corpus is counted in both ledgers."""
    most_rows: dict[int, int] = field(default_factory=dict)
    """How many rows of a source are kept at most, by its number, where its settings say so."""
    changed: dict[tuple[str, str], list[Changed]] = field(default_factory=dict)
    """Rows that cleaning has changed, by file and kind of change: some of each."""


def list_sources(settings: IngestSettings, pins: Mapping[str, str]) -> list[Listed]:
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


def read_sources(
    step: Step, settings: IngestSettings, listed: Sequence[Listed], workers: Workers, table: PreparedTable | None
) -> Reading:
    """Read all sources; `table` is what the first pass over tables has found.

    Raises:
        UserError: a source lacks a column, cannot be read to its end, or has too many bad rows.
        ModelmillError: a source was changed while it was read.
    """
    payload = sliced(_payload(settings.task) if table is None else table.payload, settings)
    spill = Spill(step.scratch, bucket_bits(size_of(listed)), payload)
    reading = Reading(spill=spill, meetings=Meetings(step.scratch))
    for number, one in enumerate(listed):
        if one.source.max_rows is not None:
            reading.most_rows[number] = one.source.max_rows
        begun = len(reading.files)
        ledgers = [reading.labelled] if one.labelled else [reading.corpus]
        if one.labelled and settings.takes_labelled:
            ledgers.append(reading.corpus)
        _SourceReader(step, reading, one, number, ledgers).read(workers, *feed(step, settings, one, table))
        _check_bad_rows(one, reading.files[begun:], ledgers[0], settings.max_bad_rows)
    return reading


def _payload(task: Task) -> Payload:
    return IMAGE if task == "image-classification" else SEVERAL.get(task, TEXT)


class _SourceReader:
    """Hands the rows of one source to the workers, and takes what they come to."""

    def __init__(self, step: Step, reading: Reading, listed: Listed, number: int, ledgers: Sequence[Ledger]) -> None:
        self._step = step
        self._reading = reading
        self._listed = listed
        self._number = number
        self._ledgers = ledgers
        # The file of each batch under way, by its position, and how many bytes were read when it was handed over.
        self._under_way: deque[tuple[int, int]] = deque()

    def read(self, workers: Workers, job: Callable[[Any], Worked], handed: Iterable[Handed]) -> None:
        """Read the source to its end."""
        total = sum(file.bytes for file in self._listed.files)
        name = shown(self._listed.source.uri).rstrip("/").rpartition("/")[2]
        for worked in workers.map(job, self._counted(handed)):
            file, done = self._under_way.popleft()
            self._take(worked, file)
            self._step.progress(f"reading {name}", done, total, "B")
            self._step.check_stop()
        self._step.progress(f"reading {name}", total, total, "B")

    def _counted(self, handed: Iterable[Handed]) -> Iterator[Any]:
        files = self._reading.files
        begun = len(files)
        for each in handed:
            if len(files) == begun or files[-1] != each.uri:
                files.append(each.uri)
            for ledger in self._files(each.uri):
                ledger.read += each.read
                ledger.drop(each.bad)
            if each.batch is not None:
                self._under_way.append((len(files) - 1, each.done))
                yield each.batch

    def _take(self, worked: Worked, file: int) -> None:
        reading, uri = self._reading, self._reading.files[file]
        for ledger in self._files(uri):
            _enter(ledger, worked.dropped)
        _enter(self._files(uri)[0], worked.unlabelled)
        reading.masked.update(worked.masked)
        reading.noted.update(worked.noted)
        for row in worked.changed:
            rows = reading.changed.setdefault((uri, row.kind), [])
            rows += [row] * (len(rows) < MOST)
        if not len(worked.numbers):
            return
        numbers = reading.index.add(
            worked.ids,
            worked.labels,
            labelled=self._listed.labelled,
            groups=worked.group_N,
            times=worked.time_N,
            hashes=worked.hash_N,
            source=self._number,
            ties=tie_breaks(worked.payload),
        )
        reading.meetings.add(worked.keys_MB, numbers[worked.having_M])
        reading.spill.add(worked, labelled=self._listed.labelled, file=file, numbers=numbers)

    def _files(self, uri: str) -> list[FileLedger]:
        return [ledger.file(uri) for ledger in self._ledgers]


def _enter(ledger: FileLedger, dropped: Dropped) -> None:
    for reason, count in dropped.counts.items():
        ledger.drop_counted(reason, count)
    for row in dropped.samples:
        ledger.sample(row)


def _check_bad_rows(listed: Listed, uris: Sequence[str], ledger: Ledger, allowed: float) -> None:
    counted = {uri: ledger.file(uri) for uri in uris}
    read = sum(file.read for file in counted.values())
    reasons = sum(
        (Counter({r: n for r, n in file.dropped.items() if r in _BAD}) for file in counted.values()), Counter[str]()
    )
    bad = reasons.total()
    if bad <= allowed * read:
        return
    uri, first = next(
        (uri, min(samples, key=lambda sample: sample.row))
        for uri, own in counted.items()
        if (samples := [row for reason, rows in own.samples.items() if reason in _BAD for row in rows])
    )
    said = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    raise UserError(
        f"{shown(listed.source.uri)}: {bad} of {read} rows are bad ({bad / read:.2%}: {said}), max_bad_rows allows "
        f"{allowed:.2%}; first: {uri} row {first.row}: {first.reason}, {first.detail}; mend the file or raise "
        "ingest.max_bad_rows"
    )
