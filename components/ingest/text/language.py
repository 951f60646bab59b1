"""Which language a text is in, without a network: by its script where one language is written in it, else by lingua.

lingua runs in its low-accuracy mode, which compares trigrams only: with every language of the Latin script it took
75 MB and 0.3 s to load, where the accurate mode took 910 MB, for texts of over 120 characters with the same results.
"""

# N texts, S scripts

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from components.ingest.text.scripts import SCRIPTS, Script
from modelmill.settings import Section

if TYPE_CHECKING:
    import lingua

Found = tuple[str, float]
"""An ISO 639-1 code, or UNKNOWN, and how sure it is, from 0 to 1."""

UNKNOWN = "unknown"

# Characters of a text that are looked at. 300 English texts cut to 50, 100 and 200 characters were told in 92, 99 and
# 100 % of the cases, with the confidence at 1.000 from 200 on; from there on time grows and nothing else does.
HEAD = 256

# Languages that are told apart in one script. Those of the Latin script are the ones with much text of their own;
# any other that lingua knows joins them when the settings name it, and each costs time.
_TOLD: dict[Script, str] = {
    "latin": "af az ca cs cy da de en es et eu fi fr hr hu id is it lt lv ms nb nl pl pt ro sk sl sq sv sw tl tr vi",
    "cyrillic": "be bg kk mk mn ru sr uk",
    "arabic": "ar fa ur",
    "devanagari": "hi mr",
}
_TOLD_IF_NAMED = "bs eo ga la lg mi nn sn so st tn ts xh yo zu"
_KNOWN = frozenset(" ".join([*_TOLD.values(), _TOLD_IF_NAMED, "ja", *(script.language for script in SCRIPTS)]).split())
# Of Japanese letters a half and more are kana, of a heading's one in five; of Chinese ones hardly any (の in a name).
_KANA = 0.15


class Language(Section):
    """Which languages a text may be in; the others are left out."""

    keep: list[str] = Field(min_length=1)
    """Codes of ISO 639-1 (en, zh, de)."""
    min_confidence: float = Field(default=0.65, ge=0, le=1)
    """Below it the language counts as unknown; 0.65 is what FineWeb asks of English (arXiv:2406.17557, section 3.2)."""
    unknown: Literal["keep", "drop"] = "keep"
    """What happens to a text that is too short, without letters, or in languages that cannot be told apart."""

    @field_validator("keep")
    @classmethod
    def _are_known(cls, keep: list[str]) -> list[str]:
        for code in keep:
            if code not in _KNOWN:
                raise ValueError(f"no language {code!r}; those that can be told are {', '.join(sorted(_KNOWN))}")
        return keep

    def keeps(self, found: Found) -> bool:
        """Return whether a text in which this was found stays."""
        code, confidence = found
        if code == UNKNOWN or confidence < self.min_confidence:
            return self.unknown == "keep"
        return code in self.keep


def detector(settings: Language) -> Callable[[Sequence[str]], list[Found]]:
    """Return a function that tells the language of each text of a batch, by its first 256 characters.

    The confidence is the share of letters in the script that most are in, times lingua's own; it is rounded to four
    places, since lingua adds up in any order. Equal texts give equal answers in any batch.
    """
    return _Detector(settings).detect


class _Detector:
    def __init__(self, settings: Language) -> None:
        self._named = frozenset(settings.keep)
        self._models: dict[Script, lingua.LanguageDetector] = {}

    def detect(self, texts: Sequence[str]) -> list[Found]:
        """Return what each text is in."""
        from components.ingest.text.scripts import votes

        heads = [text[:HEAD] for text in texts]
        share_N, script_N, kana_N = votes(heads)
        found: list[Found] = [(UNKNOWN, 0.0)] * len(heads)
        asked: defaultdict[Script, list[int]] = defaultdict(list)
        rows = zip(share_N.tolist(), script_N.tolist(), kana_N.tolist(), strict=True)
        for row, (share, number, kana) in enumerate(rows):
            if not share:
                continue
            script = SCRIPTS[number]
            if not script.language:
                asked[script.name].append(row)
            else:
                japanese = script.name == "han" and kana >= _KANA
                found[row] = ("ja" if japanese else script.language, round(share, 4))
        for name, chosen in asked.items():
            for row, (code, confidence) in zip(chosen, self._ask(name, [heads[row] for row in chosen]), strict=True):
                found[row] = (code, round(confidence * float(share_N[row]), 4))
        return found

    def _ask(self, script: Script, texts: list[str]) -> list[Found]:
        """Return lingua's answers for texts in one script."""
        if script not in self._models:
            self._models[script] = self._model(script)
        # Half a surrogate pair is no UTF-8. One thread a core, unless RAYON_NUM_THREADS says otherwise.
        known = [text.encode("utf-8", "replace").decode() for text in texts]
        values = self._models[script].compute_language_confidence_values_in_parallel(known)
        return [
            (one[0].language.iso_code_639_1.name.lower(), one[0].value) if one and one[0].value else (UNKNOWN, 0.0)
            for one in values
        ]

    def _model(self, script: Script) -> "lingua.LanguageDetector":
        import lingua

        languages = [getattr(lingua.IsoCode639_1, code.upper()) for code in self._codes[script]]
        return lingua.LanguageDetectorBuilder.from_iso_codes_639_1(*languages).with_low_accuracy_mode().build()

    @cached_property
    def _codes(self) -> dict[Script, list[str]]:
        codes = {script: told.split() for script, told in _TOLD.items()}
        codes["latin"] += sorted(self._named & set(_TOLD_IF_NAMED.split()))
        return codes
