"""Brings a text into the one form in which it is compared, learned from and predicted on."""

import re
import unicodedata

from modelmill.markup import html_to_text

# All that no reader sees: controls, soft hyphen, zero-width characters and marks of direction, byte order marks,
# annotation anchors and noncharacters. White space and the two joiners are dealt with below.
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\ufdd0-\ufdef\ufeff\ufff9-\ufffb\ufffe\uffff]+"
)
# The zero-width joiners shape words of Arabic, Persian and Indic scripts and join emoji; beside Latin, Greek, Cyrillic
# or Hebrew letters (all below U+0600), a space or each other (U+2000 to U+206F) they only make equal words unequal.
_JOINERS = re.compile("(?<![\u0600-\u167f\u1681-\u1fff\u2070-\u2fff\u3001-\U0010ffff])[\u200c\u200d]+")
_UNSEEN_ASCII = bytes([*range(0x09), *range(0x0E, 0x1C), 0x7F])
_SURROGATE = re.compile("[\ud800-\udfff]")
_LINE_END = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_SPACES = re.compile(r"[^\S\n]+")
_AROUND_LINE_END = re.compile(r" ?\n ?")
_BLANK_LINES = re.compile(r"\n{3,}")
_EDGES = " \n"
_NO_MARKUP = str.maketrans("<&", "  ")
# "&amp;lt;b&amp;gt;" takes three rounds; what is nested deeper was made to be.
_ROUNDS = 8
# Marks that one letter may bear, as of Unicode's Stream-Safe Text Format (UAX #15, section 13); more are dropped. A
# mark is neither a word's character nor white space.
_MOST_MARKS = 30
_SIGN = re.compile(r"[^\w\s\x00-\x7f]")
_FLOOD = re.compile(r"[^\w\s\x00-\x7f]{31,}")


def clean(text: str) -> str:
    """Return a text in Unicode NFC without markup, unseen characters and needless white space.

    White space within a line becomes one space, lines are trimmed, a line break stays one, and any number of blank
    lines becomes one. Cleaning a clean text changes nothing, and no text raises an error. Half a surrogate pair
    becomes U+FFFD.
    """
    if _is_plain(text):
        return text
    text = _normal(text)
    for _ in range(_ROUNDS):
        if "<" not in text and "&" not in text:
            return text
        # An entity resolved may bring another one, or a character that is unseen or joins its neighbour.
        again = _normal(html_to_text(text))
        if again == text:
            return text
        text = again
    return _normal(text.translate(_NO_MARKUP))


def has_markup(text: str) -> bool:
    """Return whether cleaning would take markup out of a text, or resolve entities in it."""
    return ("<" in text or "&" in text) and html_to_text(text) != text


def has_unseen(text: str) -> bool:
    """Return whether cleaning would take unseen characters out of a text."""
    if text.isascii():
        return len(text.encode().translate(None, _UNSEEN_ASCII)) < len(text)
    return _UNSEEN.search(text) is not None or (_has_joiner(text) and _JOINERS.search(text) is not None)


def has_other_form(text: str) -> bool:
    """Return whether cleaning would write letters of a text in another way: it is not in NFC, or no valid Unicode."""
    return not unicodedata.is_normalized("NFC", text) or _SURROGATE.search(text) is not None


def _has_joiner(text: str) -> bool:
    # A hundred times as fast as a pattern.
    return "\u200c" in text or "\u200d" in text


def _is_plain(text: str) -> bool:
    """Return whether there is nothing to clean, by checks that run at the speed of C; most English texts pass."""
    if not text.isascii() or "<" in text or "&" in text or "  " in text or text[:1] in _EDGES or text[-1:] in _EDGES:
        # An empty text has an empty first character, which is in every string, and is plain all the same.
        return not text
    if "\n" not in text:
        return text.isprintable()
    if " \n" in text or "\n " in text or "\n\n\n" in text:
        return False
    return text.replace("\n", "").isprintable()


def _composed(text: str) -> str:
    """Return a text in NFC, in time linear in its length: the library sorts marks on one letter by insertion."""
    # Every flood has a sign at one of these places.
    if _SIGN.search(text[_MOST_MARKS :: _MOST_MARKS + 1]):
        text = _FLOOD.sub(_without_flood, text)
    return unicodedata.normalize("NFC", text)


def _without_flood(signs: re.Match[str]) -> str:
    kept, marks = [], 0
    for sign in signs[0]:
        marks = marks + 1 if unicodedata.combining(sign) else 0
        if marks <= _MOST_MARKS:
            kept.append(sign)
    return "".join(kept)


def _normal(text: str) -> str:
    spaced = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    # What is printable is seen, and has no white space but spaces: this takes a fifth of the time of the patterns.
    if spaced.isprintable() or spaced.replace("\n", "").isprintable():
        return _trimmed(spaced if spaced.isascii() else _composed(spaced))
    text = _UNSEEN.sub("", text)
    if not text.isascii():
        text = _composed(_SURROGATE.sub("\ufffd", text))
        if _has_joiner(text):
            # What stood apart now stands side by side, and may compose.
            text = _composed(_JOINERS.sub("", text))
    text = _SPACES.sub(" ", _LINE_END.sub("\n", text))
    if "\n" in text:
        text = _BLANK_LINES.sub("\n\n", _AROUND_LINE_END.sub("\n", text))
    return text.strip(" \n")


def _trimmed(text: str) -> str:
    """Return a text, in which all white space is spaces and line ends, without what is needless of it."""
    # Each round halves the longest run.
    while "  " in text:
        text = text.replace("  ", " ")
    if "\n" in text:
        text = text.replace(" \n", "\n").replace("\n ", "\n")
        while "\n\n\n" in text:
            text = text.replace("\n\n\n", "\n\n")
    return text.strip(_EDGES)
