"""What a served model takes and answers, by its task: one for MLflow's signature, its server, and the command line.

Needs no torch: models are registered where there is none.
"""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from modelmill.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

_KINDS: Mapping[str, str] = {"number": "double", "integer": "double", "boolean": "boolean"}
"""MLflow's type of a feature; all others are strings. Integers are doubles, so that they may be missing."""


@dataclass(frozen=True, kw_only=True)
class Interface:
    """The columns that a served model takes, and whether it answers a class or a number."""

    columns: Mapping[str, str]
    """MLflow's type by name."""
    optional: bool
    """Whether a value may be missing."""
    classes: bool
    """Whether it answers a label with probabilities, or a number."""
    inputs: Callable[["pd.DataFrame"], list[Any]]
    """From rows of those columns to what a predictor is asked."""
    given: Callable[[Any], dict[str, Any]]
    """From what a predictor is asked to the values of those columns: the way back, for an example."""
    text: str = ""
    """Name of the text that it answers with, where it answers neither a class nor a number."""
    record: Mapping[str, str] = field(default_factory=dict)
    """MLflow's type of each thing that it answers with, by name, where there are several."""


def interface(facts: Mapping[str, Any]) -> Interface:
    """Return what a model takes and answers, from what its `modelmill.json` says.

    Raises:
        UserError: it is for a task that answers nothing.
    """
    task = str(facts["task"])
    make = _TASKS.get(task)
    if make is None:
        raise UserError(f"a model for {task} answers no rows; those for {', '.join(_TASKS)} do")
    return make(facts)


def answers(labels: Sequence[str], predicted: npt.NDArray[Any], text: str = "") -> list[dict[str, Any]]:
    """Return label, probability and every label's probability of each row [N, L], or the number of each [N].

    With `text`, the name of a text, each row's text [N]; of records [N], their fields.
    """
    if predicted.dtype.names is not None:
        return [dict(zip(predicted.dtype.names, record, strict=True)) for record in predicted.tolist()]
    if text:
        return [{text: str(value)} for value in predicted]
    if not labels:
        return [{"prediction": float(value)} for value in predicted]
    best_N = predicted.argmax(axis=1)
    return [
        {
            "label": labels[best],
            "probability": float(row_L[best]),
            "probabilities": dict(zip(labels, map(float, row_L), strict=True)),
        }
        for best, row_L in zip(best_N.tolist(), predicted, strict=True)
    ]


def _text(_facts: Mapping[str, Any]) -> Interface:
    return Interface(
        columns={"text": "string"},
        optional=False,
        classes=True,
        inputs=lambda frame: [str(text) for text in frame["text"]],
        given=lambda text: {"text": text},
    )


def _pair(facts: Mapping[str, Any]) -> Interface:
    names = ("text", "pair")

    def inputs(frame: "pd.DataFrame") -> list[Any]:
        return [dict(zip(names, map(str, row), strict=True)) for row in frame[[*names]].itertuples(index=False)]

    return replace(_text(facts), columns=dict.fromkeys(names, "string"), inputs=inputs, given=dict)


def _masked(facts: Mapping[str, Any]) -> Interface:
    # A text as it comes from a corpus has nothing to fill in.
    return replace(_text(facts), classes=False, text="filled", given=lambda text: {"text": f"{text} [MASK]"})


def _first_word(text: str) -> dict[str, Any]:
    return {"text": next((word for word in text.split() if word.isalpha()), text)}


def _question(_facts: Mapping[str, Any]) -> Interface:
    columns = {"question": "string", "context": "string"}
    return Interface(
        columns=columns,
        optional=False,
        classes=False,
        inputs=lambda frame: [dict(zip(columns, map(str, row), strict=True)) for row in frame[[*columns]].to_numpy()],
        given=lambda row: {name: row[name] for name in columns},
        record={"answer": "string", "score": "double", "start": "long", "end": "long"},
    )


def _image(_facts: Mapping[str, Any]) -> Interface:
    return Interface(
        columns={"image": "binary"},
        optional=False,
        classes=True,
        inputs=lambda frame: [picture_bytes(value) for value in frame["image"]],
        given=lambda image: {"image": image},
    )


def picture_bytes(value: Any) -> bytes:
    """Return a picture's bytes, which come as base64 where JSON carried them.

    Raises:
        UserError: it is neither bytes nor base64.
    """
    if isinstance(value, bytes):
        return value
    try:
        return base64.b64decode(str(value), validate=True)
    except binascii.Error as error:
        raise UserError(f"image: neither bytes nor base64 ({error}); send a picture's file") from error


def _table(facts: Mapping[str, Any]) -> Interface:
    kinds: Mapping[str, str] = facts["features"]

    def inputs(frame: "pd.DataFrame") -> list[Any]:
        rows = frame.astype(object).where(frame.notna(), None)
        return [dict(zip(rows.columns, row, strict=True)) for row in rows.itertuples(index=False)]

    return Interface(
        columns={name: _KINDS.get(kind, "string") for name, kind in kinds.items()},
        optional=True,
        classes="labels" in facts,
        inputs=inputs,
        given=_typed,
    )


def _typed(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dataset's row in the types that are served: dates as texts, integers as doubles."""
    plain = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
    return {name: float(value) if type(value) is int else value for name, value in plain.items()}


_TASKS: Mapping[str, Callable[[Mapping[str, Any]], Interface]] = {
    "text-classification": _text,
    "question-answering": _question,
    "pair-classification": _pair,
    "sequence-to-sequence": lambda facts: replace(_text(facts), classes=False, text="answer"),
    "image-classification": _image,
    "causal-lm": lambda facts: replace(_text(facts), classes=False, text="continuation"),
    "masked-lm": _masked,
    "word-embeddings": lambda facts: replace(_text(facts), classes=False, text="nearest", given=_first_word),
    "table-classification": _table,
    "table-regression": _table,
}
