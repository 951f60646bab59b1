"""A batch of rows on its way through the work, and what it loses there."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.ingest.text.personal import Personal, mask
from modelmill.ledger import SAMPLE_CHARS, SAMPLES, Rejected


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows of one file, as they stand there."""

    numbers: Sequence[int]
    texts: Sequence[str]
    labels: Sequence[Any]
    """A string, number, truth value or None of each row; None all through where no label is read."""
    groups: Sequence[Any] = ()
    """What each row's group column holds; nothing where the source names none."""
    times: Sequence[Any] = ()
    """What each row's time column holds; nothing where the source names none."""
    others: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Further fields of each row by name, where the task has some."""
    slices: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """What is kept beside each row of the whole batch, by name."""

    def chosen(self, places: Sequence[int]) -> "Batch":
        """Return some of the rows."""
        return Batch(
            numbers=[self.numbers[place] for place in places],
            texts=[self.texts[place] for place in places],
            labels=[self.labels[place] for place in places],
            groups=[self.groups[place] for place in places] if self.groups else (),
            times=[self.times[place] for place in places] if self.times else (),
            others={name: [values[place] for place in places] for name, values in self.others.items()},
        )


@dataclass(kw_only=True)
class Dropped:
    """Rows that a batch lost: how many by reason, and some of them to be looked at."""

    personal: Personal
    """What may not be seen in a sample."""
    counts: Counter[str] = field(default_factory=Counter)
    samples: list[Rejected] = field(default_factory=list)

    def add(self, number: int, reason: str, text: str, detail: str) -> None:
        """Count a row, and keep it if it is one of the first of its reason."""
        self.counts[reason] += 1
        if self.counts[reason] <= SAMPLES:
            self.samples.append(Rejected(row=number, reason=reason, text=sample(text, self.personal), detail=detail))


def sample(text: str, personal: Personal) -> str:
    """Return the beginning of a text for a person to look at, without the personal data that is to be kept out."""
    if personal.action != "keep":
        # A little more is looked at, so that nothing is cut through and then overlooked.
        text = mask([text[: 2 * SAMPLE_CHARS]], personal).texts[0]
    return text[:SAMPLE_CHARS]
