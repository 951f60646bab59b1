"""The answer to a question, cut out of its context: cleaned, tokenized, read in windows, decoded."""

# N questions, W windows, T tokens of a row

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from modelmill.errors import UserError
from modelmill.models import text
from modelmill.models.questions import Decoder, Found, Window, windows
from modelmill.models.tokenizer import Tokenizer, load_tokenizer
from modelmill.text import clean
from modelmill.training.question_settings import Questions

ANSWER = np.dtype([("answer", object), ("score", np.float64), ("start", np.int64), ("end", np.int64)])
"""What a question is answered with: the text, '' for none; its probability; the characters of the context, -1 for
none, the first one and the one after the last."""

_WORD = re.compile(r"\w+|\W")


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A question's windows with the scores of every token."""

    windows: Sequence[Window]
    starts_C: npt.NDArray[Any]
    ends_C: npt.NDArray[Any]
    start_WT: list[npt.NDArray[Any]]
    end_WT: list[npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class QuestionPredictor:
    """A model that points at answers, with all that stands before its weights and behind them."""

    model: Any
    tokenizer: Tokenizer
    max_tokens: int
    decoder: Decoder
    labels: tuple[str, ...] = ()

    def predict(self, inputs: Sequence[Mapping[str, str]], batch_rows: int = 32) -> npt.NDArray[Any]:
        """Return the answer to each `question` about its `context`, as `ANSWER`; its characters are those given.

        Raises:
            UserError: an input is without a question or a context.
        """
        for one in inputs:
            missing = [name for name in ("question", "context") if not str(one.get(name) or "").strip()]
            if missing:
                raise UserError(f"a row has no {missing[0]}; each needs a question and a context that holds the answer")
        given = [(str(one["question"]), str(one["context"])) for one in inputs]
        cleaned = [(clean(question), clean(context)) for question, context in given]
        answers_N = np.empty(len(inputs), dtype=ANSWER)
        for number, (scored, (_, context), (_, raw)) in enumerate(
            zip(self.scores(cleaned, batch_rows), cleaned, given, strict=True)
        ):
            found = self.found(scored)
            start, end = found.start, found.end
            if start >= 0 and raw != context:
                start, end = _place_in(raw, context, start, end)
            answers_N[number] = (raw[start:end] if start >= 0 else "", found.score, start, end)
        return answers_N

    def found(self, scored: Scored) -> Found:
        """Return the best answer by a question's scores."""
        return self.decoder.answer(scored.windows, scored.start_WT, scored.end_WT, scored.starts_C, scored.ends_C)

    def scores(self, cleaned: Sequence[tuple[str, str]], batch_rows: int = 32) -> list[Scored]:
        """Return the scores of all windows over each clean question's clean context; rows of like length together."""
        asked = self.tokenizer.documents([question for question, _ in cleaned])
        placed = self.tokenizer.offsets([context for _, context in cleaned])
        made = [
            windows(question_ids, context_ids, self.tokenizer.special, self.max_tokens, self.decoder.questions)
            for question_ids, (context_ids, _, _) in zip(asked, placed, strict=True)
        ]
        rows = [window for of_one in made for window in of_one]
        scores: list[Any] = [None] * len(rows)
        by_length = sorted(range(len(rows)), key=lambda row: len(rows[row].ids_T))
        for start in range(0, len(rows), batch_rows):
            chosen = by_length[start : start + batch_rows]
            for row, pair in zip(chosen, self._batch([rows[row] for row in chosen]), strict=True):
                scores[row] = pair
        ends = np.cumsum([len(of_one) for of_one in made])
        return [
            Scored(
                windows=of_one,
                starts_C=starts_C,
                ends_C=ends_C,
                start_WT=[start_T for start_T, _ in scores[end - len(of_one) : end]],
                end_WT=[end_T for _, end_T in scores[end - len(of_one) : end]],
            )
            for of_one, (_, starts_C, ends_C), end in zip(made, placed, map(int, ends), strict=True)
        ]

    def _batch(self, rows: Sequence[Window]) -> list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
        from modelmill.training.spans import span_scores

        length_B = [len(row.ids_T) for row in rows]
        ids_BT = np.full((len(rows), max(length_B)), self.tokenizer.special["pad"], dtype=np.int64)
        for ids_T, row in zip(ids_BT, rows, strict=True):
            ids_T[: len(row.ids_T)] = row.ids_T
        real_BT = np.arange(ids_BT.shape[1]) < np.array(length_B)[:, None]
        device = self.model.device
        with torch.inference_mode():
            start_BT, end_BT = span_scores(
                self.model,
                torch.from_numpy(ids_BT).to(device),
                torch.from_numpy(real_BT).to(device),
                torch.tensor([row.body for row in rows], device=device),
            )
        starts, ends = start_BT.cpu().numpy(), end_BT.cpu().numpy()
        return [(starts[at, :length], ends[at, :length]) for at, length in enumerate(length_B)]


def _place_in(raw: str, cleaned: str, start: int, end: int) -> tuple[int, int]:
    """Return where characters of a cleaned text stand in the raw one; cleaning took characters out or changed some."""
    theirs, ours = _WORD.findall(raw), _WORD.findall(cleaned)
    ends_theirs, ends_ours = np.cumsum([0, *map(len, theirs)]), np.cumsum([0, *map(len, ours)])
    first, last = len(raw), 0
    for tag, a, b, c, d in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        low, high = int(ends_ours[a]), int(ends_ours[b])
        if max(low, start) >= min(high, end):
            continue
        left, right = int(ends_theirs[c]), int(ends_theirs[d])
        same = tag == "equal"
        first = min(first, left + max(start - low, 0) if same else left)
        last = max(last, left + min(end, high) - low if same else right)
    return (first, last) if first < last else (-1, -1)


def load(folder: Path, facts: Mapping[str, Any]) -> QuestionPredictor:
    """Load a model that answers questions from its folder, which `facts` describes.

    Raises:
        UserError: the folder holds no such model.
        KeyError: the facts lack something.
    """
    decoder = Decoder(questions=Questions.model_validate(facts["questions"]), unanswerable=bool(facts["unanswerable"]))
    max_tokens = int(facts["max_tokens"])
    model = text.load_spans(folder)
    if torch.cuda.is_available():
        model.to("cuda")
    model.eval()
    return QuestionPredictor(model=model, tokenizer=load_tokenizer(folder), max_tokens=max_tokens, decoder=decoder)
