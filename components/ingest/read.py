"""The first pass: every row of every source is read, cleaned, and counted or spilled."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256

from components.ingest.delimited import read_delimited
from components.ingest.labels import labeller
from components.ingest.lines import read_json_lines, read_text
from components.ingest.parquet import read_parquet
from components.ingest.rows import BAD, Opened, Rows
from components.ingest.settings import Format, Ingest, Source, format_of
from components.ingest.spill import Spill, bucket_bits
from modelmill.errors import UserError
from modelmill.ledger import FileLedger, Ledger, Rejected
from modelmill.sources import SourceFile, open_raw, pinned_files
from modelmill.step import Step
from modelmill.text import clean

READERS: Mapping[Format, Callable[[Opened], Iterator[Rows]]] = {
    "csv": partial(read_delimited, kind="csv"),
    "tsv": partial(read_delimited, kind="tsv"),
    "jsonl": read_json_lines,
    "parquet": read_parquet,
    "text": read_text,
}


@dataclass(kw_only=True)
class Reading:
    """What has been read so far."""

    spill: Spill
    files: list[str] = field(default_factory=list)
    """URIs of the files; the spilled rows hold positions in this list."""
    corpus: Ledger = field(default_factory=Ledger)
    labelled: Ledger = field(default_factory=Ledger)
    """A labelled row whose text goes into the corpus is counted in both ledgers."""


def read_sources(step: Step, settings: Ingest, pins: Mapping[str, str]) -> Reading:
    """Read all sources; what they hold must be what was pinned.

    Raises:
        UserError: a source is not there, lacks a column, cannot be read to its end, or has too many bad rows.
        ModelmillError: a source was changed since it was pinned.
    """
    sources = [(source, True) for source in settings.labelled] + [(source, False) for source in settings.corpus_sources]
    listed = [pinned_files(source.uri, pins) for source, _ in sources]
    sizes = [(file.name, file.bytes) for files in listed for file in files]
    reading = Reading(spill=Spill(step.scratch, bucket_bits(sizes)))
    for (source, labelled), files in zip(sources, listed, strict=True):
        ledgers = [reading.labelled] if labelled else [reading.corpus]
        if labelled and settings.takes_labelled:
            ledgers.append(reading.corpus)
        take = _Taker(settings, source, reading, labelled, ledgers)
        _read_source(step, source, files, take)
        _check_bad_rows(source, files, ledgers[0], settings.max_bad_rows)
    return reading


def _read_source(step: Step, source: Source, files: Sequence[SourceFile], take: "_Taker") -> None:
    total = sum(file.bytes for file in files)
    done = 0
    name = source.uri.rstrip("/").rpartition("/")[2]
    for file in files:
        kind = _format(source, file, take.labelled)
        with open_raw(file) as raw:
            opened = Opened(file=file, source=source, raw=raw, labelled=take.labelled, scratch=step.scratch)
            take.begin(file)
            for rows in READERS[kind](opened):
                take(rows)
                step.progress(f"reading {name}", done + raw.taken, total, "B")
                step.check_stop()
            raw.finish()
        done += file.bytes
    step.progress(f"reading {name}", total, total, "B")


def _format(source: Source, file: SourceFile, labelled: bool) -> Format:
    kind = source.format or format_of(file.name)
    if kind is None:
        raise UserError(f"{file.uri}: the name tells no format; set format to csv, tsv, jsonl, parquet or text")
    if labelled and kind == "text":
        raise UserError(f"{file.uri}: format text has no labels; a labelled source is csv, tsv, jsonl or parquet")
    return kind


class _Taker:
    """Takes rows as they stand in a file: cleans, counts, spills."""

    def __init__(
        self, settings: Ingest, source: Source, reading: Reading, labelled: bool, ledgers: Sequence[Ledger]
    ) -> None:
        self.labelled = labelled
        self._sample = source.sample
        self._min_chars = settings.min_chars
        self._label = labeller(settings.label)
        self._reading = reading
        self._ledgers = ledgers
        self._files: list[FileLedger] = []

    def begin(self, file: SourceFile) -> None:
        """Take rows of another file from now on."""
        self._reading.files.append(file.uri)
        self._files = [ledger.file(file.uri) for ledger in self._ledgers]

    def __call__(self, rows: Rows) -> None:
        for ledger in self._files:
            ledger.read += len(rows.numbers) + len(rows.bad)
            ledger.drop(rows.bad)
        numbers, texts, labels = [], [], []
        for number, raw, label in zip(rows.numbers, rows.texts, rows.labels, strict=True):
            text = clean(raw)
            if len(text) < self._min_chars:
                self._too_short(number, raw, text)
                continue
            if self._sample < 1 and _draw(text) >= self._sample:
                self._leave_out(number, text)
                continue
            numbers.append(number)
            texts.append(text)
            labels.append(self._name(number, text, label) if self.labelled else None)
        self._reading.spill.add(texts, labels, self.labelled, len(self._reading.files) - 1, numbers)

    def _too_short(self, number: int, raw: str, text: str) -> None:
        reason = "too_short" if text else "empty"
        detail = f"{len(text)} characters after cleaning, min_chars is {self._min_chars}"
        for ledger in self._files:
            ledger.drop([Rejected(row=number, reason=reason, text=raw, detail=detail)])

    def _leave_out(self, number: int, text: str) -> None:
        for ledger in self._files:
            ledger.drop([Rejected(row=number, reason="not_sampled", text=text, detail=f"sample is {self._sample:g}")])

    def _name(self, number: int, text: str, label: object) -> str | None:
        """Return the class; a row without one is dropped from the labelled data, and stays a text for the corpus."""
        name, reason, detail = self._label(label)
        if name is None:
            self._files[0].drop([Rejected(row=number, reason=reason, text=text, detail=detail)])
        return name


def _draw(text: str) -> float:
    """Return a number from 0 to 1 by the text alone; salted, so that it says nothing about the text's split."""
    return int.from_bytes(sha256(b"sample:" + text.encode()).digest()[:7], "big") / 2**56


def _check_bad_rows(source: Source, files: Sequence[SourceFile], ledger: Ledger, allowed: float) -> None:
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
    shown = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    raise UserError(
        f"{source.uri}: {bad} of {read} rows are bad ({bad / read:.2%}: {shown}), max_bad_rows allows {allowed:.2%}; "
        f"first: {uri} row {first.row}: {first.reason}, {first.detail}; mend the file or raise ingest.max_bad_rows"
    )
