"""From what happened to the report that a person reads."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from components.ingest.read import Reading
from components.ingest.report.facts import Balance, ColumnFacts, DatasetFacts, Facts, Funnel, Sample
from components.ingest.settings import Ingest
from components.ingest.sort import Sorted
from components.ingest.splits import SPLITS
from components.ingest.tables.prepare import PreparedTable
from modelmill.dataset import Dataset
from modelmill.ledger import Ledger

_SAMPLES = 200
_TOP = 10


def facts(
    settings: Ingest,
    reading: Reading,
    rows: Sorted,
    datasets: Mapping[str, Dataset],
    table: PreparedTable | None,
    warnings: Sequence[str],
) -> Facts:
    """Return what the page shows of one ingest; `warnings` are what else must not be overlooked."""
    ledgers = {"corpus": reading.corpus, "labelled": reading.labelled}
    balance: dict[str, dict[str, int]] = defaultdict(dict)
    for (split, label), count in sorted(rows.classes.items(), key=lambda one: (SPLITS.index(one[0][0]), one[0][1])):
        balance[split][label] = count
    labels = Balance(name="label", counts=dict(balance)) if balance and rows.payload.classes else None
    languages = rows.watch.languages.balance(settings.language, ("corpus", *SPLITS))
    return Facts(
        warnings=(*_warnings(reading), *warnings),
        datasets=tuple(
            DatasetFacts.of(
                name,
                dataset.address,
                dataset.meta["kind"],
                {split: dataset.rows(split) for split in dataset.splits},
                ledgers[name].to_dict(),
            )
            for name, dataset in datasets.items()
        ),
        funnels=tuple(
            Funnel.of(name, ledgers[name].read, dict(ledgers[name].dropped.most_common())) for name in datasets
        ),
        histograms=rows.watch.histograms(),
        balances=tuple(each for each in (labels, languages) if each is not None),
        samples=(*_dropped(ledgers, datasets)[:_SAMPLES], *_changed(reading)[:_SAMPLES]),
        pictures=rows.watch.pictures(),
        columns=() if table is None else tuple(_columns(table)),
        drift=() if table is None else tuple(finding.text for finding in table.moved),
        clusters=rows.watch.clusters() if settings.near_duplicates.action != "off" else None,
        proof=rows.watch.proof(reading.corpus.dropped if settings.corpus else None) if settings.labelled else None,
    )


def _dropped(ledgers: Mapping[str, Ledger], datasets: Mapping[str, Dataset]) -> list[Sample]:
    """Return dropped rows as they were, some of each reason and file, each once."""
    found = {
        (uri, row.row, reason): Sample(reason=reason, file=uri, row=row.row, before=row.text, detail=row.detail)
        for name in datasets
        for uri, file in ledgers[name].files.items()
        for reason, samples in sorted(file.samples.items())
        for row in samples
    }
    return list(found.values())


def _columns(table: PreparedTable) -> Iterator[ColumnFacts]:
    """Yield what the columns hold, the target first."""
    moved = defaultdict(list)
    for finding in table.moved:
        moved[finding.column].append(finding.text)
    target = table.found.target
    for name in sorted(table.found.columns, key=lambda name: (name != target, name)):
        column = table.found.columns[name]
        figures = None
        if column.low is not None and column.high is not None and column.quartiles is not None:
            figures = (column.low, *column.quartiles, column.high)
        counts = sorted((column.counts or {}).items(), key=lambda one: (-one[1], one[0]))
        left_out = ["says the same in every row, and is left out"] if name in table.constant else []
        if not left_out and name not in table.schema.columns:
            left_out = ["kept to slice by, and no feature"]
        yield ColumnFacts(
            name=name,
            kind=f"{column.kind}, target" if name == target else column.kind,
            rows=column.rows,
            missing=column.missing,
            distinct=column.distinct,
            figures=figures,
            top=tuple(counts[:_TOP]),
            warnings=(*left_out, *moved[name]),
        )


def _changed(reading: Reading) -> list[Sample]:
    """Return rows that cleaning has changed, some of each kind and file."""
    return [
        Sample(reason=kind, file=uri, row=row.row, before=row.before, after=row.after)
        for (uri, kind), rows in reading.changed.items()
        for row in rows
    ]


def _warnings(reading: Reading) -> tuple[str, ...]:
    found = []
    if reading.masked:
        kinds = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in sorted(reading.masked.items()))
        found.append(f"Personal data were found and taken out: {kinds}.")
    found += [f"{count:,} {kind}." for kind, count in sorted(reading.noted.items()) if count]
    return tuple(found)
