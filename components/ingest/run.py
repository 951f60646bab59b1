"""Ingest: from raw files to a corpus and a labelled dataset, and the ledger of every row between."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.ingest.checks import check_corpus, check_labelled, labels_of
from components.ingest.journal import Journal
from components.ingest.read import Reading, list_sources, read_sources, size_of
from components.ingest.report.page import render
from components.ingest.settings import IngestSettings
from components.ingest.sort import Sorted, sort_rows
from components.ingest.splits import SPLITS
from components.ingest.tables.before import Before
from components.ingest.tables.prepare import PreparedTable, prepare
from components.ingest.tables.training import check_training_rows
from components.ingest.tell import facts
from components.ingest.workers import workers
from components.ingest.write import write_corpus, write_labelled
from modelmill.cores import usable_cores
from modelmill.dataset import Dataset, encode, write_made
from modelmill.digest import digest
from modelmill.ledger import Ledger
from modelmill.sources import shown
from modelmill.step import Step
from modelmill.version import code_digest

# Bytes that are done before other processes would be up.
_LITTLE = 32 << 20


@dataclass(frozen=True, kw_only=True)
class IngestOutputs:
    """What ingest made: addresses, '' where there is no such dataset."""

    corpus: str
    labelled: str
    made_corpus: str
    """What made the corpus: inputs, settings, code, ledger, rejected rows."""
    made_labelled: str
    summary: dict[str, Any]
    """Rows by dataset and split, the labels, and rows read and dropped by reason."""


def run(step: Step, settings: IngestSettings, sources: str, before: str = "") -> IngestOutputs:
    """Read, clean, deduplicate, split and store; `sources` is what `modelmill.sources.pin` returned.

    `before` is what resolve told of the tables that the recipe accepted before, '' where there is no table.

    Raises:
        UserError: the data cannot be used; then nothing of them is in the store.
        ModelmillError: a source was changed since it was pinned, or the store cannot be written.
    """
    pins: dict[str, str] = json.loads(sources)
    # It decides all that is made, so that a run goes on from an interrupted one of the same.
    made_of = {"inputs": dict(pins), "settings": settings.model_dump(mode="json"), "code": code_digest()}
    listed = list_sources(settings, pins)
    known = Before.read(step.store, before)
    little = size_of(listed) < _LITTLE
    with workers(little=little, cores=usable_cores()) as hands:
        journal = Journal(hands, step.store, digest(made_of), [shown(one.source.uri) for one in listed])
        table = None if settings.table is None else prepare(step, settings, listed, hands, known.schema)
        reading = read_sources(step, settings, listed, hands if little else journal, table)
        rows = sort_rows(step, settings, reading, hands)
    # All that may be wrong is found before the first byte goes into the store.
    checked = _check(settings, reading, rows, table)
    writers, ledgers = {}, {"corpus": reading.corpus, "labelled": reading.labelled}
    if settings.corpus:
        writers["corpus"] = write_corpus(step, rows)
    if settings.labelled:
        writers["labelled"] = write_labelled(step, rows, checked.labels, {} if table is None else table.meta)
    # Both or none: neither can be opened before the last shard of the other one is in the store.
    datasets = {name: writer.commit() for name, writer in writers.items()}
    page = step.store.put_blob(render(facts(settings, reading, rows, datasets, table, checked.warnings)).encode())
    made = {
        **made_of,
        "personal": dict(sorted(reading.masked.items())),
        "licences": {file.uri: one.source.licence for one in listed if one.source.licence for file in one.files},
        "report": {"sha256": page.sha256, "bytes": page.bytes},
    }
    if table is not None:
        made["schema"] = known.accept(step.store, table.found, sources)
    summary: dict[str, Any] = {"labels": checked.labels} if rows.payload.classes and settings.labelled else {}
    made_at = {}
    for name, dataset in datasets.items():
        made_at[name] = _write_made(step, made, dataset, ledgers[name])
        summary |= _summary(name, dataset, ledgers[name])
    if not little:
        journal.clear()
    return IngestOutputs(
        corpus=datasets["corpus"].address if "corpus" in datasets else "",
        labelled=datasets["labelled"].address if "labelled" in datasets else "",
        made_corpus=made_at.get("corpus", ""),
        made_labelled=made_at.get("labelled", ""),
        summary=summary,
    )


@dataclass(frozen=True, kw_only=True)
class _Checked:
    """What the kept rows are good for."""

    labels: list[str]
    """Names of the classes, in order; none where rows have no class."""
    warnings: list[str]


def _check(settings: IngestSettings, reading: Reading, rows: Sorted, table: PreparedTable | None) -> _Checked:
    labels, warnings = [], []
    if settings.labelled and rows.payload.classes:
        labels = labels_of(settings, reading.labelled, rows)
    elif settings.labelled:
        check_labelled(settings, reading.labelled, rows)
    if settings.corpus:
        check_corpus(settings, reading.corpus, rows)
    if table is not None and settings.table is not None:
        warnings = check_training_rows(rows.labelled(), table, settings.table)
    return _Checked(labels=labels, warnings=warnings)


def _write_made(step: Step, made: Mapping[str, Any], dataset: Dataset, ledger: Ledger) -> str:
    rejected = step.store.put_blob(encode(ledger.rejected()))
    own = {"ledger": ledger.to_dict(), "rejected": {"sha256": rejected.sha256, "bytes": rejected.bytes}}
    return write_made(step.store, dataset.address, {**made, **own})


def _summary(name: str, dataset: Dataset, ledger: Ledger) -> dict[str, Any]:
    rows = {f"{name}_{split}": dataset.rows(split) for split in SPLITS if dataset.rows(split)}
    return {
        **rows,
        f"{name}_read": ledger.read,
        f"{name}_kept": ledger.kept,
        f"{name}_dropped": dict(sorted(ledger.dropped.items())),
    }
