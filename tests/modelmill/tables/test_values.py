"""Values from outside are read as ingest reads them, or refused with column and value."""

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.ingest.tables.schema import ARROW
from modelmill.errors import UserError
from modelmill.tables.values import Kind, of_arrow, of_raw


@pytest.mark.parametrize(
    ("kind", "given_", "wanted"),
    [
        ("number", 3, 3.0),
        ("number", np.float32(0.5), 0.5),
        ("integer", 3.0, 3.0),
        ("boolean", True, 1.0),
        ("boolean", 0, 0.0),
        ("category", 3, "3"),
        ("category", 3.0, "3"),
        ("category", "3", "3"),
        ("date", "2024-05-01", np.datetime64("2024-05-01", "us")),
        ("date", "2024-05-01T12:30:00+02:00", np.datetime64("2024-05-01T10:30", "us")),
        ("date", date(2024, 5, 1), np.datetime64("2024-05-01", "us")),
        ("date", datetime(2024, 5, 1, 9, tzinfo=UTC), np.datetime64("2024-05-01T09", "us")),
    ],
)
def test_a_value_from_outside_is_read(kind: Kind, given_: Any, wanted: Any) -> None:
    values = of_raw("c", kind, [given_, None])
    assert values.data[0] == wanted
    assert values.missing.tolist() == [False, True]


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("number", "6.5", "'6.5' is no number"),
        ("number", True, "True is no number"),
        ("number", [1], r"\[1\] is no number"),
        ("number", 10**400, "10000*... is no number"),
        ("integer", "x" * 99, "'xxx.*xxx... is no number"),
        ("boolean", 2, "2 is no true or false"),
        ("boolean", "yes", "'yes' is no true or false"),
        ("category", 1.5, "1.5 is no name"),
        ("category", float("nan"), "nan is no name"),
        ("category", True, "True is no name"),
        ("date", "yesterday", "'yesterday' is no date"),
        ("date", 20240501, "20240501 is no date"),
    ],
)
def test_a_value_of_another_type_is_named_with_its_row_and_column(kind: Kind, value: Any, said: str) -> None:
    with pytest.raises(UserError, match=rf"row 2, column 'RM': {said}"):
        of_raw("RM", kind, [None, value])


_VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    "number": st.floats(),
    "integer": st.integers(-(2**63), 2**63 - 1),
    "boolean": st.booleans(),
    "category": st.text(),
    "date": st.datetimes(datetime.fromisoformat("1700-01-01"), datetime.fromisoformat("2200-01-01")),
}


@given(data=st.data(), kind=st.sampled_from(list(_VALUES)))
def test_a_column_reads_the_same_from_a_dataset_and_from_outside(data: st.DataObject, kind: Kind) -> None:
    given_ = data.draw(st.lists(st.none() | _VALUES[kind], max_size=8))
    array = pa.array(given_, ARROW[kind])
    stored, raw = of_arrow(kind, array), of_raw("c", kind, array.to_pylist())
    there = ~stored.missing
    assert stored.missing.tolist() == raw.missing.tolist()
    if stored.data.dtype == np.float64:
        # To the last bit, NaN too.
        assert np.array_equal(stored.data[there], raw.data[there], equal_nan=True)
    else:
        assert stored.data[there].tolist() == raw.data[there].tolist()
    assert stored.data.dtype == raw.data.dtype
