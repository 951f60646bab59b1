"""The report of an ingest as one self-contained HTML page: text, tables, inline SVG, CSS and small pictures.

Needs jinja2 alone. However much there is, the page stays of a size that a phone can hold: of long lists it shows the
part that says most, and how much more there is.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from components.ingest.report import words
from components.ingest.report.facts import Balance, ColumnFacts, DatasetFacts, Facts, FileFacts, Proof, Sample
from modelmill.page.environment import environment

if TYPE_CHECKING:
    from jinja2 import Environment

Item = TypeVar("Item")

_FILES = 50
_VALUES = 30
_SAMPLES = 5
_PICTURES = 120
_COLUMNS = 200
_CLUSTERS = 10
_MEMBERS = 6
_SENTENCES = 50
# Reasons, histograms and splits are few unless something is odd.
_FEW = 60


@dataclass(frozen=True)
class Excerpt(Generic[Item]):
    """What is shown of a list, and how many more there are."""

    shown: tuple[Item, ...]
    more: int


@dataclass(frozen=True, kw_only=True)
class Value:
    """A line of a balance: how often a value occurs in each split."""

    name: str
    counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Balanced:
    """A balance as a table."""

    name: str
    splits: tuple[tuple[str, int], ...]
    """With their rows."""
    values: Excerpt[Value]
    more_rows: int
    """Rows of the values that are not shown."""
    note: str


@dataclass(frozen=True, kw_only=True)
class Reason:
    """The samples of one reason."""

    name: str
    changed: bool
    samples: Excerpt[Sample]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A line of the proof."""

    words: str
    value: int
    verdict: str
    """`passed`, `failed` or '' where any figure is right."""


def render(facts: Facts) -> str:
    """Return the page of an ingest's facts."""
    page = _environment().get_template("report.html")
    return words.visible(
        page.render(
            facts=facts,
            sections=_sections(facts),
            warnings=excerpt(facts.warnings, _SENTENCES),
            drift=excerpt(facts.drift, _SENTENCES),
            funnels=excerpt(facts.funnels, _FEW),
            balances=[_balanced(each) for each in facts.balances[:_FEW]],
            reasons=_reasons(facts),
            pictures=excerpt(facts.pictures.shown if facts.pictures else (), _PICTURES),
            columns=_columns(facts),
            figures=_figures(facts.proof) if facts.proof else (),
        )
    )


def excerpt(items: Iterable[Item], most: int) -> Excerpt[Item]:
    """Return the first of some items, and how many more there are."""
    every = tuple(items)
    return Excerpt(every[:most], max(0, len(every) - most))


def _environment() -> "Environment":
    from components.ingest.report import plots

    made = environment("components.ingest", "report")
    filters = (words.number, words.words, words.lead, words.cut, words.percent, words.counted, excerpt)
    made.filters.update({each.__name__: each for each in filters})
    made.globals.update(
        plots=plots,
        changes=words.changes,
        ranges=words.ranges,
        most_dropped=_most_dropped,
        clusters_shown=_CLUSTERS,
        members_shown=_MEMBERS,
        few=_FEW,
    )
    return made


def _sections(facts: Facts) -> list[tuple[str, str, str]]:
    """The sections that there are: anchor, name in the navigation, heading."""
    every = [
        ("proof", "Proof", "The split's proof", facts.proof),
        ("funnel", "Funnel", "What is left of the rows", facts.funnels),
        ("datasets", "Files", "Datasets and files", facts.datasets),
        ("distributions", "Distributions", "Distributions", facts.histograms or facts.balances),
        ("samples", "Samples", "Samples", facts.samples),
        ("pictures", "Pictures", "Contact sheet", facts.pictures),
        ("columns", "Columns", "Columns", facts.columns or facts.drift),
        ("clusters", "Near-duplicates", "Near-duplicates", facts.clusters),
    ]
    return [(anchor, short, heading) for anchor, short, heading, there in every if there]


def _most_dropped(dataset: DatasetFacts) -> Excerpt[FileFacts]:
    """The files of a dataset that lost the most rows."""
    return excerpt(sorted(dataset.files, key=lambda file: (file.kept - file.read, file.uri)), _FILES)


def _columns(facts: Facts) -> Excerpt[ColumnFacts]:
    """The columns in their order; of many those that are warned of first."""
    many = len(facts.columns) > _COLUMNS
    return excerpt(sorted(facts.columns, key=lambda column: many and not column.warnings), _COLUMNS)


def _balanced(balance: Balance) -> Balanced:
    totals: Counter[str] = Counter()
    for counts in balance.counts.values():
        totals.update(counts)
    # Few values keep their order, which may be that of a scale.
    names = list(totals) if len(totals) <= _VALUES else sorted(totals, key=lambda name: (-totals[name], name))
    splits = list(balance.counts.items())[:_FEW]
    values = [Value(name=name, counts=tuple(each.get(name, 0) for _, each in splits)) for name in names[:_VALUES]]
    return Balanced(
        name=balance.name,
        splits=tuple((split, sum(each.values())) for split, each in splits),
        values=Excerpt(tuple(values), max(0, len(names) - _VALUES)),
        more_rows=sum(totals[name] for name in names[_VALUES:]),
        note=balance.note,
    )


def _reasons(facts: Facts) -> list[Reason]:
    """Samples by reason, dropped rows before changed ones, else in the order in which they are given."""
    found: dict[tuple[bool, str], list[Sample]] = {}
    for sample in facts.samples:
        found.setdefault((sample.after is not None, sample.reason), []).append(sample)
    ordered = sorted(found.items(), key=lambda item: item[0][0])
    return [
        Reason(name=reason, changed=changed, samples=excerpt(samples, _SAMPLES))
        for (changed, reason), samples in ordered[:_FEW]
    ]


def _figures(proof: Proof) -> tuple[Figure, ...]:
    must_be_none: Mapping[str, int | None] = {
        "groups with rows in two splits": proof.straddling,
        "rows with equal content in two splits": proof.equal,
        "keys of near-duplicates in two splits": proof.near,
    }
    taken_out = {
        "rows of the corpus taken out because they are held-out rows, or nearly so": proof.held_out,
        "rows of the corpus taken out because they quote held-out rows": proof.contaminated,
    }
    strict = [
        Figure(words=name, value=value, verdict="failed" if value else "passed")
        for name, value in must_be_none.items()
        if value is not None
    ]
    free = [Figure(words=name, value=value, verdict="") for name, value in taken_out.items() if value is not None]
    return (*strict, *free)
