"""Rows with more than one text: what a task reads beside the first one, cleaned as that one is.

A row's id is that of all its texts together; the answers to a question are no part of it, so that a question that is
asked twice is one row. Rows with the same first text (of questions: the same context) belong together, nearly equal
first texts do, and pairs that are each other turned round: they are all kept, in one split.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.ingest.answers import ANSWERS, found_again, read_answers
from components.ingest.text.personal import Personal, mask
from components.ingest.text.repair import repair
from components.ingest.work_parts import Batch, Dropped
from modelmill.text import clean

# Between two fields of a row; cleaning leaves no control character in any of them.
_BETWEEN = "\x1e"


@dataclass(frozen=True, kw_only=True)
class Fields:
    """What a task's labelled rows hold beside their first text."""

    texts: tuple[str, ...]
    """Names of further texts."""
    answers: bool = False
    """Whether there are answers, which stand in the first text."""
    either_way: bool = False
    """Whether the first text and the other one may change places."""

    @property
    def columns(self) -> pa.Schema:
        """The columns beside `text`."""
        answers = [pa.field("answers", ANSWERS)] if self.answers else []
        return pa.schema([*(pa.field(name, pa.large_string()) for name in self.texts), *answers])

    @property
    def names(self) -> tuple[str, ...]:
        """The names of those columns."""
        return (*self.texts, *(["answers"] if self.answers else []))


FIELDS: Mapping[str, Fields] = {
    "pair-classification": Fields(texts=("pair",), either_way=True),
    "sequence-to-sequence": Fields(texts=("target",)),
    "question-answering": Fields(texts=("question",), answers=True),
}
"""By task."""


@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """How further texts are cleaned."""

    repair: bool
    max_chars: int
    personal: Personal


def cleaned(
    fields: Fields, how: Cleaning, batch: Batch, raw: Mapping[int, str], dropped: Dropped, masked: Counter[str]
) -> Batch:
    """Return the rows whose further fields are good, cleaned; `raw` are the first texts as they stood there, by number.

    A row without one of the texts is `missing_<name>`, one that is too long `too_long`, and one whose answers are not
    where it says, or not there any more once the text is clean, `answer_not_in_context` or `answer_lost`.
    """
    others: dict[str, list[Any]] = {name: list(batch.others[name]) for name in fields.names}
    good = list(range(len(batch.numbers)))
    for name in fields.texts:
        good = [place for place in good if _is_text(name, batch, place, dropped)]
        values = [others[name][place] for place in good]
        if how.repair:
            values, _ = repair(values)
        values = [clean(value) for value in values]
        if how.personal.action != "keep":
            found = mask(values, how.personal)
            values, hit = found.texts, set(np.flatnonzero(found.hit).tolist())
            masked.update({str(kind): count for kind, count in found.counts.items()})
        else:
            hit = set()
        kept = []
        for number, (place, value) in enumerate(zip(good, values, strict=True)):
            others[name][place] = value
            if not value:
                dropped.add(batch.numbers[place], f"missing_{name}", batch.texts[place], f"{name} is empty")
            elif len(value) > how.max_chars:
                said = f"{name} has {len(value)} characters after cleaning, max_chars is {how.max_chars}"
                dropped.add(batch.numbers[place], "too_long", batch.texts[place], said)
            elif number in hit and how.personal.action == "drop":
                said = f"in {name}; ingest.labelled_personal.action is drop"
                dropped.add(batch.numbers[place], "personal_data", batch.texts[place], said)
            else:
                kept.append(place)
        good = kept
    if fields.answers:
        good = _answered(others["answers"], batch, raw, good, dropped, how)
    chosen = {name: [values[place] for place in good] for name, values in others.items()}
    return replace(batch.chosen(good), others=chosen)


def _is_text(name: str, batch: Batch, place: int, dropped: Dropped) -> bool:
    value = batch.others[name][place]
    if isinstance(value, str):
        return True
    number, text = batch.numbers[place], batch.texts[place]
    if value is None:
        dropped.add(number, f"missing_{name}", text, f"{name} is null, or no such key")
    elif isinstance(value, bytes):
        dropped.add(number, "invalid_encoding", text, f"{name} is not UTF-8")
    else:
        dropped.add(number, "wrong_type", text, f"{name} is of type {type(value).__name__}, not text")
    return False


def _answered(
    answers: list[Any], batch: Batch, raw: Mapping[int, str], good: Sequence[int], dropped: Dropped, how: Cleaning
) -> list[int]:
    kept = []
    for place in good:
        number = batch.numbers[place]
        read, reason, said = read_answers(answers[place], raw[number])
        if not reason:
            context = batch.texts[place]
            read, reason, said = found_again(read, raw[number], context, repaired=how.repair, personal=how.personal)
        if reason:
            dropped.add(number, reason, batch.texts[place], said)
        else:
            answers[place] = [{"text": text, "start": start} for text, start in read]
            kept.append(place)
    return kept


def joined(batch: Batch, fields: Fields) -> list[str]:
    """Return each row as one text, by which it is told from others."""
    parts = [batch.texts, *(batch.others[name] for name in fields.texts)]
    return [_BETWEEN.join(row) for row in zip(*parts, strict=True)]


def first_text_hashes(texts: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Return a hash of each text, never 0, by which rows with the same one meet."""
    return np.array(
        [int.from_bytes(sha256(b"text:" + text.encode()).digest()[:8], "big") or 1 for text in texts], dtype=np.uint64
    )


def either_way_hashes(one: Sequence[str], other: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Return a hash of each pair of texts, by which it meets the same pair turned round."""
    return first_text_hashes([_BETWEEN.join(sorted(pair)) for pair in zip(one, other, strict=True)])


def payload_columns(fields: Fields, batch: Batch) -> list[pa.Array]:
    """Return the further columns; of a batch that has no such fields, as a corpus has none, nothing in them."""
    count = len(batch.texts)
    return [
        pa.array(batch.others[column.name], column.type) if batch.others else pa.nulls(count, column.type)
        for column in fields.columns
    ]
