"""Which languages the kept texts are in, told by some of them: the ones with the smallest ids, which are any texts."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from components.ingest.report.facts import Balance
from components.ingest.text.language import HEAD, UNKNOWN, Language, detector

LOOKED_AT = 500
"""Texts of a dataset that are looked at: 2 x 500 short ones take 0.57 s on one core, 0.35 s of it to load lingua."""

# Of short texts many more are found, most of them wrongly, once or twice each.
_NAMED = 8


@dataclass
class Languages:
    """Takes the kept texts in the order of their ids, and keeps the beginnings of the first ones."""

    _heads: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list), init=False)

    def wanted(self, dataset: str) -> int:
        """Return how many more texts of a dataset are wanted."""
        return LOOKED_AT - len(self._heads[dataset])

    def add(self, dataset: str, names: Sequence[str], texts: Sequence[str]) -> None:
        """Add texts, each with the split that it is shown in."""
        self._heads[dataset] += [(name, text[:HEAD]) for name, text in zip(names, texts, strict=True)]

    def balance(self, settings: Language | None, order: Sequence[str]) -> Balance | None:
        """Return how many texts are in which language, by split in that order; None where there are no texts."""
        heads = [head for each in self._heads.values() for head in each]
        if not heads:
            return None
        # What is wanted matters only where it names a language that is else not told; nothing is left out here.
        settings = settings or Language(keep=["en"])
        counts: dict[str, Counter[str]] = {name: Counter() for name in order}
        for (name, _), (code, confidence) in zip(heads, detector(settings)([text for _, text in heads]), strict=True):
            counts[name][code if confidence >= settings.min_confidence else UNKNOWN] += 1
        totals = sum(counts.values(), Counter[str]())
        codes = sorted(totals.keys() - {UNKNOWN}, key=lambda code: (-totals[code], code))
        rare = codes[_NAMED:]
        for count in counts.values():
            count["others"] = sum(count[code] for code in rare)
        codes = [*codes[:_NAMED], *["others"] * bool(rare), *[UNKNOWN] * (UNKNOWN in totals)]
        looked_at = " and ".join(f"{len(rows):,} of {name}" for name, rows in self._heads.items() if rows)
        return Balance(
            name="language",
            counts={name: {code: count[code] for code in codes} for name, count in counts.items() if count.total()},
            note=f"Told by the first {HEAD} characters of some kept rows, those with the smallest ids: {looked_at}. "
            f"Unknown is what is told with a confidence below {settings.min_confidence:g}; short texts often are.",
        )
