"""What a recipe may ask of texts: the rules of published corpora, each with its threshold. Needs no numpy.

A rule whose threshold is null is off. The rules are for documents: they judge the corpus, never labelled rows.
"""

from typing import Literal

from pydantic import Field

from modelmill.settings import Section

Share = float | None


class Gopher(Section):
    """Gopher's rules of quality (arXiv:2112.11446, section A.1.1).

    Where most words are characters of a script without spaces, a word's length and stop words say nothing and are not
    looked at.
    """

    min_words: int | None = Field(default=50, ge=0)
    """Fewer words drop a text."""
    max_words: int | None = Field(default=100_000, ge=1)
    """More words drop a text."""
    min_mean_word: float | None = Field(default=3, ge=0)
    """Mean length of the words, in characters, at the least."""
    max_mean_word: float | None = Field(default=10, ge=0)
    """Mean length of the words, in characters, at the most."""
    max_symbols: Share = Field(default=0.1, ge=0)
    """Signs `#` and ellipses, each per word, at the most."""
    max_bullet_lines: Share = Field(default=0.9, ge=0, le=1)
    """Share of lines that begin with a bullet, at the most."""
    max_ellipsis_lines: Share = Field(default=0.3, ge=0, le=1)
    """Share of lines that end with an ellipsis, at the most."""
    min_alphabetic_words: Share = Field(default=0.8, ge=0, le=1)
    """Share of words with a letter in them, at the least."""
    min_stop_words: int | None = Field(default=2, ge=0)
    """Different stop words that a text must hold."""
    stop_words: tuple[str, ...] = ("the", "be", "to", "of", "and", "that", "have", "with")
    """The stop words; those of English, so a corpus of another language gives its own."""


class Repetition(Section):
    """Gopher's rules against repetition (arXiv:2112.11446, table A1), all of them shares of a text at the most."""

    duplicate_lines: Share = Field(default=0.30, ge=0, le=1)
    """Of the lines, those that repeat an earlier one."""
    duplicate_paragraphs: Share = Field(default=0.30, ge=0, le=1)
    """Of the paragraphs, those that repeat an earlier one."""
    duplicate_line_chars: Share = Field(default=0.20, ge=0, le=1)
    """Of the characters, those in lines that repeat an earlier one."""
    duplicate_paragraph_chars: Share = Field(default=0.20, ge=0, le=1)
    """Of the characters, those in paragraphs that repeat an earlier one."""
    top_grams: dict[int, float] = Field(default_factory=lambda: {2: 0.20, 3: 0.18, 4: 0.16})
    """By number of words: of the characters, those in the run of so many words that takes most of them."""
    duplicate_grams: dict[int, float] = Field(
        default_factory=lambda: {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
    )
    """By number of words: of the characters, those in runs of so many words that repeat an earlier one."""


class C4(Section):
    """C4's rules (arXiv:1910.10683, section 2.2). The first ones take lines out of a text, the others drop the text."""

    end_mark: bool = True
    """Lines must end with a mark that ends a sentence, or a closing quote."""
    min_line_words: int | None = Field(default=5, ge=0)
    """Lines with fewer words go."""
    javascript: bool = True
    """Lines that speak of JavaScript go."""
    policy: bool = True
    """Lines that speak of terms of use, cookies or privacy policy go."""
    min_sentences: int | None = Field(default=3, ge=0)
    """A text with fewer sentences goes, after its lines were looked at."""
    lorem_ipsum: bool = True
    """A text with "lorem ipsum" goes."""
    curly_bracket: bool = True
    """A text with `{`, which is likely code, goes."""


class FineWeb(Section):
    """FineWeb's own rules (arXiv:2406.17557, section 3.6)."""

    min_end_marks: Share = Field(default=0.12, ge=0, le=1)
    """Share of lines that end with a mark that ends a sentence, at the least."""
    max_duplicate_line_chars: Share = Field(default=0.1, ge=0, le=1)
    """Share of characters in lines that repeat an earlier one, at the most."""
    max_short_lines: Share = Field(default=0.67, ge=0, le=1)
    """Share of lines shorter than 30 characters, at the most."""


class Quality(Section):
    """Which published rules judge the corpus; `{}` takes a set with the thresholds of its paper."""

    gopher: Gopher | None = None
    repetition: Repetition | None = None
    c4: C4 | None = None
    fineweb: FineWeb | None = None


class NearDuplicates(Section):
    """Texts that are nearly the same, found by MinHash signatures cut into bands (Broder 1997)."""

    action: Literal["drop", "keep", "off"] = "drop"
    """Of texts that are nearly the same, `drop` keeps the one with the smallest hash; `keep` keeps all of them,
    together in one split; `off` does not look for them."""
    words: int = Field(default=5, ge=1, le=50)
    """Words of the runs that texts are compared by; characters in scripts without spaces."""
    bands: int = Field(default=14, ge=1, le=256)
    """Texts are near when one band of both signatures is the same. FineWeb's 14 x 8 finds 77 % of the pairs that share
    three quarters of their runs, and all that share nine tenths."""
    rows: int = Field(default=8, ge=1, le=64)
    """Numbers in a band."""
