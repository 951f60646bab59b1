"""How inputs of each kind are changed at a strength, answered so, and shown."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from components.evaluate.subject import Answers, Subject
from modelmill.evaluation import perturb
from modelmill.evaluation.ladders import Ladder, picture_ladders, table_ladders, text_ladders
from modelmill.evaluation.measure import shortened
from modelmill.models.adversarial import Signs, moved_pixels, picture_signs, vector_signs
from modelmill.models.image_predictor import ImagePredictor
from modelmill.models.question_predictor import QuestionPredictor
from modelmill.models.table_predictor import TablePredictor
from modelmill.models.target_predictor import TargetPredictor
from modelmill.pictures.overlay import data_uri
from modelmill.pictures.pixels import Pixels
from modelmill.tables.transforms import Vectors

# Rows are in the order of a hash, so the first ones are a fair sample; each is answered once for every level.
_MOST_ROWS = 2000
# A model that writes its answers takes a hundred times as long for one.
_MOST_WRITTEN = 500
# Of pixels that are kept at a time.
_MOST_BYTES = 256 << 20
_SHOWN_COLUMNS = 12


class Changes(Protocol):
    """What may be done to some rows."""

    ladders: Sequence[Ladder]
    rows: int
    """The first so many are changed and asked."""

    def answers(self, ladder: Ladder, strength: float, batch: slice) -> Answers:
        """Return the model's answers to some rows, changed."""

    def example(self, ladder: Ladder | None, strength: float) -> dict[str, str]:
        """Return the first row, changed or as it is, as `sample` or `picture`; nothing where it cannot be shown."""

    def hindrance(self, ladder: Ladder) -> str:
        """Return what of a change does not apply to these rows."""


def changes_of(subject: Subject, names: Sequence[str]) -> Changes:
    """Return the changes of such names to what a model is asked."""
    if isinstance(subject.predictor, ImagePredictor):
        return _Pictures(subject, subject.predictor, names)
    if isinstance(subject.predictor, TablePredictor):
        return _Table(subject, subject.predictor, names)
    if isinstance(subject.predictor, QuestionPredictor):
        return _Questions(subject, names)
    if isinstance(subject.predictor, TargetPredictor):
        return _Texts(subject, names, _MOST_WRITTEN)
    return _Texts(subject, names)


class _Texts:
    def __init__(self, subject: Subject, names: Sequence[str], most: int = _MOST_ROWS) -> None:
        self.subject = subject
        self.ladders: Sequence[Ladder] = text_ladders(names)
        self.rows = min(len(subject.inputs), most)

    def answers(self, ladder: Ladder, strength: float, batch: slice) -> Answers:
        return self.subject.asked(self._changed(ladder, strength, batch), batch)

    def _changed(self, ladder: Ladder, strength: float, batch: slice) -> list[Any]:
        made: list[Any] = []
        for row, one in zip(self.subject.ids[batch], self.subject.inputs[batch], strict=True):
            chance = perturb.chance_of(ladder.change, row)
            # Of a pair both texts are changed.
            if isinstance(one, Mapping):
                made.append(
                    {name: perturb.changed_text(each, ladder.change, strength, chance) for name, each in one.items()}
                )
            else:
                made.append(perturb.changed_text(one, ladder.change, strength, chance))
        return made

    def example(self, ladder: Ladder | None, strength: float) -> dict[str, str]:
        first = self.subject.inputs[0] if ladder is None else self._changed(ladder, strength, slice(0, 1))[0]
        return {"sample": shortened(" | ".join(first.values()) if isinstance(first, Mapping) else first)}

    def hindrance(self, ladder: Ladder) -> str:
        asked = self.subject.inputs[: self.rows]
        texts = [text for one in asked for text in (one.values() if isinstance(one, Mapping) else [one])]
        return perturb.hindrance(ladder.change, texts)


class _Questions(_Texts):
    """Of a question and its context the question is changed: an answer is cut out of the context, and from a mistyped
    one no right one could be."""

    def _changed(self, ladder: Ladder, strength: float, batch: slice) -> list[Any]:
        made: list[Any] = []
        for row, one in zip(self.subject.ids[batch], self.subject.inputs[batch], strict=True):
            chance = perturb.chance_of(ladder.change, row)
            made.append({**one, "question": perturb.changed_text(one["question"], ladder.change, strength, chance)})
        return made

    def example(self, ladder: Ladder | None, strength: float) -> dict[str, str]:
        first = self.subject.inputs[0] if ladder is None else self._changed(ladder, strength, slice(0, 1))[0]
        return {"sample": shortened(first["question"])}

    def hindrance(self, ladder: Ladder) -> str:
        found = perturb.hindrance(ladder.change, [one["question"] for one in self.subject.inputs[: self.rows]])
        return " ".join(["Of a question and its context the question alone is changed.", *([found] if found else [])])


class _Pictures:
    """Pictures are changed as the network sees them, and sent to it as files of that size."""

    def __init__(self, subject: Subject, predictor: ImagePredictor, names: Sequence[str]) -> None:
        self.subject, self.predictor = subject, predictor
        shape = predictor.model.config.pixels
        self.ladders: Sequence[Ladder] = picture_ladders(names, shape.size)
        self.rows = min(len(subject.inputs), _MOST_ROWS, max(2, _MOST_BYTES // (shape.size**2 * shape.channels)))

    @cached_property
    def pixels(self) -> Pixels:
        return self.predictor.pixels(self.subject.inputs[: self.rows])

    @cached_property
    def signs(self) -> Signs:
        return picture_signs(self.predictor, self.pixels, self.subject.truth[: self.rows])

    def answers(self, ladder: Ladder, strength: float, batch: slice) -> Answers:
        return self.predictor.predict([perturb.png(each) for each in self._changed(ladder, strength, batch)])

    def _changed(self, ladder: Ladder, strength: float, batch: slice) -> Sequence[Pixels]:
        pixels_BHWC = self.pixels[batch]
        if ladder.change == "fgsm":
            return list(moved_pixels(pixels_BHWC, self.signs[batch], strength))
        return [
            perturb.changed_pixels(each, ladder.change, strength, perturb.chance_of(ladder.change, row))
            for row, each in zip(self.subject.ids[batch], pixels_BHWC, strict=True)
        ]

    def example(self, ladder: Ladder | None, strength: float) -> dict[str, str]:
        first = self.pixels[0] if ladder is None else self._changed(ladder, strength, slice(0, 1))[0]
        return {"picture": data_uri(first)}

    def hindrance(self, _ladder: Ladder) -> str:
        return ""


class _Table:
    def __init__(self, subject: Subject, predictor: TablePredictor, names: Sequence[str]) -> None:
        self.subject, self.predictor = subject, predictor
        self.ladders: Sequence[Ladder] = table_ladders(names)
        self.rows = min(len(subject.inputs), _MOST_ROWS)
        read = {name: kind for name, kind in subject.kinds.items() if name in predictor.transforms.kinds}
        self.deviations = perturb.deviations_of(subject.inputs, read)

    @cached_property
    def vectors(self) -> Vectors:
        return self.predictor.transforms.of_rows(self.subject.inputs[: self.rows])[0]

    @cached_property
    def signs(self) -> Signs:
        return vector_signs(self.predictor, self.vectors, self.subject.truth[: self.rows])

    def answers(self, ladder: Ladder, strength: float, batch: slice) -> Answers:
        if ladder.change == "fgsm":
            moved_BF = self.vectors[batch] + np.float32(strength) * self.signs[batch]
            return self.predictor.of_vectors(moved_BF)
        return self.predictor.predict(self._changed(ladder, strength, batch))

    def _changed(self, ladder: Ladder, strength: float, batch: slice) -> list[dict[str, Any]]:
        return [
            perturb.changed_row(one, ladder.change, strength, self.deviations, perturb.chance_of(ladder.change, row))
            for row, one in zip(self.subject.ids[batch], self.subject.inputs[batch], strict=True)
        ]

    def example(self, ladder: Ladder | None, strength: float) -> dict[str, str]:
        if ladder is not None and ladder.change == "fgsm":
            # What the network sees is no row that a person reads.
            return {}
        first = self.subject.inputs[0] if ladder is None else self._changed(ladder, strength, slice(0, 1))[0]
        names = list(self.deviations)[:_SHOWN_COLUMNS]
        values = [f"{first[name]:.4g}" if first.get(name) is not None else "–" for name in names]
        return {"sample": ", ".join(f"{name}={value}" for name, value in zip(names, values, strict=True))}

    def hindrance(self, _ladder: Ladder) -> str:
        without = sum(kind not in {"number", "integer"} for kind in self.predictor.transforms.kinds.values())
        if not self.deviations:
            return "Not applicable: no column that the model reads holds numbers."
        columns = len(self.predictor.transforms.kinds)
        return f"{without} of {columns} columns hold no numbers, and stay." if without else ""
