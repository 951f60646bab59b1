"""Markdown from facts: whatever a text holds, it is shown as it stands."""

from collections.abc import Iterable, Iterator, Sequence

# What Markdown reads as more than text, and what HTML does.
_ESCAPED = str.maketrans({letter: f"\\{letter}" for letter in "\\`*_{}[]<>|#~"})


def text(value: str) -> str:
    """Return a text on one line that is shown as it stands."""
    return " ".join(value.split()).translate(_ESCAPED)


def code(value: str) -> str:
    """Return an address as code."""
    return "`" + " ".join(value.split()).replace("`", "'").replace("|", "\\|") + "`"


def table(heads: Sequence[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the lines of a table of cells that are Markdown."""
    for cells in (heads, ["---"] * len(heads), *rows):
        yield f"| {' | '.join(cells)} |"
