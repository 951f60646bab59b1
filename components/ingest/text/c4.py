"""Takes out of documents the lines that C4 takes out (arXiv:1910.10683, section 2.2)."""

# N texts, L lines

from collections.abc import Sequence

import numpy as np

from components.ingest.text.lines import Lines
from components.ingest.text.settings import C4
from components.ingest.text.words import Booleans, Words

# The phrases of C4's own code; section 2.2 names the terms of use and the cookies.
_POLICY = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)


def without_bad_lines(texts: Sequence[str], settings: C4) -> list[str]:
    """Return texts without the lines that C4 takes out; '' where none is left."""
    words = Words.of(texts)
    lines = Lines.of(words)
    keep_L = _kept(words, lines, settings)
    phrases = (("javascript",) if settings.javascript else ()) + (_POLICY if settings.policy else ())
    changed_N = lines.per_text(~keep_L) > 0
    first_N = np.cumsum(lines.count_N) - lines.count_N
    kept = []
    for number, text in enumerate(texts):
        if not changed_N[number] and not _any_in(text, phrases):
            kept.append(text)
            continue
        own = range(first_N[number], first_N[number] + lines.count_N[number])
        begin = words.begin_N[number]
        spans = [text[lines.start_L[line] - begin : lines.stop_L[line] - begin] for line in own if keep_L[line]]
        kept.append("\n".join(span for span in spans if not _any_in(span, phrases)))
    return kept


def _kept(words: Words, lines: Lines, settings: C4) -> Booleans:
    keep_L = np.ones(len(lines.start_L), dtype=np.bool_)
    if settings.end_mark:
        keep_L &= lines.sentence_ends_L & ~lines.ellipsis_ends_L
    if settings.min_line_words is not None:
        line_W = np.searchsorted(lines.start_L, words.start_W, side="right") - 1
        keep_L &= np.bincount(line_W, minlength=len(keep_L)) >= settings.min_line_words
    return keep_L


def _any_in(text: str, phrases: Sequence[str]) -> bool:
    lowered = text.lower()
    return any(phrase in lowered for phrase in phrases)
