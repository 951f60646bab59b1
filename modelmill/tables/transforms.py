"""A table's rows as vectors: fitted on the training rows, kept as JSON with dataset and model, one way for both.

Preprocessing makes the vectors of a dataset with it and serving those of the rows it is asked about, so that they are
equal to the last bit.
"""

# N rows, F numbers of a vector, P numbers of a column

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import ValidationError

from modelmill.errors import UserError
from modelmill.settings import Section
from modelmill.sources import nearest
from modelmill.tables import fit
from modelmill.tables.columns import Fitted, Where
from modelmill.tables.settings import TableTransforms
from modelmill.tables.values import Kind, Values, of_arrow, of_raw

Vectors = npt.NDArray[np.float32]

FILE = "transforms.json"
"""Its name in a model's folder and among a dataset's attachments."""


class Transforms(Section):
    """What was fitted for every column."""

    version: Literal[1] = 1
    settings: TableTransforms
    """What it was fitted by."""
    columns: tuple[Fitted, ...]
    left_out: dict[str, str]
    """Columns that give no number, and why."""

    @property
    def names(self) -> tuple[str, ...]:
        """The numbers of a vector by name, in order."""
        return tuple(name for column in self.columns for name in column.names)

    @property
    def kinds(self) -> dict[str, Kind]:
        """What each column that is read holds, by name."""
        return {column.name: column.kind for column in self.columns}

    def of_table(self, features: pa.ChunkedArray, ids: Sequence[str]) -> tuple[Vectors, Counter[str]]:
        """Return the vectors [N, F] of a dataset's column of features, and how often what was set right.

        Raises:
            UserError: a value is refused; the message names its row's id and its column.
        """
        struct = features.combine_chunks()
        check_columns(self.kinds, [field.name for field in struct.type])
        values = {name: of_arrow(kind, struct.field(name)) for name, kind in self.kinds.items()}
        return self._vectors(values, len(ids), lambda place: f"row {ids[place]}")

    def of_rows(self, rows: Sequence[Mapping[str, Any]]) -> tuple[Vectors, Counter[str]]:
        """Return the vectors [N, F] of rows as they come from outside; what a row does not name is missing.

        Raises:
            UserError: a value is of another type or refused, or a name is no column.
        """
        known = {*self.kinds, *self.left_out}
        for place, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise UserError(
                    f"row {place + 1}: {str(row)[:60]!r} is no table's row; give a mapping of the {len(known)} columns "
                    f"to their values, such as {{{sorted(known)[0]!r}: …}}"
                )
            for name in row:
                if name not in known:
                    raise UserError(
                        f"row {place + 1}: no column {str(name)!r} among the {len(known)} of the model"
                        f"{nearest(str(name), sorted(known)) or '; they are ' + ', '.join(sorted(known))}"
                    )
        values = {name: of_raw(name, kind, [row.get(name) for row in rows]) for name, kind in self.kinds.items()}
        return self._vectors(values, len(rows), lambda place: f"row {place + 1}")

    def _vectors(self, values: Mapping[str, Values], rows: int, where: Where) -> tuple[Vectors, Counter[str]]:
        counts: Counter[str] = Counter()
        parts = []
        for column in self.columns:
            exact_NP = column.apply(values[column.name], where, counts)
            with np.errstate(over="ignore"):
                single_NP = exact_NP.astype(np.float32)
            too_large = np.flatnonzero(~np.isfinite(single_NP).all(axis=1))
            if len(too_large):
                place = int(too_large[0])
                raise UserError(
                    f"{where(place)}, column {column.name!r}: {values[column.name].data[place]} is beyond single "
                    f"precision once it is scaled ({np.finfo(np.float32).max:.3g} is the largest); correct it, or set "
                    f"ingest.table.columns.{column.name}.max"
                )
            parts.append(single_NP)
        if not parts:
            return np.zeros((rows, 0), dtype=np.float32), counts
        return np.concatenate(parts, axis=1), counts

    def to_json(self) -> str:
        """Return it as text that `read_transforms` reads."""
        return self.model_dump_json(indent=1) + "\n"


def fit_transforms(
    settings: TableTransforms, kinds: Mapping[str, Kind], features: pa.ChunkedArray, ids: Sequence[str]
) -> Transforms:
    """Return what is fitted on the training rows' column of features.

    Raises:
        UserError: the settings name an unknown column, a value is refused, or no column gives a number.
    """
    for name in settings.columns:
        if name not in kinds:
            raise UserError(
                f"preprocess.tables.columns.{name}: no such column among the {len(kinds)} features"
                f"{nearest(name, list(kinds))}"
            )
    struct = features.combine_chunks()
    columns, left_out = [], {}
    for name, kind in kinds.items():
        if kind == "text":
            left_out[name] = "free text"
            continue
        found = fit.column(
            name, kind, of_arrow(kind, struct.field(name)), settings.column(name), lambda place: f"row {ids[place]}"
        )
        if found is None:
            left_out[name] = "no value in the training rows"
        else:
            columns.append(found)
    if not columns:
        said = ", ".join(f"{name} ({why})" for name, why in left_out.items()) or "none"
        raise UserError(
            f"0 of {len(kinds)} features give a number: {said}; give a column of numbers or of few names, or declare "
            "its kind in ingest.table.columns"
        )
    return Transforms(settings=settings.model_copy(), columns=tuple(columns), left_out=left_out)


def read_transforms(path: Path) -> Transforms:
    """Return the transforms of a file.

    Raises:
        UserError: it holds none.
    """
    try:
        return Transforms.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"{path}: holds no transforms of a table ({first}); make the model again") from error


def check_columns(wanted: Mapping[str, Kind], there: Iterable[str]) -> None:
    """Check that the data have every column that a model reads.

    Raises:
        UserError: some are not there.
    """
    there = list(there)
    absent = [name for name in wanted if name not in there]
    if absent:
        raise UserError(
            f"{len(absent)} of the {len(wanted)} columns that the model reads are not among the {len(there)} of the "
            f"data: {', '.join(absent[:5])}{nearest(absent[0], there)}; train it on these data, or give the columns"
        )
