"""From what happened to the report that a person reads."""

from collections import defaultdict
from collections.abc import Mapping

from components.ingest.read import Reading
from components.ingest.report.facts import Balance, DatasetFacts, Facts, Funnel, Sample
from components.ingest.settings import Ingest
from components.ingest.sort import Sorted
from components.ingest.splits import SPLITS
from modelmill.dataset import Dataset
from modelmill.ledger import Ledger

_SAMPLES = 200


def facts(settings: Ingest, reading: Reading, rows: Sorted, datasets: Mapping[str, Dataset]) -> Facts:
    """Return what the page shows of one ingest."""
    ledgers = {"corpus": reading.corpus, "labelled": reading.labelled}
    balance: dict[str, dict[str, int]] = defaultdict(dict)
    for (split, label), count in sorted(rows.classes.items(), key=lambda one: (SPLITS.index(one[0][0]), one[0][1])):
        balance[split][label] = count
    labels = Balance(name="label", counts=dict(balance)) if balance else None
    languages = rows.watch.languages.balance(settings.language, ("corpus", *SPLITS))
    return Facts(
        warnings=_warnings(reading),
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
        clusters=rows.watch.clusters() if settings.near_duplicates.action != "off" else None,
        proof=rows.watch.proof(reading.corpus.dropped) if settings.labelled else None,
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
    return tuple(found)
