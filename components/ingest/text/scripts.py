"""Which script a text is written in, for a batch of texts at once."""

# N texts, C characters of the batch, joined; S scripts

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Script = Literal[
    "latin", "cyrillic", "arabic", "devanagari", "han", "kana", "hangul", "greek", "hebrew", "thai", "georgian",
    "armenian", "bengali", "gurmukhi", "gujarati", "oriya", "tamil", "telugu", "kannada", "malayalam", "sinhala",
    "lao", "tibetan", "myanmar", "khmer", "ethiopic",
]  # fmt: skip


class Writing(NamedTuple):
    """A script, the ranges of its letters (UAX #24, Scripts.txt), and the language if it is mostly one."""

    name: Script
    ranges: tuple[tuple[int, int], ...]
    language: str = ""
    letters: int = 1
    """How many Latin letters one character stands for, about: how far a text's translation is longer."""


SCRIPTS = (
    Writing("latin", ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x24F), (0x1E00, 0x1EFF))),
    Writing("cyrillic", ((0x400, 0x52F), (0x1C80, 0x1C8F), (0x2DE0, 0x2DFF), (0xA640, 0xA69F))),
    Writing(
        "arabic", ((0x620, 0x65F), (0x66E, 0x6D3), (0x6D5, 0x6EF), (0x6FA, 0x77F), (0x8A0, 0x8FF), (0xFB50, 0xFEFC))
    ),
    Writing("devanagari", ((0x900, 0x963), (0x971, 0x97F))),
    Writing("han", ((0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF)), "zh", 3),
    Writing("kana", ((0x3041, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9D)), "ja", 2),
    Writing("hangul", ((0x1100, 0x11FF), (0x3131, 0x318E), (0xAC00, 0xD7A3)), "ko", 2),
    Writing("greek", ((0x370, 0x3FF), (0x1F00, 0x1FFF)), "el"),
    Writing("hebrew", ((0x5D0, 0x5F2), (0xFB1D, 0xFB4F)), "he"),
    Writing("thai", ((0xE01, 0xE4E),), "th"),
    Writing("georgian", ((0x10A0, 0x10FF), (0x1C90, 0x1CBF)), "ka"),
    Writing("armenian", ((0x531, 0x587),), "hy"),
    Writing("bengali", ((0x980, 0x9E3),), "bn"),
    Writing("gurmukhi", ((0xA00, 0xA5F), (0xA70, 0xA7F)), "pa"),
    Writing("gujarati", ((0xA80, 0xAE3),), "gu"),
    Writing("oriya", ((0xB00, 0xB63),), "or"),
    Writing("tamil", ((0xB80, 0xBE3),), "ta"),
    Writing("telugu", ((0xC00, 0xC63),), "te"),
    Writing("kannada", ((0xC80, 0xCE3),), "kn"),
    Writing("malayalam", ((0xD00, 0xD63),), "ml"),
    Writing("sinhala", ((0xD80, 0xDDF),), "si"),
    Writing("lao", ((0xE81, 0xEDF),), "lo"),
    Writing("tibetan", ((0xF40, 0xFBC),), "bo"),
    Writing("myanmar", ((0x1000, 0x103F),), "my"),
    Writing("khmer", ((0x1780, 0x17D3),), "km"),
    Writing("ethiopic", ((0x1200, 0x135F),), "am"),
)
_OTHER = len(SCRIPTS)
_NAMES = [script.name for script in SCRIPTS]
_HAN = _NAMES.index("han")
_KANA = _NAMES.index("kana")
# Planes 2 and 3 hold rare Han characters, and nothing else.
_PLANE_2 = 0x20000


def votes(
    texts: Sequence[str],
) -> "tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.float64]]":
    """Return of each text the share of letters in its first script, that script's number, and kana per Han and kana.

    Shares are of what the letters say, not of their number: a Chinese text with a product's Latin name stays Chinese.
    Without letters the share is 0.
    """
    import numpy as np

    joined = "".join(texts).encode("utf-32-le", "surrogatepass")
    codes_C = np.frombuffer(joined, np.uint32)
    script_C = _table()[np.minimum(codes_C, 0xFFFF)]
    script_C[(codes_C >= _PLANE_2) & (codes_C < 0x40000)] = _HAN
    text_C = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    cells = np.bincount(text_C * (_OTHER + 1) + script_C, minlength=len(texts) * (_OTHER + 1))
    count_NS = cells.reshape(len(texts), _OTHER + 1)[:, :_OTHER]
    weight_NS = count_NS * np.array([script.letters for script in SCRIPTS])
    kana_N = count_NS[:, _KANA] / np.maximum(count_NS[:, _KANA] + count_NS[:, _HAN], 1)
    # Japanese is written in both.
    weight_NS[:, _HAN] += weight_NS[:, _KANA]
    weight_NS[:, _KANA] = 0
    first_N = weight_NS.argmax(axis=1)
    share_N = weight_NS.max(axis=1) / np.maximum(weight_NS.sum(axis=1), 1)
    return share_N, first_N, kana_N


@cache
def _table() -> "npt.NDArray[np.intp]":
    """Return the number of the script of each character below U+10000."""
    import numpy as np

    table = np.full(0x10000, _OTHER, np.intp)
    for number, script in enumerate(SCRIPTS):
        for low, high in script.ranges:
            table[low : high + 1] = number
    # What stands for no character, among them the byte order mark.
    table[0xFDD0:0xFDF0] = _OTHER
    return table
