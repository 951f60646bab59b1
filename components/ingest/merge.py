"""A question that is asked of the same context more than once becomes one row, with the answers of all."""

# N rows of a bucket

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.ingest.answers import ANSWERS
from components.ingest.spill import id_words

Rows = npt.NDArray[np.int64]


def merge_answers(table: pa.Table, fates: Mapping[str, Rows]) -> tuple[pa.Table, dict[str, Rows]]:
    """Return a bucket in which each kept question has the answers of its duplicates too, and what became of its rows.

    The bucket is in the order of ids, and `fates` are its rows by what becomes of them: duplicates whose answers are
    not those of the row that is kept are `answers_merged`. Answers that come from several rows stand in the order of
    the context, so that the order of reading does not show.
    """
    first, again = _duplicates(table, fates)
    own = table["answers"].take(first).to_pylist()
    theirs = table["answers"].take(again).to_pylist()
    other = np.array([mine != said for mine, said in zip(own, theirs, strict=True)], dtype=np.bool_)
    if not other.any():
        return table, dict(fates)
    found: dict[int, dict[tuple[int, str], Any]] = {}
    for place in np.flatnonzero(other).tolist():
        answers = found.setdefault(int(first[place]), {})
        answers.update({(answer["start"], answer["text"]): answer for answer in own[place] + theirs[place]})
    lists = [[answers[key] for key in sorted(answers)] for answers in found.values()]
    place_N = np.arange(table.num_rows)
    place_N[list(found)] = table.num_rows + np.arange(len(found))
    column = pa.chunked_array([*table["answers"].chunks, pa.array(lists, ANSWERS)], ANSWERS).take(place_N)
    given = again[other]
    left = np.setdiff1d(fates["duplicate"], given)
    merged = table.set_column(table.schema.get_field_index("answers"), "answers", column)
    return merged, {**fates, "duplicate": left, "answers_merged": given}


def _duplicates(table: pa.Table, fates: Mapping[str, Rows]) -> tuple[Rows, Rows]:
    """Return the duplicates of kept rows, each after the row that is kept."""
    high, low = id_words(table["id"])
    new_N = np.ones(table.num_rows, dtype=np.bool_)
    new_N[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    id_N = np.cumsum(new_N) - 1
    kept_N = np.full(table.num_rows, -1, dtype=np.int64)
    kept_N[id_N[fates["kept"]]] = fates["kept"]
    again = fates["duplicate"]
    first = kept_N[id_N[again]]
    return first[first >= 0], again[first >= 0]
