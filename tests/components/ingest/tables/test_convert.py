from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.ingest.tables.convert import convert
from components.ingest.tables.profile import Profile
from components.ingest.tables.schema import infer
from modelmill.errors import UserError
from tests.components.ingest.tables.tools import batches, converted, schema_of, sklearn_data, table_of, texts


def one(
    values: list[Any], target: list[str] | None = None, table: dict[str, Any] | None = None, **declared: Any
) -> Any:
    """Convert one feature 'a', declared so, beside a target of numbers."""
    batch = texts({"a": values, "y": target or [str(row) for row in range(len(values))]})
    return converted(batch, table_of(columns={"a": declared} if declared else {}, **(table or {})))


def reasons(found: Any) -> list[tuple[int, str, str]]:
    return [(row.row, row.reason, row.detail) for row in found.rejected]


def kept(found: Any) -> list[Any]:
    values: list[Any] = found.table.column("a").to_pylist()
    return values


def test_texts_become_typed_columns_in_the_order_of_their_names() -> None:
    batch = texts({"y": ["1", "2"], "when": ["2020-01-02", ""], "b": ["yes", "no"], "a": ["1.5", "2"]})

    found = converted(batch, table_of())

    assert found.table.schema.names == ["a", "b", "when", "y"]
    assert found.table.schema.types == [pa.float64(), pa.bool_(), pa.timestamp("us"), pa.int64()]
    assert found.table.column("b").to_pylist() == [True, False]
    assert found.table.column("when").null_count == 1
    assert (found.kept.tolist(), found.rejected) == ([0, 1], [])


@pytest.mark.parametrize(
    ("values", "declared", "reason", "detail"),
    [
        (
            ["1", "x@y.de"],
            {"kind": "integer"},
            "wrong_type",
            "column 'a': 'x@y.de': not an integer of 18 digits at most",
        ),
        (["1", "1.5"], {"kind": "integer"}, "wrong_type", "column 'a': '1.5': not an integer of 18 digits at most"),
        (["1", "z" * 99], {"kind": "number"}, "wrong_type", f"column 'a': '{'z' * 40}': not a number"),
        (["1", "2"], {"kind": "boolean"}, "wrong_type", "column 'a': '2': not true or false"),
        (["2020-01-01", "soon"], {"kind": "date"}, "wrong_type", "column 'a': 'soon': not a date"),
        (["1", "-inf"], {"kind": "number"}, "non_finite", "column 'a': '-inf': not finite"),
        (["1", "9.5"], {"max": 9}, "out_of_range", "column 'a': '9.5': min is none, max is 9"),
        (["1", "-1"], {"min": 0, "max": 5}, "out_of_range", "column 'a': '-1': min is 0, max is 5"),
        (["1", "3"], {"categories": ["1", "2"]}, "unknown_category", "column 'a': '3': not among the 2 categories"),
        (["1", "NA"], {"nullable": False}, "missing_value", "column 'a': empty or null"),
        (["1", "-9"], {"missing": "drop_row", "missing_values": [-9]}, "missing_value", "column 'a': empty or null"),
    ],
)
def test_a_value_that_cannot_be_right_costs_its_row_with_the_reason(
    values: list[str], declared: dict[str, Any], reason: str, detail: str
) -> None:
    found = one(values, **declared)

    assert reasons(found) == [(3, reason, detail)]
    assert (found.kept.tolist(), found.positions.tolist()) == ([0], [1])


def test_a_row_without_a_usable_target_is_rejected_whatever_else_is_wrong() -> None:
    found = one(["x", "1", "2", "3"], ["", "inf", "2.5", "3"], kind="integer")

    assert [(row, reason) for row, reason, _ in reasons(found)] == [(2, "missing_target"), (3, "non_finite_target")]
    assert found.table.column("y").to_pylist() == [2.5, 3]


def test_what_stands_in_a_text_or_in_the_group_is_never_shown() -> None:
    batch = texts({"who": ["secret", ""], "note": ["private", "NA"], "y": ["1", "2"]})

    found = converted(batch, table_of(group="who", missing="drop_row"))

    assert reasons(found) == [(3, "missing_value", "column 'note': empty or null")]
    assert "private" not in str(found.rejected)
    odd = converted(batch, table_of(group="who", columns={"who": {"kind": "integer"}}))
    assert reasons(odd)[0] == (2, "wrong_type", "column 'who': not an integer of 18 digits at most")


def test_missing_values_are_kept_unless_said_otherwise() -> None:
    assert kept(one(["1", "", "?"])) == [1, None, None]
    assert kept(one(["1", ""], table={"missing": "drop_row"})) == [1]
    assert kept(one(["1", ""], table={"missing": "drop_row"}, missing="keep")) == [1, None]
    assert kept(one(["1", ""], table={"missing": "drop_row"}, nullable=True)) == [1, None]
    with pytest.raises(UserError, match=r"column 'a': 1 of 2 values of a batch are missing, the first in row 3"):
        one(["1", ""], missing="fail")


def test_a_value_out_of_range_is_dropped_clipped_kept_or_fails_as_said() -> None:
    values = ["1", "7", "", "-3"]

    assert kept(one(values, max=5, min=0)) == [1, None]
    clipped = one(values, max=5, min=0, out_of_range="clip")
    assert (kept(clipped), clipped.clipped) == ([1, 5, None, 0], 2)
    assert kept(one(values, table={"out_of_range": "clip"}, max=5.5)) == [1, 5, None, -3]
    assert kept(one(values, max=5, out_of_range="keep")) == [1, 7, None, -3]
    with pytest.raises(UserError, match=r"column 'a', row 3: 7 is out of range, min is 0, max is 5; mend the file"):
        one(values, max=5, min=0, out_of_range="fail")


def test_an_infinite_value_is_no_range_to_mend() -> None:
    found = one(["1", "inf"], kind="number", max=5, out_of_range="fail")

    assert [reason for _, reason, _ in reasons(found)] == ["non_finite"]


def test_a_target_is_never_clipped() -> None:
    settings = table_of(columns={"y": {"max": 5}}, out_of_range="clip")

    found = converted(texts({"a": ["1", "2"], "y": ["3", "9"]}), settings)

    assert [reason for _, reason, _ in reasons(found)] == ["out_of_range"]


def test_an_outlier_lies_beyond_tukeys_outer_fences() -> None:
    # Of the twelve values the quartiles are the third, 3, and the ninth, 9: the fences are at -15 and 27.
    values = [*map(str, range(1, 11)), "27", "28"]

    assert len(kept(one(values))) == 12
    assert reasons(one(values, table={"outliers": "drop"})) == [
        (13, "outlier", "column 'a': '28': outside the fences -15 and 27")
    ]
    assert kept(one(values, table={"outliers": "drop", "fences": 1.5})) == list(range(1, 11))
    flagged = one(values, table={"outliers": "flag"})
    assert (len(kept(flagged)), flagged.outlier.tolist()) == (12, [False] * 11 + [True])


def test_where_half_of_the_values_are_equal_nothing_is_an_outlier() -> None:
    assert len(kept(one(["0"] * 8 + ["5"], table={"outliers": "drop"}))) == 9


def test_a_column_that_a_batch_lacks_is_missing_in_its_rows() -> None:
    settings = table_of()
    schema = schema_of(texts({"a": ["1", "2"], "y": ["1", "2"]}), settings)

    found = convert(texts({"y": ["3"]}), np.array([7]), schema, settings)

    assert found.table.to_pydict() == {"a": [None], "y": [3]}


VALUES = st.sampled_from(["1", "2.5", "-7", "inf", "nan", "", "x", "yes", "2020-01-01", "1e400", "007", " 3 ", "好"])
DECLARED = st.sampled_from(
    [
        {},
        {"kind": "integer"},
        {"kind": "number", "min": 0, "max": 2},
        {"min": 0, "max": 2.5, "out_of_range": "clip"},
        {"kind": "boolean"},
        {"kind": "date"},
        {"kind": "text"},
        {"categories": ["1", "x"]},
        {"missing": "drop_row"},
    ]
)


@given(st.lists(st.tuples(VALUES, VALUES), max_size=40), DECLARED, DECLARED, st.sampled_from(["keep", "flag", "drop"]))
def test_every_row_is_kept_or_rejected_and_none_is_both(
    rows: list[tuple[str, str]], a: dict[str, Any], y: dict[str, Any], outliers: str
) -> None:
    settings = table_of(columns={"a": a, "y": y}, outliers=outliers)
    batch = texts({"a": [a for a, _ in rows], "y": [y for _, y in rows]})

    found = converted(batch, settings, first=10)

    assert sorted([*found.kept.tolist(), *found.positions.tolist()]) == list(range(len(rows)))
    assert [row.row for row in found.rejected] == (found.positions + 10).tolist()
    assert found.table.num_rows == len(found.kept) == len(found.outlier)
    assert found.table.column("y").null_count == 0


@given(st.lists(st.tuples(VALUES, VALUES), max_size=40), DECLARED, st.integers(1, 10))
def test_a_row_fares_the_same_in_whatever_batch_it_comes(
    rows: list[tuple[str, str]], a: dict[str, Any], size: int
) -> None:
    settings = table_of(columns={"a": a})
    batch = texts({"a": [a for a, _ in rows], "y": [y for _, y in rows]})
    schema = schema_of(batch, settings)
    numbers = np.arange(len(rows))

    whole = convert(batch, numbers, schema, settings)
    parts = [
        convert(batch.slice(start, size), numbers[start : start + size], schema, settings)
        for start in range(0, len(rows), size)
    ]

    assert [row for part in parts for row in part.rejected] == whole.rejected
    assert [row for part in parts for row in part.table.to_pylist()] == whole.table.to_pylist()


def test_a_real_table_is_converted_with_every_row_accounted_for() -> None:
    header = [f"f{place:02}" for place in range(30)]
    settings = table_of(columns={"y": {"categories": [0, 1]}, "f00": {"max": 25}})
    found = batches(sklearn_data("breast_cancer.csv"), skip_rows=1, header=[*header, "y"])
    profile = Profile()
    for batch in found:
        profile.add(batch.table, settings)
    schema = infer(profile, settings)

    results = [convert(batch.table, batch.numbers, schema, settings) for batch in found]

    dropped = Counter(row.reason for result in results for row in result.rejected)
    # Five tumours have a mean radius above 25.
    assert dropped == {"out_of_range": 5}
    assert sum(result.table.num_rows for result in results) == 564
    assert results[0].table.column("y").to_pylist()[:1] == ["0"]
