"""Questions and contexts as rows of tokens, and answers from the scores of those rows. Needs no torch.

A row is [CLS] question [SEP] part of the context [SEP]; an answer is cut out of the context by character offsets.
"""

# T tokens of a row, C tokens of a context, W windows of a question, L lengths that an answer may have

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from modelmill.training.question_settings import Questions, window_room

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Window:
    """A row that a model reads, and which part of the context it holds."""

    ids_T: Array
    body: int
    """Place of the context's first token in the row; the question and its [SEP] are before it."""
    first: int
    """Number of that token in the whole context."""
    length: int
    """Tokens of the context in the row."""

    def place(self, token: int) -> int:
        """Return where a token of the context stands in the row, 0 (which is [CLS]) where it is not in it."""
        inside = token - self.first
        return self.body + inside if 0 <= inside < self.length else 0


def windows(
    question_ids: Array, context_ids: Array, special: Mapping[str, int], max_tokens: int, questions: Questions
) -> list[Window]:
    """Return the rows over a context, at least one; together they hold every token of it."""
    asked = question_ids[: questions.max_question_tokens]
    room = window_room(questions, max_tokens, len(asked))
    assert room > questions.stride, "settings are checked before data are read"
    head = np.concatenate([[special["cls"]], asked, [special["sep"]]]).astype(context_ids.dtype)
    tail = np.array([special["sep"]], dtype=context_ids.dtype)
    made = []
    for first in _starts(len(context_ids), room, questions.stride):
        part_C = context_ids[first : first + room]
        made.append(Window(ids_T=np.concatenate([head, part_C, tail]), body=len(head), first=first, length=len(part_C)))
    return made


def _starts(length: int, room: int, stride: int) -> Iterator[int]:
    first = 0
    while True:
        yield first
        if first + room >= length:
            return
        first += room - stride


def token_span(starts_C: Array, ends_C: Array, start: int, end: int) -> tuple[int, int] | None:
    """Return the first and the last token that hold characters from `start` to before `end`; None where none does."""
    first = int(np.searchsorted(ends_C, start, side="right"))
    last = int(np.searchsorted(starts_C, end, side="left")) - 1
    return (first, last) if first <= last else None


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a question is answered with."""

    start: int
    """First character in the context, -1 without an answer."""
    end: int
    """The character after the last, -1 without an answer."""
    score: float
    """Probability among the best spans of all windows, and having no answer where that may be."""

    def text(self, context: str) -> str:
        """Return the answer as it stands in the context."""
        return context[self.start : self.end] if self.start >= 0 else ""


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """From the scores of a question's windows to its answer."""

    questions: Questions
    unanswerable: bool
    """Whether there may be no answer, as some question of the training rows had none."""

    def answer(
        self,
        found: Sequence[Window],
        start_WT: Sequence[Array],
        end_WT: Sequence[Array],
        starts_C: Array,
        ends_C: Array,
    ) -> Found:
        """Return the best span over all windows of one question, each with a score for every place of its row."""
        scores: dict[tuple[int, int], float] = {}
        null = np.inf
        for window, start_T, end_T in zip(found, start_WT, end_WT, strict=True):
            # A question has no answer where none of its windows holds one: the least sure of them decides.
            null = min(null, float(start_T[0]) + float(end_T[0]))
            for span, score in self._best(window, start_T, end_T):
                scores[span] = max(score, scores.get(span, -np.inf))
        spans = sorted(scores, key=lambda span: (-scores[span], span))[: self.questions.n_best]
        if not spans:
            return Found(start=-1, end=-1, score=1.0)
        best = scores[spans[0]]
        all_scores = np.array([scores[span] for span in spans] + ([null] if self.unanswerable else []))
        share = np.exp(all_scores - all_scores.max())
        share /= share.sum()
        if self.unanswerable and null - best > self.questions.null_threshold:
            return Found(start=-1, end=-1, score=float(share[-1]))
        first, last = spans[0]
        return Found(start=int(starts_C[first]), end=int(ends_C[last]), score=float(share[0]))

    def _best(self, window: Window, start_T: Array, end_T: Array) -> list[tuple[tuple[int, int], float]]:
        """Return the best spans of one window, as numbers of tokens in the whole context, with their scores."""
        body = slice(window.body, window.body + window.length)
        start_C, end_C = start_T[body].astype(np.float64), end_T[body].astype(np.float64)
        longest = min(self.questions.max_answer_tokens, window.length)
        if not longest:
            return []
        score_CL = np.full((window.length, longest), -np.inf)
        for more in range(longest):
            score_CL[: window.length - more, more] = start_C[: window.length - more] + end_C[more:]
        flat = score_CL.ravel()
        count = min(self.questions.n_best, int(np.isfinite(flat).sum()))
        chosen: list[int] = np.argpartition(-flat, count - 1)[:count].tolist() if count else []
        return [
            ((window.first + at // longest, window.first + at // longest + at % longest), float(flat[at]))
            for at in chosen
        ]
