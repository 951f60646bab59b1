import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.ingest.tables import parse
from modelmill.errors import UserError

MISSING = ["", "NA", "-999"]


def cells(values: list[Any], kind: Any = None) -> Any:
    return parse.cells("a", pa.array(values, kind), MISSING)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([" 1 ", "NA", " ", None, "\u00a0x\n"]), ["1", None, None, None, "x"]),
        (pa.array(["a", "NA"]).dictionary_encode(), ["a", None]),
        (pa.array([1.5, math.nan, -999.0, None]), [1.5, None, None, None]),
        (pa.array([1, -999], pa.int32()), [1, None]),
        (pa.array([2**63], pa.uint64()), [2.0**63]),
        (pa.array([Decimal("1.5")]), [1.5]),
        (pa.array([True, None]), [True, None]),
        (pa.array([date(2020, 1, 2)]), [datetime(2020, 1, 2)]),  # noqa: DTZ001 - a day without a zone
        (pa.array([None, None]), [None, None]),
        (pa.chunked_array([["a"], ["b"]]), ["a", "b"]),
    ],
)
def test_what_stands_in_a_column_of_any_type_becomes_one_of_five(array: Any, expected: list[Any]) -> None:
    assert parse.cells("a", array, MISSING).to_pylist() == expected


def test_a_moment_with_a_zone_is_that_moment_in_utc() -> None:
    moment = datetime(2020, 1, 2, 3, tzinfo=UTC)

    (found,) = parse.cells("a", pa.array([moment], pa.timestamp("ns", "Asia/Tokyo")), []).to_pylist()

    assert found == moment.replace(tzinfo=None)


def test_a_column_of_lists_is_refused_with_the_way_out() -> None:
    with pytest.raises(UserError, match=r"column 'a' holds list<.*>, which is no value of a table; name it in ignore"):
        cells([[1]])


NUMBERS = {
    "1": 1,
    "-1.5e3": -1500,
    "+.5": 0.5,
    "1.": 1,
    "007": 7,
    "inf": math.inf,
    "-Infinity": -math.inf,
    "1e999": math.inf,
    "12345678901234567890": 12345678901234567890.0,
    "0x10": None,
    "1,5": None,
    "1 000": None,
    "1_0": None,
    "nan": None,
    "٣": None,
    "1e": None,
    "-": None,
}


@pytest.mark.parametrize("beside", ["1", "x"])
def test_a_number_is_one_whatever_stands_beside_it(beside: str) -> None:
    for text, number in NUMBERS.items():
        assert parse.numbers(cells([text, beside])).to_pylist()[0] == number, text


@pytest.mark.parametrize("beside", ["1", "x"])
def test_an_integer_is_one_whatever_stands_beside_it(beside: str) -> None:
    wanted = {"5": 5, "-5": -5, "+5": 5, "5.0": 5, "5e2": 500, "5.5": None, "0x10": None, "inf": None}
    wanted |= {"9" * 18: 10**18 - 1, "0" * 30 + "7": 7}
    # Rather none than one with other last digits.
    wanted |= {"1234567890123456789": None, "9" * 30: None}
    for text, number in wanted.items():
        assert parse.integers(cells([text, beside])).to_pylist()[0] == number, text


@given(st.lists(st.integers(-(10**18) + 1, 10**18 - 1) | st.none()), st.booleans())
def test_integers_survive_as_texts(values: list[int | None], with_other: bool) -> None:
    other = ["x"] if with_other else []
    found = parse.integers(cells([*(None if value is None else str(value) for value in values), *other], pa.string()))

    kept = [None if value == -999 else value for value in values]
    assert found.to_pylist() == [*kept, *([None] if with_other else [])]


def test_truth_values_are_words_or_zero_and_one() -> None:
    values = ["TRUE", "no", "Yes", "false", "1", "0", "2", "t"]

    assert parse.booleans(cells(values)).to_pylist() == [True, False, True, False, True, False, None, None]
    assert parse.words(cells(values)).to_pylist() == [True, False, True, False, None, None, None, None]
    assert parse.booleans(cells([1, 0, 3])).to_pylist() == [True, False, None]


def test_dates_are_those_of_a_calendar_with_a_time_or_without_and_in_utc_where_a_zone_is_given() -> None:
    values = ["2020-02-29", "2021-02-29", "2020-01-02T03:04:05.5Z", "2020-01-02 03:04:05+02:00", "2/3/2020", "20200102"]

    found = parse.dates(cells(values)).to_pylist()

    assert [None if each is None else each.isoformat() for each in found] == [
        "2020-02-29T00:00:00",
        None,
        "2020-01-02T03:04:05.500000",
        "2020-01-02T01:04:05",
        None,
        None,
    ]


def test_a_name_of_digits_is_told_by_its_zeros() -> None:
    values = ["007", "-01", "0", "0.5", "00.5", "10"]

    assert parse.codes(cells(values)).to_pylist() == [True, True, False, False, True, False]
