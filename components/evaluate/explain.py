"""Which tokens, pixels or columns moved a few answers, right ones and wrong ones."""

# N rows, T tokens, F numbers of a vector; H rows, W columns of a picture

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal

import numpy as np

from components.evaluate.rows import shown
from components.evaluate.subject import Subject
from modelmill.evaluation.plots import amount
from modelmill.evaluation.probes import Case, Explanations, Moved
from modelmill.models import attribution
from modelmill.models.attribution import Attribution, Weights
from modelmill.models.image_predictor import ImagePredictor
from modelmill.models.segment import segmented
from modelmill.models.table_predictor import TablePredictor
from modelmill.models.text_predictor import PAIR, TextPredictor
from modelmill.models.tokenizer import Tokenizer, pair_lengths
from modelmill.pictures.overlay import data_uri, overlay
from modelmill.step import Step
from modelmill.text import clean

Kind = Literal["text", "picture", "table"]

# Columns of a row that are told.
_COLUMNS = 12
_ODDS = "log-odds of the answer against all others, in nats"
_BLANK: Mapping[type, tuple[Kind, str]] = {
    TextPredictor: ("text", "the same text with every token masked (or padding, where the model knows no mask)"),
    ImagePredictor: ("picture", "a picture of one colour, the mean of the training pictures"),
    TablePredictor: ("table", "a row of which nothing is known: what takes the place of missing values"),
}


def explanations_of(step: Step, count: int, subject: Subject) -> Explanations:
    """Return what moved so many answers: half of them wrong (the surest, or the farthest off), the others right."""
    cases = []
    rows = chosen(subject, count)
    for number, row in enumerate(rows):
        step.check_stop()
        step.progress("explaining answers", number, len(rows), "answers")
        cases.append(_case(subject, row))
    step.progress("explaining answers", len(rows), len(rows), "answers")
    kind, blank = _BLANK[type(subject.predictor)]
    return Explanations(
        kind=kind,
        unit=_ODDS if subject.labels else subject.target,
        blank=blank,
        cases=tuple(cases),
    )


def chosen(subject: Subject, count: int) -> list[int]:
    """Return the rows to explain, wrong ones first; of numbers the nearest to the truth count as right."""
    if not subject.labels:
        far = np.argsort(-np.abs(subject.answers - subject.truth), kind="stable").tolist()
        count = min(count, len(far))
        wrong = count // 2
        return [*far[:wrong], *far[::-1][: count - wrong]]
    predicted_N = subject.answers.argmax(axis=1)
    sure_N = subject.answers.max(axis=1)
    mistakes = np.flatnonzero(predicted_N != subject.truth)
    # Stable: of equal probabilities the first row, whatever the sorting algorithm.
    wrong_rows = mistakes[np.argsort(-sure_N[mistakes], kind="stable")].tolist()
    # Rows are in the order of a hash: the first ones are a fair sample.
    right_rows = np.flatnonzero(predicted_N == subject.truth).tolist()
    wrong = min(len(wrong_rows), max(count // 2, count - len(right_rows)))
    return [*wrong_rows[:wrong], *right_rows[: count - wrong]]


def _case(subject: Subject, row: int) -> Case:
    asked, answer = subject.inputs[row], subject.answers[row]
    label = int(answer.argmax()) if subject.labels else None
    if isinstance(subject.predictor, ImagePredictor):
        assert label is not None
        found = attribution.of_picture(subject.predictor, asked, label)
        pixels_HWC = subject.predictor.pixels([asked])[0]
        more: dict[str, Any] = {
            "picture": data_uri(pixels_HWC),
            "overlay": data_uri(overlay(pixels_HWC, found.weights)),
        }
    elif isinstance(subject.predictor, TablePredictor):
        found = attribution.of_row(subject.predictor, asked, label)
        more = {"parts": _columns(subject.predictor, asked, found)}
    else:
        assert label is not None
        found = attribution.of_text(subject.predictor, asked, label)
        more = {"parts": _weighed(_tokens(subject.predictor, asked, found.weights))}
    return Case(
        id=subject.ids[row],
        **_answered(subject, row, label),
        moved=_short(found.moved),
        delta=_short(found.delta),
        steps=found.steps,
        converged=found.converged,
        **more,
    )


def _answered(subject: Subject, row: int, label: int | None) -> dict[str, Any]:
    truth, answer = subject.truth[row], subject.answers[row]
    if label is not None:
        return {
            "right": label == int(truth),
            "truth": subject.labels[int(truth)],
            "answer": subject.labels[label],
            "probability": round(float(answer[label]), 6),
        }
    middle = float(np.median(np.abs(subject.answers - subject.truth)))
    return {
        "right": abs(float(answer - truth)) <= middle,
        "truth": amount(float(truth)),
        "answer": amount(float(answer)),
    }


def _columns(predictor: TablePredictor, asked: dict[str, Any], found: Attribution) -> tuple[Moved, ...]:
    parts, start = [], 0
    for column in predictor.transforms.columns:
        end = start + len(column.names)
        parts.append((column.name, shown(asked.get(column.name)), float(found.weights[start:end].sum())))
        start = end
    parts.sort(key=lambda part: -abs(part[2]))
    return _weighed(parts[:_COLUMNS])


def _tokens(predictor: TextPredictor, asked: Any, weights_T: Weights) -> list[tuple[str, str, float]]:
    """Return the pieces of what was read, each with what it did; what was cut off is an ellipsis that did nothing."""
    if not predictor.pairs:
        return _pieces(predictor.tokenizer, clean(asked), weights_T[1:-1])
    texts = [clean(str(asked[name])) for name in PAIR]
    lengths = [len(each) for each in predictor.tokenizer.documents(texts)]
    keep, keep_pair = pair_lengths(lengths[0], lengths[1], predictor.max_tokens)
    first, second = weights_T[1 : 1 + keep], weights_T[2 + keep : 2 + keep + keep_pair]
    between = ("  |  ", "", 0.0)
    return [
        *_pieces(predictor.tokenizer, texts[0], first), between, *_pieces(predictor.tokenizer, texts[1], second)
    ]  # fmt: skip


def _pieces(tokenizer: Tokenizer, text: str, weights_T: Weights) -> list[tuple[str, str, float]]:
    starts, last = _places(tokenizer, text)
    pieces, begin, waiting = [], 0, 0.0
    # White space belongs to the piece before it.
    for end, weight in zip([*starts[1:], last], weights_T.tolist(), strict=False):
        waiting += weight
        # Of one sign there may be several tokens, at one place.
        if end > begin:
            pieces.append((text[begin:end], "", waiting))
            begin, waiting = end, 0.0
    if len(weights_T) < len(starts):
        pieces.append(("…", "", 0.0))
    return pieces


def _places(tokenizer: Tokenizer, text: str) -> tuple[list[int], int]:
    """Return where each token starts in a text, and where the last one ends."""
    if not tokenizer.segment:
        ((_, start_T, end_T),) = tokenizer.offsets([text])
        return start_T.tolist(), int(end_T[-1]) if len(end_T) else 0
    # Tokens know their places in words, of which nothing is lost between.
    words = segmented([text])[0]
    begins = [0, *accumulate(map(len, words))]
    made = tokenizer.backend.encode(words, is_pretokenized=True, add_special_tokens=False)
    places = [
        (begins[word] + start, begins[word] + end)
        for word, (start, end) in zip(made.word_ids, made.offsets, strict=True)
    ]
    return [start for start, _ in places], places[-1][1] if places else 0


def _weighed(parts: Sequence[tuple[str, str, float]]) -> tuple[Moved, ...]:
    most = max((abs(by) for _, _, by in parts), default=0.0) or 1.0
    return tuple(Moved(part=part, value=value, by=_short(by), weight=round(by / most, 4)) for part, value, by in parts)


def _short(value: float) -> float:
    return float(f"{value:.6g}")
