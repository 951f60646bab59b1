import struct
from datetime import datetime
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.ingest.tables.ident import ID_BYTES, feature_ids, row_ids

ROWS = st.lists(
    st.tuples(
        st.none() | st.floats(allow_nan=False),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.booleans(),
        st.none() | st.datetimes(),
        st.none() | st.text(max_size=3),
    ),
    max_size=20,
)
TYPES = [pa.float64(), pa.int64(), pa.bool_(), pa.timestamp("us"), pa.string()]
NAMES = ["number", "integer", "truth", "when", "text"]


def table(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(NAMES)
    return pa.table({name: pa.array(values, kind) for name, kind, values in zip(NAMES, TYPES, columns, strict=True)})


def ids(value: pa.Table, features: list[str]) -> list[bytes]:
    found: list[bytes] = feature_ids(value, features).to_pylist()
    return found


@given(ROWS, st.permutations(NAMES), st.integers(1, 5))
def test_ids_hang_on_the_values_alone_not_on_columns_order_or_batches(
    rows: list[tuple[Any, ...]], order: list[str], size: int
) -> None:
    whole = table(rows)
    chunked = pa.concat_tables([whole.slice(start, size) for start in range(0, len(rows), size)] or [whole])

    expected = ids(whole, NAMES)

    assert ids(chunked.select(order), order) == expected
    assert [each for start in range(0, len(rows), size) for each in ids(whole.slice(start, size), NAMES)] == expected
    assert all(len(each) == ID_BYTES for each in expected)


@given(ROWS)
def test_rows_have_equal_ids_exactly_if_they_are_equal(rows: list[tuple[Any, ...]]) -> None:
    found = ids(table(rows), NAMES)

    for row, mine in zip(rows, found, strict=True):
        for other, theirs in zip(rows, found, strict=True):
            assert (mine == theirs) == (row == other)


def test_an_id_is_the_sha256_of_names_tags_and_values_on_every_machine() -> None:
    rows = [(1.5, 2**60, True, datetime(2020, 1, 2), "好"), (None, 7, None, None, None)]  # noqa: DTZ001 - no zone
    lead = sha256(b"integer\x00number\x00text\x00truth\x00when").digest()
    text = sha256("好".encode()).digest()[:16]
    first = struct.pack(">BqBdB16sBqBq", 2, 2**60, 1, 1.5, 5, text, 3, 1, 4, 1_577_923_200_000_000)
    second = struct.pack(">BdB8xB16xB8xB8x", 1, 7.0, 0, 0, 0, 0)

    assert ids(table(rows), NAMES) == [sha256(lead + each).digest()[:16] for each in (first, second)]


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (pa.array([1, 2]), pa.array([1.0, 2.0]), True),
        (pa.array([0.0]), pa.array([-0.0]), True),
        (pa.array([2**53 + 1]), pa.array([float(2**53)]), False),
        (pa.array([1]), pa.array([True]), False),
        (pa.array(["1"]), pa.array([1]), False),
        (pa.array([0]), pa.array([None], pa.int64()), False),
        (pa.array([""]), pa.array([None], pa.string()), False),
        (pa.array(["a", "b"]).dictionary_encode(), pa.array(["a", "b"]), True),
    ],
)
def test_an_integer_and_a_number_are_the_same_value_and_no_other_kinds_are(left: Any, right: Any, same: bool) -> None:
    assert (ids(pa.table({"a": left}), ["a"]) == ids(pa.table({"a": right}), ["a"])) == same


def test_a_value_that_moves_to_another_column_is_another_row() -> None:
    assert ids(pa.table({"a": ["x"], "b": ["y"]}), ["a", "b"]) != ids(pa.table({"a": ["y"], "b": ["x"]}), ["a", "b"])
    assert ids(pa.table({"a": ["x"]}), ["a"]) != ids(pa.table({"b": ["x"]}), ["b"])


def test_the_target_is_in_the_row_id_alone() -> None:
    value = pa.table({"a": [1, 1, 1], "y": [1.0, 2.0, 2.0]})

    assert len(set(ids(value, ["a"]))) == 1
    one, two, three = row_ids(value, ["a"], "y").to_pylist()
    assert one != two == three
