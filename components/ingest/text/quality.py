"""Judges documents by the rules of published corpora; each rule has a reason word, a figure and a threshold."""

# N texts, L lines, W words

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from components.ingest.text.lines import Lines, is_any, sentences
from components.ingest.text.repetition import repetition_rules
from components.ingest.text.settings import C4, FineWeb, Gopher, Quality
from components.ingest.text.verdicts import Rule, share
from components.ingest.text.words import LETTER, UNSPACED, Booleans, Integers, Words

# FineWeb's own code: a line below it counts as short.
_SHORT_LINE = 30


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """What the rules say of a batch."""

    rule_N: Integers
    """The number of the first rule that a text broke, -1 where it broke none."""
    rules: list[Rule]

    def reason(self, text: int) -> tuple[str, str]:
        """Return why a text goes: a word, and both numbers."""
        return self.rules[int(self.rule_N[text])].explain(text)


def judge(texts: Sequence[str], words: Words, settings: Quality) -> Judged:
    """Judge a batch of texts, given their words too."""
    rules: list[Rule] = []
    rule_N = np.full(len(words.chars_N), -1, dtype=np.int64)
    for rule in _rules(texts, words, settings):
        rule_N[rule.broken_N & (rule_N < 0)] = len(rules)
        rules.append(rule)
    return Judged(rule_N=rule_N, rules=rules)


def _rules(texts: Sequence[str], words: Words, settings: Quality) -> Iterator[Rule]:
    lines = Lines.of(words)
    if settings.gopher is not None:
        yield from _gopher(words, lines, settings.gopher)
    if settings.c4 is not None:
        yield from _c4(texts, words, settings.c4)
    if settings.fineweb is not None:
        yield from _fineweb(lines, settings.fineweb)
    if settings.repetition is not None:
        yield from repetition_rules(words, lines, settings.repetition)


def _gopher(words: Words, lines: Lines, settings: Gopher) -> Iterator[Rule]:
    spaced_N = 2 * words.unspaced_N < words.words_N
    yield Rule("gopher_few_words", words.words_N, low=settings.min_words, unit="words")
    yield Rule("gopher_many_words", words.words_N, high=settings.max_words, unit="words")
    mean_N = share(words.per_text(words.text_W, words.chars_W), words.words_N)
    yield Rule("gopher_short_words", mean_N, low=settings.min_mean_word, where_N=spaced_N, unit="characters a word")
    yield Rule("gopher_long_words", mean_N, high=settings.max_mean_word, where_N=spaced_N, unit="characters a word")
    for name, count_N in (("hashes", _hash_signs(words)), ("ellipses", _ellipses(words))):
        yield Rule(f"gopher_{name}", share(count_N, words.words_N), high=settings.max_symbols, unit="a word")
    bullets_N = share(lines.per_text(lines.bullets_L), lines.count_N)
    yield Rule("gopher_bullet_lines", bullets_N, high=settings.max_bullet_lines, unit="of the lines")
    ellipses_N = share(lines.per_text(lines.ellipsis_ends_L), lines.count_N)
    yield Rule("gopher_ellipsis_lines", ellipses_N, high=settings.max_ellipsis_lines, unit="of the lines")
    alphabetic_N = share(words.per_text(words.text_W[_with_letter(words)]), words.words_N)
    yield Rule("gopher_few_letters", alphabetic_N, low=settings.min_alphabetic_words, unit="of the words")
    if settings.min_stop_words is not None:
        stop_N = _stop_words(words, settings.stop_words)
        yield Rule("gopher_stop_words", stop_N, low=settings.min_stop_words, where_N=spaced_N, unit="stop words")


def _hash_signs(words: Words) -> Integers:
    return words.per_text(words.text_at(np.flatnonzero(words.points_C == ord("#"))))


def _ellipses(words: Words) -> Integers:
    points_C = words.points_C
    dots_C = points_C == ord(".")
    three = np.flatnonzero(dots_C[:-2] & dots_C[1:-1] & dots_C[2:])
    # Of a row of dots the first three count.
    three = three[(three == 0) | ~dots_C[np.maximum(three - 1, 0)]]
    one = np.flatnonzero(points_C == ord("…"))
    return words.per_text(words.text_at(np.concatenate([three, one])))


def _with_letter(words: Words) -> Booleans:
    letters = np.cumsum((words.kind_C == LETTER) | (words.kind_C == UNSPACED), dtype=np.int64)
    before_W = np.where(words.start_W > 0, letters[words.start_W - 1], 0)
    found: Booleans = letters[words.start_W + words.chars_W - 1] > before_W
    return found


def _stop_words(words: Words, stop_words: tuple[str, ...]) -> Integers:
    """Return how many different stop words each text holds [N]."""
    wanted = np.unique(Words.of(stop_words).hash_W)
    place_W = np.minimum(np.searchsorted(wanted, words.hash_W), len(wanted) - 1)
    found_W = wanted[place_W] == words.hash_W
    pairs = np.unique(words.text_W[found_W] * len(wanted) + place_W[found_W])
    return words.per_text(pairs // len(wanted))


def _c4(texts: Sequence[str], words: Words, settings: C4) -> Iterator[Rule]:
    if settings.lorem_ipsum:
        times_N = np.array([text.lower().count("lorem ipsum") for text in texts], dtype=np.int64)
        yield Rule("c4_lorem_ipsum", times_N, high=0, unit="times")
    if settings.curly_bracket:
        brackets_N = words.per_text(words.text_at(np.flatnonzero(is_any(words.points_C, "{"))))
        yield Rule("c4_curly_bracket", brackets_N, high=0, unit="brackets")
    if settings.min_sentences is not None:
        yield Rule("c4_few_sentences", sentences(words), low=settings.min_sentences, unit="sentences")


def _fineweb(lines: Lines, settings: FineWeb) -> Iterator[Rule]:
    marks_N = share(lines.per_text(lines.sentence_ends_L), lines.count_N)
    yield Rule("fineweb_end_marks", marks_N, low=settings.min_end_marks, unit="of the lines")
    repeated_N = share(lines.chars_per_text(lines.repeated_L), lines.words.chars_N)
    limit = settings.max_duplicate_line_chars
    yield Rule("fineweb_duplicate_line_chars", repeated_N, high=limit, unit="of the characters")
    short_N = share(lines.per_text(lines.chars_L < _SHORT_LINE), lines.count_N)
    yield Rule("fineweb_short_lines", short_N, high=settings.max_short_lines, unit="of the lines")
