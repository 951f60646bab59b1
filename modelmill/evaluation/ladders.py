"""The strengths at which inputs are changed to see how robust a model is, and what each change does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

TextChange = Literal["typos", "truncation", "case"]
PictureChange = Literal["noise", "blur", "brightness", "rotation"]
TableChange = Literal["noise", "missing"]
Change = Literal[TextChange, PictureChange, TableChange, "fgsm"]
"""`fgsm`: one step of the fast gradient sign method, which no input takes by chance."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """How strong a change is."""

    strength: float
    """0 for none; in the change's own unit."""
    word: str
    """As a plot says it."""


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """A change, and the strengths at which it is made."""

    change: Change
    said: str
    """What is done, in a sentence."""
    unit: str
    """What the levels' words measure."""
    levels: tuple[Level, ...]


# Severities 1 to 5 of Hendrycks and Dietterich 2019 (arXiv:1903.12261), as their published code has them: those of
# CIFAR-10-C for pictures of 32 pixels a side, those of ImageNet-C for 224.
_SMALL_SIDE, _LARGE_SIDE, _MOST_SMALL = 32, 224, 64
_SMALL: Mapping[PictureChange, tuple[float, ...]] = {
    "noise": (0.04, 0.06, 0.08, 0.09, 0.10),
    "blur": (0.4, 0.6, 0.7, 0.8, 1.0),
    "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
}
_LARGE: Mapping[PictureChange, tuple[float, ...]] = {
    "noise": (0.08, 0.12, 0.18, 0.26, 0.38),
    "blur": (1.0, 2.0, 3.0, 4.0, 6.0),
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),
}
# 30 degrees either way is the range of Engstrom et al. 2019 (arXiv:1712.02779).
_DEGREES = (5.0, 10.0, 15.0, 20.0, 30.0)
_TYPOS = (0.02, 0.05, 0.1, 0.2)
_CUT = (0.25, 0.5, 0.75)
# Of 255 values of a pixel; 8 is the usual bound on what a person does not see.
_STEPS = (1, 2, 4, 8, 16)
_VECTOR_STEPS = (0.05, 0.1, 0.25, 0.5)
_FGSM = "The fast gradient sign method (arXiv:1412.6572): every {} moves by one step to where the loss rises"
_DEVIATIONS = (0.1, 0.25, 0.5, 1.0)
_MISSING = (0.05, 0.1, 0.25, 0.5)


def text_ladders(changes: Sequence[str]) -> list[Ladder]:
    """Return those of the changes to texts that are asked for."""
    known = {
        "typos": Ladder(
            change="typos",
            said="Letters are replaced by a neighbour on a QWERTY keyboard, swapped with the next one, or dropped",
            unit="share of letters mistyped",
            levels=tuple(Level(strength=rate, word=f"{100 * rate:g} %") for rate in _TYPOS),
        ),
        "truncation": Ladder(
            change="truncation",
            said="The end of each text is cut off",
            unit="share of words kept",
            levels=tuple(Level(strength=cut, word=f"{100 * (1 - cut):g} %") for cut in _CUT),
        ),
        "case": Ladder(
            change="case",
            said="All letters are written small, or large",
            unit="case",
            levels=(Level(strength=-1.0, word="lower"), Level(strength=1.0, word="upper")),
        ),
    }
    return [known[name] for name in known if name in changes]


def picture_ladders(changes: Sequence[str], side: int) -> list[Ladder]:
    """Return those of the changes to pictures that are asked for, for pictures of so many pixels a side."""
    small = side <= _MOST_SMALL
    table, reference = (_SMALL, _SMALL_SIDE) if small else (_LARGE, _LARGE_SIDE)
    source = "CIFAR-10-C" if small else "ImageNet-C"

    def ladder(change: PictureChange, said: str, unit: str, scale: float = 1.0) -> Ladder:
        levels = tuple(Level(strength=scale * each, word=f"{scale * each:.2g}") for each in table[change])
        return Ladder(change=change, said=f"{said}; severities 1 to 5 of {source}", unit=unit, levels=levels)

    known = {
        "noise": ladder("noise", "Gaussian noise is added to every value", "deviation of the noise, of a range of 1"),
        "blur": ladder(
            "blur",
            f"A Gaussian blur, its deviation scaled from {reference} pixels a side to {side}",
            "deviation of the blur, in pixels",
            side / reference,
        ),
        "brightness": ladder("brightness", "The value (of hue, saturation, value) is raised", "added, of a range of 1"),
        "rotation": Ladder(
            change="rotation",
            said="Pictures are turned about their middle, to the left or to the right; the edge's pixels fill what "
            "comes into view",
            unit="angle",
            levels=tuple(Level(strength=degrees, word=f"{degrees:g}°") for degrees in _DEGREES),
        ),
        "fgsm": Ladder(
            change="fgsm",
            said=_FGSM.format("pixel"),
            unit="step, of a range of 1",
            levels=tuple(Level(strength=step / 255, word=f"{step}/255") for step in _STEPS),
        ),
    }
    return [known[name] for name in known if name in changes]


def table_ladders(changes: Sequence[str]) -> list[Ladder]:
    """Return those of the changes to a table's rows that are asked for."""
    known = {
        "noise": Ladder(
            change="noise",
            said="Gaussian noise is added to every number",
            unit="deviation of the noise, in the column's",
            levels=tuple(Level(strength=each, word=f"{each:g}") for each in _DEVIATIONS),
        ),
        "missing": Ladder(
            change="missing",
            said="Numbers are taken away at random",
            unit="share of numbers missing",
            levels=tuple(Level(strength=share, word=f"{100 * share:g} %") for share in _MISSING),
        ),
        "fgsm": Ladder(
            change="fgsm",
            said=_FGSM.format("number, as the network sees it once it is scaled,"),
            unit="step, in scaled units",
            levels=tuple(Level(strength=step, word=f"{step:g}") for step in _VECTOR_STEPS),
        ),
    }
    return [known[name] for name in known if name in changes]


_BY_CLASS: Mapping[str, tuple[str, ...]] = {
    "text": get_args(TextChange),
    "image": (*get_args(PictureChange), "fgsm"),
    "table": (*get_args(TableChange), "fgsm"),
}
EXPLAINED = (
    "text-classification", "pair-classification", "image-classification", "table-classification", "table-regression",
)  # fmt: skip
"""The tasks whose answers are one label or number, which can be shared out among the parts of an input."""
CHANGES: Mapping[str, tuple[str, ...]] = {
    "text-classification": _BY_CLASS["text"],
    "pair-classification": _BY_CLASS["text"],
    "question-answering": _BY_CLASS["text"],
    "sequence-to-sequence": _BY_CLASS["text"],
    "image-classification": _BY_CLASS["image"],
    "table-classification": _BY_CLASS["table"],
    "table-regression": _BY_CLASS["table"],
}
"""What may be done to the inputs of a task."""
