"""From what stands in a label column to the name of a class."""

import math
from collections.abc import Callable
from functools import lru_cache

from components.ingest.settings import LabelRule
from modelmill.text import clean

MAX_CLASSES = 1000
"""More distinct labels than this are no classes but numbers or texts in the label column."""

MAX_CHARS = 200
"""A longer label is no class but a text in the label column, in characters."""

# Enough for the distinct values of a score; a file repeats few labels many times.
_REMEMBERED = 1 << 16

Labelled = tuple[str | None, str, str]
"""Class name, or None with a reason and a detail."""


def labeller(rule: LabelRule | None) -> Callable[[object], Labelled]:
    """Return the function from a label as read (text, number, truth value or None) to its class, or why it has none."""
    classes = frozenset(map(clean, rule.classes)) if rule is not None and rule.classes is not None else None

    @lru_cache(maxsize=_REMEMBERED, typed=True)
    def label_of(value: object) -> Labelled:
        text = label_text(value)
        if text == "":
            return None, "missing_label", "empty or null"
        if rule is not None and rule.bins is not None:
            return _binned(rule, text)
        if len(text) > MAX_CHARS:
            return None, "unknown_label", f"{text[:40]!r}… has {len(text)} characters, {MAX_CHARS} are possible"
        if classes is not None and text not in classes:
            return None, "unknown_label", f"{text[:40]!r} is not among the {len(classes)} classes"
        return text, "", ""

    def checked(value: object) -> Labelled:
        if value is None or isinstance(value, str | int | float):
            return label_of(value)
        return None, "unknown_label", f"a label is text or a number, not of type {type(value).__name__}"

    return checked


def label_text(value: object) -> str:
    """Return a label as text: 1, 1.0 and "1" are the same class, true and false are themselves."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return clean(str(value))


def in_order(names: set[str]) -> list[str]:
    """Return class names sorted: by value if all are numbers, else as text."""
    try:
        values = {name: float(name) for name in names}
    except ValueError:
        return sorted(names)
    # "nan" is a word like others where it is a label, and has no place among numbers.
    return (
        sorted(names, key=lambda name: (values[name], name))
        if all(map(math.isfinite, values.values()))
        else sorted(names)
    )


def _binned(rule: LabelRule, text: str) -> Labelled:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        return None, "unknown_label", f"{text[:40]!r} is not a finite number, and label has bins"
    bins = rule.ordered_bins
    for name, low, high in bins:
        if low <= number < high or (number == high and high == bins[-1][2]):
            return name, "", ""
    if rule.neutral == "drop":
        return None, "neutral", f"{text[:40]} is in no bin"
    return None, "unknown_label", f"{text[:40]} is in no bin; widen the bins or set label.neutral: drop"
