"""Rows for question answering: windows to learn from, and whole questions to validate on."""

# N rows, B rows of a batch, Q questions of a batch, W windows of a question, T tokens of a row

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from modelmill.models.questions import Window, token_span, windows
from modelmill.training.data import Batch, LabelledBatches
from modelmill.training.question_settings import Questions

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question, as tokens and with what it is asked about."""

    windows: Sequence[Window]
    starts_C: Array
    """First character of each token of the context."""
    ends_C: Array
    """The character after the last of each."""
    context: str
    references: tuple[str, ...]
    """Right answers; none where there is no answer."""
    span: tuple[int, int] | None
    """First and last token of the first one."""
    cut: bool
    """Whether the question was longer than a row takes."""


def asked_of(table: pa.Table, special: dict[str, int], max_tokens: int, questions: Questions) -> list[Asked]:
    """Return the questions of a table of `question-tokens`."""
    made = []
    for row in zip(
        *(_arrays(table[name]) for name in _TOKENS), _contexts(table), table["answers"].to_pylist(), strict=True
    ):
        question_ids, context_ids, starts_C, ends_C, context, answers = row
        span = None
        if answers:
            first = answers[0]
            span = token_span(starts_C, ends_C, first["start"], first["start"] + len(first["text"]))
        made.append(
            Asked(
                windows=windows(question_ids, context_ids, special, max_tokens, questions),
                starts_C=starts_C,
                ends_C=ends_C,
                context=context,
                references=tuple(answer["text"] for answer in answers),
                span=span,
                cut=len(question_ids) > questions.max_question_tokens,
            )
        )
    return made


_TOKENS = ("question_ids", "context_ids", "context_starts", "context_ends")


def _arrays(column: pa.ChunkedArray) -> list[Array]:
    whole = column.combine_chunks()
    values = whole.flatten().to_numpy(zero_copy_only=False)
    return np.split(values, np.cumsum(whole.value_lengths().to_numpy(zero_copy_only=False))[:-1])


def _contexts(table: pa.Table) -> list[str]:
    contexts: list[str] = table["context"].to_pylist()
    return contexts


def window_batches(asked: Sequence[Asked], batch_rows: int, seed: int, pad: int) -> LabelledBatches:
    """Return every window as a row; one that does not hold the whole answer is to point at [CLS], as BERT learns it.

    A row's labels are the places of the answer's first and last token, and of the context's first token.
    """
    rows = [(window.ids_T, _labels(one, window)) for one in asked for window in one.windows]
    return LabelledBatches(
        ids=[ids_T for ids_T, _ in rows],
        labels_N=np.array([labels for _, labels in rows], dtype=np.int64),
        batch_rows=batch_rows,
        seed=seed,
        pad=pad,
    )


def _labels(asked: Asked, window: Window) -> tuple[int, int, int]:
    first, last = (window.place(token) for token in asked.span) if asked.span else (0, 0)
    return (first, last, window.body) if first and last else (0, 0, window.body)


def question_batches(asked: Sequence[Asked], batch_rows: int, pad: int) -> list[Batch]:
    """Return every question once with all its windows, those with few and short ones first.

    A batch holds about `batch_rows` windows: tensors are [Q, W, T], and a window that is none has no token.
    """
    order = sorted(range(len(asked)), key=lambda at: (len(asked[at].windows), len(asked[at].windows[0].ids_T), at))
    batches: list[Batch] = []
    chosen: list[int] = []
    for at in order:
        if chosen and (len(chosen) + 1) * len(asked[at].windows) > batch_rows:
            batches.append(_batch(asked, chosen, pad))
            chosen = []
        chosen.append(at)
    return [*batches, _batch(asked, chosen, pad)] if chosen else batches


def _batch(asked: Sequence[Asked], chosen: Sequence[int], pad: int) -> Batch:
    most = max(len(asked[at].windows) for at in chosen)
    longest = max(len(window.ids_T) for at in chosen for window in asked[at].windows)
    ids_QWT = np.full((len(chosen), most, longest), pad, dtype=np.int64)
    length_QW = np.zeros((len(chosen), most), dtype=np.int64)
    labels_QW3 = np.zeros((len(chosen), most, 3), dtype=np.int64)
    for place, at in enumerate(chosen):
        one = asked[at]
        for number, window in enumerate(one.windows):
            ids_QWT[place, number, : len(window.ids_T)] = window.ids_T
            length_QW[place, number] = len(window.ids_T)
            labels_QW3[place, number] = _labels(one, window)
    tensors = {
        "ids": torch.from_numpy(ids_QWT),
        "attention": torch.from_numpy(np.arange(longest) < length_QW[:, :, None]),
        "labels": torch.from_numpy(labels_QW3),
        "questions": torch.tensor(chosen),
    }
    return Batch(tensors=tensors, rows=len(chosen), tokens=int(length_QW.sum()))
