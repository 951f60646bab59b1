"""How a table has moved from the one that was accepted before, column by column, with both figures."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from components.ingest.tables.schema import ColumnSchema, Schema
from components.ingest.tables.settings import NUMERIC, Drift, Kind
from modelmill.errors import UserError

Integers = npt.NDArray[np.int64]

_DECILES = tuple(tenth / 10 for tenth in range(1, 10))
# A bin that is empty on one side would make the index infinite; it counts as half a row.
_EMPTY = 0.5
# A movement that chance alone makes in one of a thousand unmoved columns is none.
_CHANCE = 0.001
_SHOWN = 5
_SHOWN_CHARS = 40


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One way in which one column has moved."""

    column: str
    measure: str
    """`gone`, `new`, `kind`, `nullable`, `missing`, `categories`, `low`, `high` or `psi`."""
    now: str
    """The figure of the table at hand."""
    before: str
    """The figure of the table that was accepted, or the bound."""
    text: str
    """The sentence that a person reads."""


def compare(before: Schema, after: Schema, settings: Drift) -> list[Finding]:
    """Return how a table has moved, in the order of its columns.

    A share or a distribution must move beyond the settings' bound, and farther than chance moves it in one of a
    thousand unmoved columns of as many rows.
    """
    found: list[Finding] = []
    for name in sorted({*before.columns, *after.columns}):
        old, new = before.columns.get(name), after.columns.get(name)
        if old is not None and new is not None:
            found.extend(_column(name, old, new, settings))
        elif old is not None:
            text = f"column {name!r}: not there, was of kind {old.kind}"
            found.append(Finding(column=name, measure="gone", now="", before=old.kind, text=text))
        elif new is not None:
            text = f"column {name!r}: new, of kind {new.kind}"
            found.append(Finding(column=name, measure="new", now=new.kind, before="", text=text))
    return found


def settle(findings: Sequence[Finding], settings: Drift) -> list[str]:
    """Return what to warn of.

    Raises:
        UserError: the table has moved and the settings say `fail`; every finding is listed.
    """
    if settings.action == "off":
        return []
    texts = [finding.text for finding in findings]
    if settings.action == "fail" and texts:
        raise UserError(
            f"the table has moved from the one before in {len(texts)} ways: {'; '.join(texts)}; "
            "mend the data, widen the bounds in drift, or set drift.action to warn to accept it"
        )
    return texts


def population_stability(before: Integers, after: Integers) -> float:
    """Return the population stability index of counts in the same bins: sum of (p - q) ln(p / q) over their shares.

    Yurdakul and Naranjo, Statistical properties of the population stability index, Journal of Risk Model Validation 14
    (2020). A bin that is empty on one side counts as half a row there, one that is empty on both is left out.
    """
    there = (before > 0) | (after > 0)
    old, new = (np.maximum(counts[there].astype(np.float64), _EMPTY) for counts in (before, after))
    p, q = new / new.sum(), old / old.sum()
    return float(((p - q) * np.log(p / q)).sum())


def chance_stability(bins: int, before: int, after: int) -> float:
    """Return the index that samples of so many rows from one population exceed in one of a thousand cases.

    The index is (1/n + 1/m) times a chi-square of bins - 1 degrees of freedom (Yurdakul and Naranjo 2020), whose
    quantile is that of Wilson and Hilferty (1931).
    """
    freedom = bins - 1
    if freedom < 1 or not before or not after:
        return 0.0
    spread = 2 / (9 * freedom)
    quantile = freedom * (1 - spread + NormalDist().inv_cdf(1 - _CHANCE) * math.sqrt(spread)) ** 3
    return quantile * (1 / before + 1 / after)


def _column(name: str, old: ColumnSchema, new: ColumnSchema, settings: Drift) -> Iterator[Finding]:
    if old.kind != new.kind:
        yield _finding(name, "kind", new.kind, old.kind)
    yield from _missing(name, old, new, settings)
    if old.kind == new.kind and old.counts is not None and new.counts is not None:
        yield from _categories(name, old.counts, new.counts, settings)
    elif {old.kind, new.kind} <= NUMERIC:
        yield from _range(name, old, new, settings)
        yield from _numbers(name, old, new, settings)


def _missing(name: str, old: ColumnSchema, new: ColumnSchema, settings: Drift) -> Iterator[Finding]:
    now, before = new.missing_share, old.missing_share
    moved = abs(now - before) > settings.missing and _beyond_chance(old, new)
    if moved or (new.nullable and not old.nullable):
        measure = "missing" if moved else "nullable"
        yield _finding(name, measure, f"{now:.4g}", f"{before:.4g}", "share of missing values")


def _beyond_chance(old: ColumnSchema, new: ColumnSchema) -> bool:
    """Return whether two shares of missing values differ by the test of two proportions."""
    if not old.rows or not new.rows:
        return False
    pooled = (old.missing + new.missing) / (old.rows + new.rows)
    error = math.sqrt(pooled * (1 - pooled) * (1 / old.rows + 1 / new.rows))
    return error > 0 and abs(new.missing_share - old.missing_share) / error > NormalDist().inv_cdf(1 - _CHANCE / 2)


def _categories(name: str, known: Mapping[str, int], new: Mapping[str, int], settings: Drift) -> Iterator[Finding]:
    strange = {value: count for value, count in new.items() if count and value not in known}
    total = sum(new.values())
    if strange and sum(strange.values()) > settings.new_categories * total:
        most = sorted(strange.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]
        shown = ", ".join(f"{value[:_SHOWN_CHARS]!r} {count}" for value, count in most)
        more = f", and {len(strange) - _SHOWN} more" if len(strange) > _SHOWN else ""
        now = f"{len(strange)} new ones in {sum(strange.values())} of {total} values ({shown}{more})"
        yield _finding(name, "categories", now, f"{len(known)} known ones", "categories")
    if not total or not sum(known.values()):
        return
    names = sorted({*known, *new})
    before, after = (np.array([each.get(value, 0) for value in names], dtype=np.int64) for each in (known, new))
    shares = np.stack((after / after.sum(), before / before.sum()))
    place = int(np.argmax(np.abs(shares[0] - shares[1])))
    said = f"share of {names[place][:_SHOWN_CHARS]!r} {shares[0, place]:.4g}, was {shares[1, place]:.4g}"
    yield from _stability(name, before, after, settings, said)


def _range(name: str, old: ColumnSchema, new: ColumnSchema, settings: Drift) -> Iterator[Finding]:
    if old.low is None or old.high is None or new.low is None or new.high is None:
        return
    reach = settings.range * (old.high - old.low)
    if new.low < old.low - reach:
        yield _finding(name, "low", f"{new.low:g}", f"{old.low:g} (to {old.high:g})", "smallest value")
    if new.high > old.high + reach:
        yield _finding(name, "high", f"{new.high:g}", f"{old.high:g} (from {old.low:g})", "largest value")


def _numbers(name: str, old: ColumnSchema, new: ColumnSchema, settings: Drift) -> Iterator[Finding]:
    if old.sketch is None or new.sketch is None or old.quartiles is None or new.quartiles is None:
        return
    # Of one coarseness, so that equal values fall into equal bins.
    shift = max(old.sketch.shift, new.sketch.shift)
    before, after = old.sketch.coarsened(shift), new.sketch.coarsened(shift)
    edges = np.unique(before.quantiles(_DECILES))
    said = f"median {new.quartiles[1]:.4g}, was {old.quartiles[1]:.4g}"
    yield from _stability(name, before.histogram(edges), after.histogram(edges), settings, said)


def _stability(name: str, old: Integers, new: Integers, settings: Drift, said: str) -> Iterator[Finding]:
    if not old.sum() or not new.sum():
        return
    index = population_stability(old, new)
    bins = int(((old > 0) | (new > 0)).sum())
    if index > max(settings.psi, chance_stability(bins, int(old.sum()), int(new.sum()))):
        now, before = f"{index:.3f}", f"{settings.psi:g}"
        text = f"column {name!r}: population stability index {now} over {bins} bins, {before} is accepted"
        text += f"; {said} ({int(new.sum())} values, were {int(old.sum())})"
        yield Finding(column=name, measure="psi", now=now, before=before, text=text)


def _finding(name: str, measure: str, now: str | Kind, before: str | Kind, said: str = "") -> Finding:
    text = f"column {name!r}: {said or measure} {now}, was {before}"
    return Finding(column=name, measure=measure, now=now, before=before, text=text)
