"""Seeded changes to what a model is asked, each at stated strengths: how does it fare where inputs are not clean?

Of a strength of 0 everything stays as it is. What is drawn depends on the row alone, so that the same rows are changed
alike whatever is asked beside them, and a stronger change goes on from a weaker one. Needs no torch.
"""

# H rows, W columns, C channels of a picture

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelmill.digest import sha256_hex
from modelmill.evaluation.ladders import Change

Pixels = NDArray[np.uint8]
_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
# How far the rows of a keyboard begin to the right of the first one, in keys.
_INDENT = (0.0, 0.25, 0.75)
# Letters of the scripts that put no space between words: Thai, Lao, Burmese, Khmer, kana, Han.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


def chance_of(change: str, row: str, seed: int = 0) -> np.random.Generator:
    """Return the source of chance of one change to the row of an id, the same at every strength."""
    return np.random.default_rng(int(sha256_hex(f"{seed}/{change}/{row}")[:16], 16))


def changed_text(text: str, change: Change, strength: float, chance: np.random.Generator) -> str:
    """Return a text changed; never a longer one, and never one of white space alone out of one with words."""
    if change == "case":
        return cased(text, strength)
    return typos(text, strength, chance) if change == "typos" else truncated(text, strength)


def typos(text: str, rate: float, chance: np.random.Generator) -> str:
    """Return a text in which a share of the letters is mistyped: at most that share of them, rounded up.

    A letter of QWERTY becomes a neighbour, changes places with the next letter, or is dropped; of other scripts a
    letter does one of the last two. A text of one letter stays.
    """
    signs = list(text)
    letters = [place for place, sign in enumerate(signs) if sign.isalpha()]
    count = int(rate * len(letters) + chance.random()) if rate else 0
    chosen = chance.permutation(len(letters))
    kind_L, pick_L = chance.random(len(letters)), chance.random(len(letters))
    for number in chosen[: min(count, len(letters) - 1)].tolist():
        place = letters[number]
        near = _NEAR.get(signs[place].lower(), "")
        then = place + 1
        if near and kind_L[number] < 1 / 3:
            key = near[int(pick_L[number] * len(near))]
            signs[place] = key.upper() if signs[place].isupper() else key
        elif kind_L[number] < 2 / 3 and then < len(signs) and signs[then].isalpha():
            signs[place], signs[then] = signs[then], signs[place]
        else:
            signs[place] = ""
    return "".join(signs)


def truncated(text: str, cut: float) -> str:
    """Return the beginning of a text without a share of its words, at least one; of its signs where none are spaced."""
    if not cut or not text.strip():
        return text
    if unspaced(text):
        return text[: max(1, math.ceil((1 - cut) * len(text)))].strip() or text.strip()[:1]
    words = list(re.finditer(r"\S+", text))
    kept = max(1, math.ceil((1 - cut) * len(words)))
    return text[: words[kept - 1].end()]


def cased(text: str, strength: float) -> str:
    """Return a text in small letters (below 0) or large ones (above); a letter that would become two stays."""
    if not strength:
        return text
    signs = ((sign, sign.upper() if strength > 0 else sign.lower()) for sign in text)
    return "".join(other if len(other) == 1 else sign for sign, other in signs)


def unspaced(text: str) -> bool:
    """Return whether most letters of a text are of scripts that put no space between words."""
    return 2 * len(_UNSPACED.findall(text)) > sum(map(str.isalpha, text))


def hindrance(change: Change, texts: Sequence[str]) -> str:
    """Return what of a change does not apply to these texts, in a sentence; '' where all does."""
    without = sum(map(unspaced, texts))
    share = f"{without:,} of {len(texts):,} texts"
    if change == "case":
        plain = sum(text.lower() == text.upper() for text in texts)
        if plain == len(texts):
            return "Not applicable: no text has letters that are small or large."
        return f"{plain:,} of {len(texts):,} texts have no letters that are small or large, and stay." if plain else ""
    if not without:
        return ""
    if change == "truncation":
        return f"{share} are in scripts without spaces: of those signs are counted, not words."
    return f"{share} are in scripts that no QWERTY keyboard writes: of those letters are swapped and dropped only."


def changed_pixels(pixels: Pixels, change: Change, strength: float, chance: np.random.Generator) -> Pixels:
    """Return a picture's pixels [H, W, C] changed."""
    if not strength:
        return pixels
    if change == "noise":
        return _bytes(pixels / 255 + strength * chance.normal(size=pixels.shape))
    if change == "brightness":
        return brightened(pixels, strength)
    from scipy import ndimage

    if change == "blur":
        # As scikit-image's `gaussian` does it, which the source uses.
        return _bytes(ndimage.gaussian_filter(pixels / 255, (strength, strength, 0), mode="nearest", truncate=4.0))
    degrees = strength if chance.random() < 0.5 else -strength
    return _bytes(ndimage.rotate(pixels / 255, degrees, reshape=False, order=1, mode="nearest"))


def brightened(pixels: Pixels, by: float) -> Pixels:
    """Return pixels [H, W, C] with a higher value, of hue, saturation and value; of grey ones the value is the grey."""
    plain = pixels / 255
    value_HW1 = plain.max(axis=2, keepdims=True)
    raised_HW1 = np.clip(value_HW1 + by, 0, 1)
    # Colours of one hue and saturation are multiples of each other; black has none and becomes grey.
    factor_HW1 = np.divide(raised_HW1, value_HW1, out=np.zeros_like(value_HW1), where=value_HW1 > 0)
    return _bytes(np.where(value_HW1 > 0, plain * factor_HW1, raised_HW1))


def png(pixels: Pixels) -> bytes:
    """Return the file of a picture's pixels [H, W, C], of one channel or three."""
    from PIL import Image

    file = io.BytesIO()
    # Little compression: the file is read at once.
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def changed_row(
    row: Mapping[str, Any],
    change: Change,
    strength: float,
    deviations: Mapping[str, float],
    chance: np.random.Generator,
) -> dict[str, Any]:
    """Return a table's row changed in its columns of numbers, whose deviations are given by name."""
    made = dict(row)
    for name in sorted(deviations):
        drawn = chance.normal() if change == "noise" else chance.random()
        if row.get(name) is None:
            continue
        if change == "noise":
            made[name] = row[name] + strength * deviations[name] * drawn
        elif drawn < strength:
            made[name] = None
    return made


def deviations_of(rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, str]) -> dict[str, float]:
    """Return the deviation of each column of numbers over rows, by name; 0 where all values are the same or none is."""
    found = {}
    for name, kind in kinds.items():
        if kind in {"number", "integer"}:
            values = np.array([row[name] for row in rows if row.get(name) is not None], dtype=np.float64)
            values = values[np.isfinite(values)]
            found[name] = float(values.std()) if len(values) else 0.0
    return found


def _bytes(plain: NDArray[np.float64]) -> Pixels:
    return np.rint(np.clip(plain, 0, 1) * 255).astype(np.uint8)


def _neighbours() -> dict[str, str]:
    places = {
        key: (place + indent, row)
        for row, (keys, indent) in enumerate(zip(_KEYS, _INDENT, strict=True))
        for place, key in enumerate(keys)
    }
    return {
        key: "".join(other for other, there in places.items() if other != key and math.dist(at, there) < 1.3)
        for key, at in places.items()
    }


_NEAR = _neighbours()
