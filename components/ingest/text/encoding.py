"""The encoding of a file that does not say it: by its first bytes, and with how sure that is."""

import codecs
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from modelmill.errors import UserError

# Longest first: the mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What charset-normalizer chooses from where most letters are no Latin ones, in its words: the encodings of the WHATWG
# Encoding Standard that still occur. Smaller sets of a family are left out, as there: gb2312 and gbk are gb18030.
_CHOICES = [
    *("gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1251", "koi8_r", "koi8_u", "iso8859_5", "cp1253", "iso8859_7"),
    *("cp1255", "cp1256"),
]
# Those of Latin letters, the likeliest first; and what each language writes beside a to z (Unicode CLDR, exemplars).
_LATIN = ("cp1252", "cp1250", "iso-8859-2", "cp1254", "cp1257")
_ALPHABETS = [
    frozenset(letters + letters.upper())
    for letters in (
        *("äöüß", "àâæçéèêëîïôœùûüÿ", "áéíïñóúüçàèòºª¡¿", "áâãàçéêíóôõúüº", "àèéìíîòóùúº", "áéëïóöü"),
        *(
            "åäöéæøàü",
            "áðéíóúýþæö",
            "ąćęłńóśźż",
            "áčďéěíňóřšťúůýž",
            "áäčďéíĺľňóôŕšťúýž",
            "áéíóöőúüű",
            "ăâîşţșț",
            "čćđšž",
        ),
        *("çğıöşüâîû", "ąčęėįšųūž", "āčēģīķļņōŗšūž", "äöõüšž"),
    )
]
# Signs that prove nothing: they stand at one place in all of them.
_SIGNS = frozenset("\xa0§©«»°±·´“”„‘’‚–—…•€™®")
# A Latin text has few letters beyond a to z, and these are its language's.
_MOST_BEYOND = 0.4
_EXPLAINED = 0.9
# Half of Japanese running text is hiragana.
_HIRAGANA = 0.2
_GUESS = "cp1252"
# Bytes that statistics look at: more changes no answer, and takes longer.
_LOOKED_AT = 1 << 16
# Without a mark, of every two bytes of UTF-16 this share holds a zero in Latin text; of those on the other side, few.
_ZEROS = 0.4
_FEW = 0.05
# A character of one text in ten may be from far away, or unreadable.
_MOST = 0.9


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """An encoding, how it was found, and how sure that is."""

    name: str
    """As Python knows it; those with a byte order mark take it off themselves."""
    how: Literal["mark", "valid", "zeros", "statistics", "guess"]
    """A byte order mark, bytes that are valid UTF-8, zeros where Latin text has them, statistics, or nothing better."""
    sure: float
    """From 0 to 1; 1 for a mark and for valid UTF-8 with more than ASCII in it."""


def detect(head: bytes) -> Encoding:
    """Return the encoding of a file by its first bytes, which may end in the middle of a character.

    The same bytes give the same answer everywhere. Give 64 kB or more, if the file has them.

    Raises:
        UserError: the bytes are no text. The message does not name the file: the caller does.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return Encoding(name=name, how="mark", sure=1.0)
    if b"\0" in head:
        return _by_zeros(head)
    if _is_utf8(head):
        # ASCII alone says nothing of what comes later.
        return Encoding(name="utf-8", how="valid", sure=0.9 if head.isascii() else 1.0)
    return _by_statistics(head[:_LOOKED_AT])


def _is_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _by_zeros(head: bytes) -> Encoding:
    """Return which of UTF-16 and UTF-32 has its zeros where these are."""
    quads = len(head) // 4
    first, second, third, fourth = (head[place : quads * 4 : 4].count(0) for place in range(4))
    # The fourth byte of UTF-32 is always zero, and the third in all but rare characters.
    if quads and fourth == quads and third >= _MOST * quads > first:
        return _decoding("utf-32-le", head, 0.99)
    if quads and first == quads and second >= _MOST * quads > fourth:
        return _decoding("utf-32-be", head, 0.99)
    even, odd = head[0::2].count(0), head[1::2].count(0)
    # Chinese in UTF-16 has zeros in its line ends only, and they are all on one side.
    sure = 2 * max(even, odd) / len(head)
    if min(even, odd) <= _FEW * max(even, odd):
        return _decoding("utf-16-le" if odd > even else "utf-16-be", head, 0.99 if sure > _ZEROS else 0.5)
    raise _no_text(head)


def _decoding(name: str, head: bytes, sure: float) -> Encoding:
    try:
        text = codecs.getincrementaldecoder(name)().decode(head)
    except UnicodeDecodeError:
        raise _no_text(head) from None
    readable = sum(character.isprintable() or character.isspace() for character in text)
    if not text or readable < _MOST * len(text):
        raise _no_text(head)
    return Encoding(name=name, how="zeros", sure=sure)


def _no_text(head: bytes) -> UserError:
    return UserError(
        f"{head.count(0)} of its first {len(head)} bytes are zero, and not as in UTF-16 or UTF-32: it holds no text; "
        "replace the file, or name its encoding"
    )


def _by_statistics(head: bytes) -> Encoding:
    """Return what explains the letters of a Latin text, else charset-normalizer's choice, else a guess."""
    from charset_normalizer import from_bytes

    if latin := _latin(head):
        return latin
    # A character that was cut at the end would rule out the right encoding: whole lines only, if there are any.
    whole = head[: head.rfind(b"\n") + 1] or head[: head.rfind(b" ") + 1] or head
    if japanese := _japanese(whole):
        return japanese
    best = from_bytes(whole, cp_isolation=_CHOICES, preemptive_behaviour=False, enable_fallback=False).best()
    if best is None or best.encoding not in _CHOICES:
        return Encoding(name=_GUESS, how="guess", sure=0.1)
    return Encoding(
        name=best.encoding, how="statistics", sure=round(max(0.1, min(0.9, best.coherence) - best.chaos), 3)
    )


def _latin(head: bytes) -> Encoding | None:
    """Return the encoding in which what is beyond ASCII are letters of one language; None if this is no Latin text."""
    beyond = head.translate(None, bytes(range(0x80)))
    letters = sum(head.count(byte) for byte in b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    if len(beyond) > _MOST_BEYOND * (letters + len(beyond)):
        return None
    counts = Counter(beyond)
    best = Encoding(name=_GUESS, how="statistics", sure=0.0)
    for name in _LATIN:
        shown = Counter[str]()
        for byte, count in counts.items():
            shown[bytes([byte]).decode(name, "replace")] += count
        proof = {character: count for character, count in shown.items() if character not in _SIGNS}
        total = sum(proof.values())
        explained = [sum(proof[one] for one in proof.keys() & alphabet) for alphabet in _ALPHABETS]
        share = max(explained) / total if total else 1.0
        if share > best.sure:
            best = Encoding(name=name, how="statistics", sure=share)
    if best.sure < _EXPLAINED:
        return None
    return Encoding(name=best.name, how="statistics", sure=round(min(0.9, best.sure), 3))


def _japanese(head: bytes) -> Encoding | None:
    """Return the encoding in which much is hiragana, whose bytes no other language has often; None if it is in none."""
    for name in ("cp932", "euc_jp"):
        try:
            text = head.decode(name)
        except UnicodeDecodeError:
            continue
        beyond = [character for character in text if not character.isascii()]
        share = sum("\u3041" <= character <= "\u309f" for character in beyond) / max(1, len(beyond))
        if share >= _HIRAGANA:
            return Encoding(name=name, how="statistics", sure=0.9)
    return None
