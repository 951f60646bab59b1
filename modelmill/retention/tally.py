"""What retention found, counted by kind of thing: what stays and why, and what goes."""

from collections.abc import Iterator, Mapping
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


def conclusion(result: Mapping[str, Any]) -> list[str]:
    """Return what is to be said under the table, a sentence a line."""
    removed, versions = result["total"], result["versions"]
    models = len({one["name"] for one in versions})
    said = [f"{len(versions)} versions of {models} registered models stay, with all that they were made from."]
    if result["missing"]:
        first = result["missing"][0]
        said.append(
            f"{len(result['missing'])} things that are named are not in the store, as {first['address']}, named by "
            f"{first['named_by']}; `modelmill models verify` tells more."
        )
    much = f"{removed['removed']:,} things, {size(removed['removed_bytes'])},"
    if not result["applied"]:
        said.append(
            f"Nothing was removed. {much} would go with --apply." if removed["removed"] else "Nothing would go."
        )
    elif result["epoch_raised"]:
        said.append(
            f"{much} were removed; steps whose results are among them are made anew, not answered from a cache."
        )
    else:
        said.append(f"{much} were removed.")
    return said


def size(number: float) -> str:
    """Return a number of bytes as people read it: 3 significant digits, powers of 1000."""
    for unit in UNITS[:-1]:
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} {UNITS[-1]}"
