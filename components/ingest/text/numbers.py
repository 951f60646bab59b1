"""What a stretch of text holds of numbers that name a person: patterns with their contexts, then check digits.

The patterns look for ASCII (`folded` brings a text there, character by character), take no white space or letters of
other scripts for granted around a number, and take a bounded number of steps at each place.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from components.ingest.text import identifiers

Kind = Literal["email", "phone", "ip", "card", "iban", "national_id"]

Find = tuple[int, int, Kind]
"""Where something stands: first character, the one after the last, and what it is."""

# Full-width forms, and the spaces and hyphens that people put into numbers, each to one ASCII character.
_FOLD = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_FOLD |= dict.fromkeys((0x00A0, 0x2002, 0x2003, 0x2007, 0x2009, 0x202F, 0x3000), 0x20)
_FOLD |= dict.fromkeys((*range(0x2010, 0x2016), 0x2212), 0x2D)

# No ASCII letter, digit or decimal point goes right before or after.
_LEFT = r"(?<![0-9A-Za-z_])(?<![0-9][.,:/\-])"
_RIGHT = r"(?![0-9A-Za-z_])(?![.,][0-9])"
# Telephone numbers stand in lists ("13812345678/13912345678"), and after no currency, "#", date or thousands.
_PHONE_LEFT = r"(?<![0-9A-Za-z_$€£¥#+])(?<![0-9]\.)(?<![A-Za-z]/)(?<![^0-9][0-9][,:\-])(?<![^0-9][0-9]{2}[,:\-])"
_PHONE_RIGHT = r"(?![0-9A-Za-z_])(?![.,][0-9]{1,3}(?![0-9]))(?! ?[元円万亿%€$£])"

_PLUS = (
    # ITU-T E.164: a country's code and at most 15 digits in all. The United States and China have fixed lengths.
    r"\+1(?:[ .\-/()]{0,3}[0-9]){10}",
    r"\+86[ \-]?1[3-9](?:[ \-]?[0-9]){9}",
    r"\+(?!1|86[ \-]?1[3-9])[2-9](?:[ .\-/()]{0,3}[0-9]){7,14}",
)
_NATIONAL = (
    # China: mobile numbers (Ministry of Industry and Information Technology, numbering plan), then fixed lines.
    r"(?:86[ \-]?)?1[3-9][0-9](?:[0-9]{8}|(?P<cn>[ \-])[0-9]{4}(?P=cn)[0-9]{4})",
    r"0(?:10|2[0-9]|[3-9][0-9]{2})-[0-9]{7,8}(?:-[0-9]{1,4})?",
    # North America: neither area nor exchange begins with 0 or 1 (NANPA). Bare ten digits are too often something else.
    r"(?:1[ .\-])?\([2-9][0-8][0-9]\)[ \-]{0,3}[2-9][0-9]{2}[ .\-]?[0-9]{4}",
    r"(?:1[ .\-])?[2-9][0-8][0-9](?P<us>[.\-])[2-9][0-9]{2}(?P=us)[0-9]{4}",
    # Great Britain (Ofcom, National Telephone Numbering Plan).
    r"07[1-9][0-9]{2}(?:[ \-]?[0-9]{6}|[ \-][0-9]{3}[ \-][0-9]{3})",
    r"(?:02[0-9]|\(02[0-9]\))[ \-]{1,3}[0-9]{4}[ \-]?[0-9]{4}",
    r"(?:01(?:1[0-9]|[0-9]1)|\(01(?:1[0-9]|[0-9]1)\))[ \-]{1,3}[0-9]{3}[ \-]?[0-9]{4}",
    r"(?:01[0-9]{3}|\(01[0-9]{3}\))[ \-]{1,3}[0-9]{5,6}",
    # Germany: mobile numbers (Bundesnetzagentur), and area codes parted from the number.
    r"01[567][0-9]{1,2}[ /\-]{0,3}[0-9]{7,8}",
    r"(?:0[1-9][0-9]{1,4}|\(0[1-9][0-9]{1,4}\)) ?[/\-] ?[0-9]{6,8}",
    r"\(0[1-9][0-9]{1,4}\) ?[0-9]{3,4}[ \-]?[0-9]{3,5}",
    # France: five pairs (Arcep); mobile numbers without separators too.
    r"0[1-9](?P<fr>[ .\-])(?:[0-9]{2}(?P=fr)){3}[0-9]{2}(?!(?P=fr)[0-9])",
    r"0[67][0-9]{8}",
    # Any country, by the international prefix.
    r"00[1-9][0-9]{0,2}[ \-/](?:[ .\-/()]{0,3}[0-9]){7,12}",
)
_ASKED = r"[2-9][0-8][0-9][ .\-]?[2-9][0-9]{2}[ .\-]?[0-9]{4}|0[1-9](?:[ .\-/]?[0-9]){7,10}|1(?:[ \-]?[0-9]){10}"

_CARD = (
    r"(?:[2-6][0-9]{3}(?P<s>[ \-])(?:[0-9]{4}(?P=s)){2}[0-9]{4}(?:(?P=s)[0-9]{3}(?![0-9]))?"
    r"|3[0-9]{3}(?P<t>[ \-])[0-9]{6}(?P=t)[0-9]{4,5}|62[0-9]{4}[ \-][0-9]{13}|[2-6][0-9]{12,18})"
)
_FISCAL_DIGIT = "[0-9LMNPQRSTUV]"


def _iban_pattern() -> str:
    by_length: dict[int, list[str]] = {}
    for country, length in identifiers.IBAN_LENGTHS.items():
        by_length.setdefault(length, []).append(country)
    lengths = (
        rf"(?:{'|'.join(countries)})[0-9]{{2}}(?:[ \-]?[0-9A-Z]){{{length - 4}}}"
        for length, countries in by_length.items()
    )
    return rf"(?<![0-9A-Z])(?=[A-Z]{{2}}[0-9]{{2}})(?:{'|'.join(lengths)})(?![0-9A-Z])"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One kind of number: what it looks like, what must hold, and the words that must or must not stand before it."""

    kind: Kind
    pattern: re.Pattern[str]
    digits: int = 0
    """The fewest digits in a row, separators aside; 0 for what may hold letters too."""
    holds: Callable[[str], bool] = bool
    """Asked with the letters (in upper case) and digits that were found."""
    after: re.Pattern[str] | None = None
    """Words that must stand before it."""
    never_after: re.Pattern[str] | None = None
    """Words that make it another number."""

    def finds(self, text: str, start: int = 0, stop: int | None = None) -> list[tuple[int, int]]:
        """Return where such numbers stand between two places of a text."""
        found = []
        stop = len(text) if stop is None else stop
        while match := self.pattern.search(text, start, stop):
            # What fails may hide one that begins inside it: it is short, so the time stays linear.
            good = self._holds(match, text)
            start = match.end() if good else match.start() + 1
            if good:
                found.append(match.span())
        return found

    def _holds(self, match: re.Match[str], text: str) -> bool:
        if not self.holds(_SEPARATORS.sub("", match[0]).upper()):
            return False
        before = text[max(0, match.start() - _CONTEXT) : match.start()]
        if self.after is not None and not self.after.search(before):
            return False
        return self.never_after is None or not self.never_after.search(before)


_SEPARATORS = re.compile("[^0-9A-Za-z]+")
# How far before a number a word may stand that says what it is, in characters.
_CONTEXT = 40
_CALL = re.compile(
    r"(?:(?<![A-Za-z])(?:tel|phone|telephone|mobile|cell|call|text|txt|fax|ring|whatsapp|dial|contact|sms|tlf|telefon|handy|"
    r"téléphone|portable)(?![A-Za-z])|电话|手机|致电|联系|热线|电話|電話|携帯)[^0-9]{0,24}$",
    re.IGNORECASE,
)
_OTHER_NUMBER = re.compile(
    r"(?:(?<![A-Za-z])(?:isbn(?:-?1[03])?|issn|doi|ean|upc|gtin|asin|sku|pmid|imei|(?:order|invoice|tracking|parcel|serial|part)"
    r"(?: (?:number|no|id))?)|订单号?|單號|单号|货号|型号|编号)[\s:.#=\-]{0,3}$|10\.[0-9]{4,9}/\S*$",
    re.IGNORECASE,
)
_VERSION = re.compile(
    r"(?:(?<![A-Za-z])(?:v|version|ver|release|firmware|build|section|chapter|clause|update|revision|rev)|版本号?|第)[\s:.]{0,3}$",
    re.IGNORECASE,
)


def _public_4(address: str) -> bool:
    found = ipaddress.IPv4Address(address)
    # Four single digits are a version or a public resolver (8.8.8.8), never a subscriber that could be told from them.
    return found.is_global and not found.is_multicast and len(address) > 7


def _public_6(address: str) -> bool:
    try:
        return ipaddress.IPv6Address(address).is_global
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class _Address(Rule):
    """An address, which is asked for as it stands. Private, loopback, example and multicast ones name nobody."""

    def _holds(self, match: re.Match[str], text: str) -> bool:
        before = text[max(0, match.start() - _CONTEXT) : match.start()]
        return self.holds(match[0]) and (self.never_after is None or not self.never_after.search(before))


def _phone(digits: str) -> bool:
    # A mobile number of France and a book's number look alike.
    return not (len(digits) == 10 and digits[:2] in ("06", "07") and identifiers.isbn10(digits))


def _national(digits: int, pattern: str, holds: Callable[[str], bool], after: str = "", flags: int = 0) -> Rule:
    return Rule(
        kind="national_id",
        pattern=re.compile(rf"{_LEFT}(?:{pattern}){_RIGHT}", flags),
        digits=digits,
        holds=holds,
        after=re.compile(rf"(?:{after})[^0-9]{{0,24}}$", re.IGNORECASE) if after else None,
        never_after=None if after else _OTHER_NUMBER,
    )


# In this order: what one rule has found is no other one's. Those with check digits and a form of their own come first.
RULES: Sequence[Rule] = (
    Rule(kind="iban", pattern=re.compile(_iban_pattern(), re.IGNORECASE), holds=identifiers.iban),
    _national(
        17,
        r"[1-9][0-9]{5}(?:18|19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3}[0-9Xx]",
        identifiers.chinese_resident,
    ),
    Rule(
        kind="card",
        pattern=re.compile(
            rf"{_LEFT}(?<![^0-9][0-9]{{4}}[ \-]){_CARD}{_RIGHT}(?![ \-][0-9]{{4}}(?![0-9]))(?!-[0-9]{{5}})"
        ),
        digits=13,
        holds=identifiers.card,
        never_after=_OTHER_NUMBER,
    ),
    _national(
        0,
        rf"[A-Z]{{6}}{_FISCAL_DIGIT}{{2}}[ABCDEHLMPRST]{_FISCAL_DIGIT}{{2}}[A-Z]{_FISCAL_DIGIT}{{3}}[A-Z]",
        identifiers.italian,
        flags=re.IGNORECASE,
    ),
    _national(0, r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]", identifiers.uk_insurance),
    _national(
        0, r"(?:[XYZ]-?[0-9]{7}|[0-9]{8}|[0-9]{2}\.[0-9]{3}\.[0-9]{3})-?[TRWAGMYFPDXBNJZSQVHLCKE]", identifiers.spanish
    ),
    _national(9, r"[0-9]{3}-[0-9]{2}-[0-9]{4}(?!-)", identifiers.us_social_security),
    _national(9, r"[0-9]{3} ?[0-9]{2} ?[0-9]{4}", identifiers.us_social_security, r"(?<![A-Za-z])SSN|social security"),
    _national(11, r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", identifiers.brazilian),
    _national(11, r"[0-9]{11}", identifiers.brazilian, r"(?<![A-Za-z])CPF"),
    _national(12, r"(?<![0-9][ \-])[2-9][0-9]{3}([ \-])[0-9]{4}\1[0-9]{4}(?![ \-][0-9])", identifiers.indian),
    _national(12, r"[2-9][0-9]{11}", identifiers.indian, r"aadhaar|aadhar|UIDAI|आधार"),
    _national(11, r"[1-9][0-9] [0-9]{3} [0-9]{3} [0-9]{3}", identifiers.german_tax),
    _national(11, r"[1-9][0-9]{10}", identifiers.german_tax, r"steuer|(?<![A-Za-z])(?:ID-?Nr|tax id|TIN)"),
    Rule(
        kind="phone",
        pattern=re.compile(rf"(?<![0-9A-Za-z+])(?:{'|'.join(_PLUS)}){_PHONE_RIGHT}"),
        digits=8,
        never_after=_OTHER_NUMBER,
    ),
    Rule(
        kind="phone",
        pattern=re.compile(rf"{_PHONE_LEFT}(?:{'|'.join(_NATIONAL)}){_PHONE_RIGHT}"),
        digits=9,
        holds=_phone,
        never_after=_OTHER_NUMBER,
    ),
    Rule(
        kind="phone",
        pattern=re.compile(rf"{_PHONE_LEFT}(?:{_ASKED}){_PHONE_RIGHT}"),
        digits=9,
        after=_CALL,
        never_after=_OTHER_NUMBER,
    ),
)

_ADDRESS_4 = _Address(
    kind="ip",
    pattern=re.compile(
        r"(?<![0-9A-Za-z.])(?<![A-Za-z]/)(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}"
        r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?![0-9A-Za-z]|\.[0-9]|-[A-Za-z])"
    ),
    holds=_public_4,
    never_after=_VERSION,
)

# RFC 4291: every global address begins with 2 or 3 (2000::/3), which is why a time of day is never one.
ADDRESS_6 = _Address(
    kind="ip",
    pattern=re.compile(
        r"[23](?<![0-9A-Za-z.].)(?<![0-9A-Fa-f:]:.)[0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4}(?![0-9A-Za-z:])"
    ),
    holds=_public_6,
)


def folded(text: str) -> str:
    """Return a text in which full-width forms, spaces and hyphens are ASCII; every character keeps its place."""
    return text if text.isascii() else text.translate(_FOLD)


# A stretch of digits with what parts them within a number, and the least that a number with letters in it shows.
_ROW = re.compile(r"[0-9][0-9 .\-/()]{6,}[0-9]")
_LETTERS = re.compile("[A-Za-z][0-9]|[0-9]-?[A-Za-z]|[A-Za-z] [0-9]{2} [0-9]{2}")
# What a pattern looks at before and after a row: "+(", and the number that comes next.
_EDGE = 8


def numbers_in(text: str, kinds: frozenset[Kind]) -> list[Find]:
    """Return the numbers of these kinds in a folded text."""
    found: list[Find] = []
    lettered = _LETTERS.search(text) is not None
    rows = [(row.start(), row.end(), sum(map(row[0].count, "0123456789"))) for row in _ROW.finditer(text)]
    longest = max((digits for _, _, digits in rows), default=0)
    for rule in RULES:
        if rule.kind not in kinds or not (rule.digits <= longest if rule.digits else lettered):
            continue
        if rule.digits:
            wide = [(max(0, start - _EDGE), stop + _EDGE) for start, stop, digits in rows if digits >= rule.digits]
            spans = [span for start, stop in wide for span in rule.finds(text, start, min(stop, len(text)))]
        else:
            spans = rule.finds(text)
        if spans:
            found += [(start, stop, rule.kind) for start, stop in spans]
            text = _blanked(text, spans)
    if "ip" in kinds and text.count(".") >= 3:
        found += [(start, stop, "ip") for start, stop in _ADDRESS_4.finds(text)]
    return found


def _blanked(text: str, spans: list[tuple[int, int]]) -> str:
    """Return a text in which what was found is no other rule's any more; every character keeps its place."""
    pieces = []
    position = 0
    for start, stop in spans:
        pieces += [text[position:start], "\0" * (stop - start)]
        position = stop
    return "".join([*pieces, text[position:]])
