"""From a row's values to what a model is asked, and from what it says to answers; what has none gets a reason."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from modelmill.errors import InputRefused, UserError
from modelmill.models.interface import Interface, answers, picture_bytes
from modelmill.scoring.columns import answer_row
from modelmill.scoring.rows import Row
from modelmill.sources import nearest

# What stands for a missing value in a table's text; ingest's own list (`ingest.table.missing_values`).
_MISSING = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "None", "?"})
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, kw_only=True)
class Asking:
    """How rows of an input become questions to a model."""

    served: Interface
    kinds: Mapping[str, str]
    """Of a table's model what each column holds, by name; else empty."""
    columns: Mapping[str, str]
    """The input's column of each thing that the model reads."""
    texts: bool
    """Whether all values of the input are texts, as in CSV, so that a table's must be read from them."""

    @classmethod
    def of(
        cls, served: Interface, facts: Mapping[str, Any], there: pa.Schema, names: Mapping[str, str], *, texts: bool
    ) -> "Asking":
        """Return how the rows of an input are asked about; `names` says which column is read in the place of which.

        Raises:
            UserError: a column that the model reads is not there.
        """
        kinds = {name: kind for name, kind in facts.get("features", {}).items() if kind != "text"}
        reads = list(kinds) if kinds else list(served.columns)
        for name in names:
            if name not in reads:
                raise UserError(
                    f"--column {name}={names[name]}: the model reads no {name!r}{nearest(name, reads)}; it reads "
                    f"{', '.join(reads)}"
                )
        columns = {name: names.get(name, name) for name in reads}
        absent = [column for column in columns.values() if column not in there.names]
        if absent and (reads != ["image"] or len(there)):
            raise UserError(
                f"{len(absent)} of the {len(reads)} columns that the model reads are not among the {len(there)} of the "
                f"input ({', '.join(there.names[:8])}): {', '.join(absent[:5])}{nearest(absent[0], there.names)}; name "
                f"the input's with --column {next(iter(reads))}=COLUMN"
            )
        return cls(served=served, kinds=kinds, columns=columns, texts=texts)

    def question(self, row: Row) -> Any:
        """Return what a predictor is asked about a row.

        Raises:
            InputRefused: a value is missing, or is not what the model reads.
        """
        values = {name: row.values.get(column) for name, column in self.columns.items()}
        if self.kinds:
            return {name: self._cell(name, value) for name, value in values.items()}
        if "image" in values:
            return _picture(values["image"])
        for name, value in values.items():
            if value is None or not str(value).strip():
                raise InputRefused(f"no {self.columns[name]!r}, which the model reads", reason=f"missing_{name}")
        return str(values["text"]) if len(values) == 1 else {name: str(value) for name, value in values.items()}

    def _cell(self, name: str, value: Any) -> Any:
        if isinstance(value, float) and math.isnan(value):
            return None
        if not self.texts or not isinstance(value, str):
            return value
        value = value.strip()
        if value in _MISSING:
            return None
        kind = self.kinds[name]
        if kind in {"number", "integer", "boolean"}:
            known = _TRUTH.get(value.lower()) if kind == "boolean" else None
            try:
                return float(value) if known is None else known
            except ValueError:
                said = f"column {self.columns[name]!r}: {value[:60]!r} is no {kind}"
                raise InputRefused(said, reason="wrong_value") from None
        return value


def _picture(value: Any) -> bytes:
    held = value.get("bytes") if isinstance(value, Mapping) else value
    if not held:
        raise InputRefused("no picture in this row", reason="missing_image")
    try:
        return picture_bytes(held)
    except UserError as error:
        raise InputRefused(str(error), reason="broken_image") from error


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A row with its answer, or with the reason for which it has none."""

    row: Row
    answer: Mapping[str, Any] | None


def answered(rows: Sequence[Row], asking: Asking, predictor: Any) -> list[Answered]:
    """Return rows, in order, each with its answer or refused."""
    asked: list[tuple[int, Any]] = []
    found = [Answered(row=row, answer=None) for row in rows]
    for place, row in enumerate(rows):
        if row.reason:
            continue
        try:
            asked.append((place, asking.question(row)))
        except InputRefused as error:
            found[place] = Answered(row=row.refused(error.reason, str(error)), answer=None)
    for place, said in _said(asked, lambda inputs: _answers(predictor, asking.served, inputs)):
        row = rows[place]
        if isinstance(said, UserError):
            reason = said.reason if isinstance(said, InputRefused) else "refused_by_model"
            found[place] = Answered(row=row.refused(reason, str(said)), answer=None)
        elif (odd := _not_finite(said)) is not None:
            detail = f"{odd[0]} is {odd[1]}, which is no answer"
            found[place] = Answered(row=row.refused("not_finite", detail), answer=None)
        else:
            found[place] = Answered(row=row, answer=answer_row(said))
    return found


def _answers(predictor: Any, served: Interface, inputs: Sequence[Any]) -> list[dict[str, Any]]:
    return answers(predictor.labels, predictor.predict(inputs), served.text)


def _said(
    asked: Sequence[tuple[int, Any]], ask: Callable[[Sequence[Any]], list[dict[str, Any]]]
) -> Iterator[tuple[int, dict[str, Any] | UserError]]:
    """Yield what a model says to each question; one that it refuses is found by halving, so that it costs itself."""
    if not asked:
        return
    try:
        said = ask([question for _, question in asked])
    except UserError as error:
        if len(asked) == 1:
            yield asked[0][0], error
            return
        middle = len(asked) // 2
        yield from _said(asked[:middle], ask)
        yield from _said(asked[middle:], ask)
        return
    yield from zip((place for place, _ in asked), said, strict=True)


def _not_finite(answer: Mapping[str, Any]) -> tuple[str, float] | None:
    """Return the first number of an answer that is none, with its name."""
    for name, value in answer.items():
        numbers = value.items() if isinstance(value, Mapping) else [(name, value)]
        for of, number in numbers:
            if isinstance(number, float) and not math.isfinite(number):
                return of, number
    return None
