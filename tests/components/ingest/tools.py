"""Small ways to read one file, and to run the whole step, in a test."""

from pathlib import Path
from typing import Any

from components.ingest.feed import READERS
from components.ingest.formats import format_of
from components.ingest.rows import Opened, Rows
from components.ingest.run import IngestOutputs, run
from components.ingest.settings import IngestSettings
from components.ingest.source_settings import Source
from modelmill.events import Events
from modelmill.ledger import Rejected
from modelmill.sources import list_files, open_raw, pin
from modelmill.step import Step
from modelmill.store import Store, open_store

REVIEWS = [(f"review number {number}", "good" if number % 3 else "bad") for number in range(300)]


def csv_of(rows: list[tuple[str, Any]]) -> str:
    return "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows)


def read(path: Path, labelled: bool = False, **settings: Any) -> tuple[list[tuple[int, str, Any]], list[Rejected]]:
    """Return a file's rows as (number, text, label), and those that could not be read."""
    source = Source.model_validate({"uri": str(path), **settings})
    (file,) = list_files(source.uri)
    kind = source.format or format_of(file.name)
    assert kind is not None
    with open_raw(file) as raw:
        opened = Opened(file=file, source=source, raw=raw, labelled=labelled, scratch=path.parent)
        batches: list[Rows] = list(READERS[kind](opened))
        raw.finish()
    rows = [row for batch in batches for row in zip(batch.numbers, batch.texts, batch.labels, strict=True)]
    return rows, [row for batch in batches for row in batch.bad]


def ingest(folder: Path, store: Store | None = None, **recipe: Any) -> tuple[IngestOutputs, Store]:
    """Run the step on the sources that the settings name; scratch and store lie in the folder."""
    settings = IngestSettings.model_validate({"task": "text-classification", **recipe})
    step = make_step(folder, store)
    return run(step, settings, pin(settings.uris)), step.store


def make_step(folder: Path, store: Store | None = None) -> Step:
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    store = store or open_store(str(folder / "store"))
    return Step(name="ingest", store=store, scratch=scratch, events=Events("ingest", folder / "events.jsonl"))


def write(path: Path, text: str) -> Path:
    """Write a file of UTF-8 with the line ends as given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path
