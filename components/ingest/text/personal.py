"""Personal data in texts: e-mail and IP addresses, telephone, card and account numbers, national identity numbers.

Everything is a pattern and, where there is one, a check digit: names and postal addresses are not found, and a number
that merely looks like one may be. What was found is counted by kind and never kept or reported.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from components.ingest.text.addresses import email_at
from components.ingest.text.numbers import ADDRESS_6, Find, Kind, folded, numbers_in
from modelmill.settings import Section

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from components.ingest.text.candidates import Candidates, Window

# In brackets, not in angles: those would be taken for markup, and cut out, when the text is cleaned once more.
PLACEHOLDERS: dict[Kind, str] = {
    "email": "[EMAIL]",
    "phone": "[PHONE]",
    "ip": "[IP]",
    "card": "[CARD]",
    "iban": "[IBAN]",
    "national_id": "[ID]",
}
"""What stands in a masked text in place of each kind."""

_NUMBERS: frozenset[Kind] = frozenset({"phone", "ip", "card", "iban", "national_id"})


class Personal(Section):
    """What happens to e-mail addresses, telephone, card, account and identity numbers and IP addresses in a text."""

    action: Literal["keep", "mask", "drop"] = "mask"
    """`mask` puts [EMAIL], [PHONE] and so on in their place, `drop` leaves the row out, `keep` does not look."""
    kinds: list[Kind] = Field(default=list(PLACEHOLDERS), min_length=1)
    """What is looked for. IP addresses are public ones only; identity numbers those of eight countries."""

    @field_validator("kinds")
    @classmethod
    def _each_once(cls, kinds: list[Kind]) -> list[Kind]:
        for kind in kinds:
            if kinds.count(kind) > 1:
                raise ValueError(f"{kind!r} stands {kinds.count(kind)} times; once is enough")
        return kinds


@dataclass(frozen=True, kw_only=True, eq=False)
class Masked:
    """A batch of texts in which nothing of what was looked for is left, and how much there was."""

    texts: list[str]
    """The texts, masked also where the setting is to drop them: a sample of dropped rows must hold nothing either."""
    counts: "Counter[Kind]"
    """Finds by kind, over the batch."""
    hit: "npt.NDArray[np.bool_]"
    """Which texts held something."""


def mask(texts: Sequence[str], settings: Personal, instead: Mapping[Kind, str] = PLACEHOLDERS) -> Masked:
    """Return a batch with personal data replaced by placeholders; to drop the rows that are hit is the caller's part.

    Takes time linear in the characters, whatever they are.
    """
    import numpy as np

    from components.ingest.text.candidates import candidates

    masked = list(texts)
    counts: Counter[Kind] = Counter()
    hit = np.zeros(len(masked), dtype=np.bool_)
    if settings.action != "keep":
        for row, finds in _finds(texts, candidates(texts), frozenset(settings.kinds)).items():
            masked[row] = _replaced(texts[row], finds, instead)
            counts.update(kind for _, _, kind in finds)
            hit[row] = True
    return Masked(texts=masked, counts=counts, hit=hit)


def _finds(texts: Sequence[str], where: "Candidates", kinds: frozenset[Kind]) -> dict[int, list[Find]]:
    """Return what stands in each text that holds anything, in order and without overlaps."""
    found: defaultdict[int, list[Find]] = defaultdict(list)
    if "email" in kinds:
        for row, at in where.ats:
            if email := _email(texts[row], at):
                found[row].append(email)
    if kinds & _NUMBERS:
        for window in where.numbers:
            stretch = _stretch(texts[window.text], window)
            for start, stop, kind in numbers_in(stretch, kinds):
                found[window.text].append((window.start + start, window.start + stop, kind))
    if "ip" in kinds:
        for window in where.colons:
            for start, stop in ADDRESS_6.finds(_stretch(texts[window.text], window)):
                found[window.text].append((window.start + start, window.start + stop, "ip"))
    return {row: _apart(finds) for row, finds in found.items()}


def _stretch(text: str, window: "Window") -> str:
    return folded(text[window.start : window.stop])


def _email(text: str, at: int) -> Find | None:
    start = max(0, at - 80)
    found = email_at(folded(text[start : at + 300]), at - start)
    return None if found is None else (start + found[0], start + found[1], "email")


def _apart(finds: list[Find]) -> list[Find]:
    """Return finds in the order of the text, and of those that overlap the one that begins first, then the longest."""
    apart: list[Find] = []
    for find in sorted(finds, key=lambda one: (one[0], -one[1])):
        if not apart or find[0] >= apart[-1][1]:
            apart.append(find)
        elif find[1] > apart[-1][1]:
            # What reaches beyond is hidden as well: a number within an address ("a@13812345678.cn").
            apart[-1] = (apart[-1][0], find[1], apart[-1][2])
    return apart


def _replaced(text: str, finds: list[Find], instead: Mapping[Kind, str]) -> str:
    pieces = []
    position = 0
    for start, stop, kind in finds:
        pieces += [text[position:start], instead[kind]]
        position = stop
    return "".join([*pieces, text[position:]])
