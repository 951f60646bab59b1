"""What retention found, counted by kind of thing: what stays and why, and what goes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelmill.retention.roots import Why

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


@dataclass(kw_only=True)
class Sum:
    """A number of things, and their size in bytes."""

    count: int = 0
    bytes: int = 0

    def add(self, size: int, count: int = 1) -> None:
        """Count one thing more, or some that have a size together."""
        self.count += count
        self.bytes += size


@dataclass(kw_only=True)
class Tally:
    """One kind of thing."""

    kind: str
    removed: Sum = field(default_factory=Sum)
    """Or, where nothing is removed, what would be."""
    kept: dict[Why, Sum] = field(default_factory=dict)

    def keep(self, why: Why, size: int) -> None:
        """Count a thing that stays."""
        self.kept.setdefault(why, Sum()).add(size)

    @property
    def all_kept(self) -> Sum:
        """What stays for any reason."""
        return Sum(
            count=sum(one.count for one in self.kept.values()), bytes=sum(one.bytes for one in self.kept.values())
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it for programs."""
        kept = self.all_kept
        return {
            "kind": self.kind,
            "kept": kept.count,
            "kept_bytes": kept.bytes,
            "removed": self.removed.count,
            "removed_bytes": self.removed.bytes,
            "why": {why: {"count": one.count, "bytes": one.bytes} for why, one in sorted(self.kept.items())},
        }


HEADS = ("kind", "kept", "", "removed", "", "why kept")
"""Over the columns of `rows`; sizes have no head of their own."""


def rows(result: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the lines of the table that people read, the total last."""
    for one in [*result["kinds"], {**result["total"], "kind": "total", "why": {}}]:
        why = ", ".join(f"{reason} {figures['count']:,}" for reason, figures in one["why"].items())
        sizes = (size(one["kept_bytes"]), f"{one['removed']:,}", size(one["removed_bytes"]))
        yield (one["kind"], f"{one['kept']:,}", *sizes, why)


def plain(result: Mapping[str, Any]) -> str:
    """Return the table and what is to be said under it, for a log."""
    lines = [HEADS, *rows(result)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    formats = ["<", *[">"] * (len(HEADS) - 2), "<"]
    aligned = (
        "  ".join(f"{word:{form}{width}}" for word, form, width in zip(line, formats, widths, strict=True))
        for line in lines
    )
    return "\n".join([*(line.rstrip() for line in aligned), "", *conclusion(result)])


def conclusion(result: Mapping[str, Any]) -> list[str]:
    """Return what is to be said under the table, a sentence a line."""
    models = len({one["name"] for one in result["versions"]})
    kept = f"{_counted(len(result['versions']), 'version')} of {_counted(models, 'registered model')}"
    return [f"Kept with all that they were made from: {kept}.", *_missing(result["missing"]), _outcome(result)]


def _missing(missing: Sequence[Mapping[str, str]]) -> Iterator[str]:
    if missing:
        much, first = _counted(len(missing), "thing"), missing[0]
        named = f"as {first['address']}, named by {first['named_by']}"
        yield f"Named and not in the store: {much}, {named}; `modelmill models verify` tells more."


def _outcome(result: Mapping[str, Any]) -> str:
    total = result["total"]
    much = f"{_counted(total['removed'], 'thing')} ({size(total['removed_bytes'])})"
    if not total["removed"]:
        return "There is nothing to remove."
    if not result["applied"]:
        return f"Nothing was removed: {much} would go with --apply."
    more = "; what steps had answered with is made anew, and not taken from a cache" if result["epoch_raised"] else ""
    return f"Removed: {much}{more}."


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def size(number: float) -> str:
    """Return a number of bytes as people read it: 3 significant digits, powers of 1000."""
    for unit in UNITS[:-1]:
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} {UNITS[-1]}"
