"""How well given answers agree with a question's references: SQuAD's exact match and F1, and two simple answerers."""

# Q questions

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

# Scripts that put no spaces between words, a word each: MLQA's evaluation (arXiv:1910.07475, section 4) of Chinese.
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(f"[{_CJK}]|[^\\s{_CJK}]+")
_PUNCTUATION = dict.fromkeys(map(ord, string.punctuation))
# SQuAD's script takes no more out than ASCII's, so this goes where there is Chinese alone.
_THEIR_PUNCTUATION = dict.fromkeys(map(ord, "、。，；：？！「」『』（）《》〈〉【】“”‘’…—·～"))
_HAS_CJK = re.compile(f"[{_CJK}]")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_SENTENCE = re.compile(r"[^.!?\n。！？]+[.!?。！？]*[\"'”’)]*")
_CLAUSE = re.compile(r"[^.,;:!?\n。，；：！？]+[.!?。！？]*")
_WORD = re.compile(f"[{_CJK}]|[^\\W{_CJK}]+")

Span = tuple[int, int]
"""First character and the one after the last, in the context."""


def normalized(answer: str) -> str:
    """Return an answer as SQuAD's script compares it: no capitals, punctuation, articles, or space but one.

    Rajpurkar et al. 2016 (arXiv:1606.05250), evaluate-v1.1.py; English alone has the articles.
    """
    bare = answer.lower().translate(_PUNCTUATION)
    if _HAS_CJK.search(bare):
        bare = bare.translate(_THEIR_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def tokens(answer: str) -> list[str]:
    """Return the words of an answer that F1 counts: of Chinese its characters."""
    return _TOKEN.findall(normalized(answer))


def exact_match(given: str, references: Sequence[str]) -> float:
    """Return 1 where the answer is one of the references; without a reference, where it is empty."""
    return max(float(normalized(given) == normalized(one)) for one in _real(references))


def f1(given: str, references: Sequence[str]) -> float:
    """Return the F1 of the words that the answer shares with a reference, of the nearest one.

    Of an unanswerable question, as in SQuAD 2 (arXiv:1806.03822): 1 where the answer is empty, else 0.
    """
    return max(_f1(tokens(given), tokens(one)) for one in _real(references))


def _real(references: Sequence[str]) -> Sequence[str]:
    return [one for one in references if normalized(one)] or [""]


def _f1(given: list[str], reference: list[str]) -> float:
    if not given or not reference:
        return float(given == reference)
    shared = sum((Counter(given) & Counter(reference)).values())
    return 2 * shared / (len(given) + len(reference))


def sentences(text: str) -> list[Span]:
    """Return where the sentences of a text are; a line's end ends one too."""
    return _spans(_SENTENCE, text)


def first_sentence(question: str, context: str) -> Span:  # noqa: ARG001 - an answerer like the other
    """Return the first sentence of a context, whatever is asked."""
    found = sentences(context)
    return found[0] if found else (0, len(context))


def sliding_window(question: str, context: str) -> Span:
    """Return the clause whose neighbourhood shares most with the question: the baseline of Rajpurkar et al. 2016, 5.1.

    It is Richardson et al.'s of 2013 (MCTest, algorithm 1): a word that is rare in the context counts more,
    log(1 + 1 / its occurrences), in a window as wide as the question to either side of the candidate, whose own words
    do not count. Candidates are the clauses between marks of punctuation, where theirs are a parser's constituents.
    """
    words = [(match.group().lower(), match.start()) for match in _WORD.finditer(context)]
    asked = {match.group().lower() for match in _WORD.finditer(question)}
    weight = {word: math.log1p(1 / count) for word, count in Counter(word for word, _ in words).items()}
    width = max(1, len(asked))

    def near(span: Span) -> float:
        before = [word for word, start in words if start < span[0]][-width:]
        after = [word for word, start in words if start >= span[1]][:width]
        return max(sum(weight[word] for word in set(side) & asked) for side in (before, after))

    candidates = _spans(_CLAUSE, context)
    return max(candidates, key=near) if candidates else (0, len(context))


BASELINES: dict[str, Callable[[str, str], Span]] = {
    "sliding_window": sliding_window,
    "first_sentence": first_sentence,
}
"""Answerers that learn nothing: from question and context to a span."""


def _spans(pattern: re.Pattern[str], text: str) -> list[Span]:
    found = []
    for match in pattern.finditer(text):
        start, end = match.span()
        inside = text[start:end]
        start, end = start + len(inside) - len(inside.lstrip()), end - len(inside) + len(inside.rstrip())
        if start < end and _WORD.search(text, start, end):
            found.append((start, end))
    return found
