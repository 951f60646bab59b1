import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.ingest.tables.drift import chance_stability, compare, population_stability, settle
from components.ingest.tables.settings import Drift
from modelmill.errors import UserError
from tests.components.ingest.tables.tools import schema_of, table_of


def moved(before: dict[str, Any], after: dict[str, Any], **bounds: Any) -> dict[tuple[str, str], str]:
    """Return what is found, as column and measure: sentence; the target is the same in both."""
    schemas = []
    for columns in (before, after):
        rows = len(next(iter(columns.values())))
        target = pa.array(np.arange(rows) % 2)
        schemas.append(
            schema_of(pa.record_batch({**{n: pa.array(v) for n, v in columns.items()}, "y": target}), table_of())
        )
    findings = compare(schemas[0], schemas[1], Drift(**bounds))
    return {(finding.column, finding.measure): finding.text for finding in findings}


def normal(seed: int, rows: int, middle: float = 0.0) -> Any:
    return np.random.default_rng(seed).normal(middle, 1, size=rows)


def names(**counts: int) -> list[str]:
    return [name for name, count in counts.items() for _ in range(count)]


def test_a_table_that_is_the_same_has_not_moved() -> None:
    columns = {"a": normal(0, 1000), "b": names(x=600, y=400), "c": [None, 1] * 500, "d": [True, False] * 500}

    assert moved(columns, columns, psi=1e-9, missing=0, range=0) == {}


@pytest.mark.parametrize(
    ("before", "after", "key", "text"),
    [
        (
            {"a": [1, 2], "b": [1, 2]},
            {"a": [1, 2]},
            ("b", "gone"),
            "column 'b': not there, was of kind integer",
        ),
        (
            {"a": [1, 2]},
            {"a": [1, 2], "b": ["u", "v"]},
            ("b", "new"),
            "column 'b': new, of kind text",
        ),
        ({"a": [1, 2]}, {"a": [1.5, 2]}, ("a", "kind"), "column 'a': kind number, was integer"),
        ({"a": [1, 2]}, {"a": [1, None]}, ("a", "nullable"), "column 'a': share of missing values 0.5, was 0"),
        (
            {"a": [None] * 2 + [1] * 998},
            {"a": [None] * 31 + [1] * 969},
            ("a", "missing"),
            "column 'a': share of missing values 0.031, was 0.002",
        ),
        (
            {"a": [0.0, 10.0]},
            {"a": [-5.5, 10.0]},
            ("a", "low"),
            "column 'a': smallest value -5.5, was 0 (to 10)",
        ),
        ({"a": [0, 10]}, {"a": [0, 16]}, ("a", "high"), "column 'a': largest value 16, was 10 (from 0)"),
        (
            {"a": names(x=50, y=50)},
            {"a": names(x=50, y=47, z=3)},
            ("a", "categories"),
            "column 'a': categories 1 new ones in 3 of 100 values ('z' 3), was 2 known ones",
        ),
    ],
)
def test_what_has_moved_is_told_with_both_figures(
    before: dict[str, Any], after: dict[str, Any], key: tuple[str, str], text: str
) -> None:
    assert moved(before, after) == {key: text}


def test_a_distribution_that_moved_within_its_range_is_found() -> None:
    found = moved({"a": normal(0, 5000)}, {"a": normal(1, 3000, middle=0.6)})

    assert list(found) == [("a", "psi")]
    assert found["a", "psi"].startswith("column 'a': population stability index 0.3")
    assert "over 10 bins, 0.2 is accepted; median 0.5986, was -0.02814" in found["a", "psi"]
    assert found["a", "psi"].endswith("(3000 values, were 5000)")


def test_categories_and_truth_values_that_change_their_shares_are_found() -> None:
    (text,) = moved({"a": names(x=900, y=100)}, {"a": names(x=500, y=500)}).values()
    assert "index 0.879 over 2 bins, 0.2 is accepted; share of 'x' 0.5, was 0.9 (1000 values, were 1000)" in text
    assert list(moved({"a": [True] * 90 + [False] * 10}, {"a": [True, False] * 50})) == [("a", "psi")]
    assert moved({"a": names(x=900, y=100)}, {"a": names(x=850, y=150)}) == {}


def test_bounds_are_those_of_the_settings() -> None:
    before, after = {"a": names(x=50, y=50)}, {"a": names(x=50, y=47, z=3)}

    assert moved(before, after, new_categories=0.03) == {}
    assert moved({"a": [0, 10]}, {"a": [0, 16]}, range=0.6) == {}
    assert moved({"a": [0, 10]}, {"a": [-4, 14]}) == {}
    assert moved({"a": [None] * 2 + [1] * 998}, {"a": [None] * 31 + [1] * 969}, missing=0.03) == {}


def test_tables_without_rows_or_values_can_be_compared() -> None:
    settings = table_of(columns={"a": {"kind": "category"}})
    empty, missing, full = (
        schema_of(pa.record_batch({"a": pa.array(values, pa.string()), "y": range(len(values))}), settings)
        for values in ([], [None] * 3, ["u"] * 3)
    )

    assert compare(empty, empty, Drift()) == compare(missing, missing, Drift()) == []
    assert [each.measure for each in compare(missing, full, Drift())] == ["categories"]
    assert [each.measure for each in compare(full, missing, Drift())] == ["nullable"]
    assert [each.measure for each in compare(empty, full, Drift())] == ["categories", "kind"]


def test_small_or_many_samples_of_one_population_have_not_moved() -> None:
    random = np.random.default_rng(0)
    found: list[str] = []
    for trial in range(100):
        rows = int(random.integers(20, 300))
        before = {"a": normal(2 * trial, rows), "b": random.choice(list("abcdefghijklmnop"), size=rows).tolist()}
        after = {"a": normal(2 * trial + 1, rows), "b": random.choice(list("abcdefghijklmnop"), size=rows).tolist()}
        found += [measure for _, measure in moved(before, after, new_categories=1)]

    assert found.count("psi") <= 2


def test_many_rare_categories_have_not_moved_because_each_is_drawn_or_not() -> None:
    random = np.random.default_rng(0)
    known = [f"town {number}" for number in range(300)]
    # Most rows are in one town, so that the index of the others is not lost in what chance makes.
    samples = [[*random.choice(known, size=700).tolist(), *names(city=20_000)] for _ in range(2)]

    assert moved({"a": samples[0]}, {"a": samples[1]}, new_categories=1, psi=0.01) == {}


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1))
def test_the_index_is_never_negative_and_nought_for_equal_shares(counts: list[tuple[int, int]]) -> None:
    before, after = (np.array(side, dtype=np.int64) for side in zip(*counts, strict=True))
    if before.sum() and after.sum():
        assert population_stability(before, after) >= 0
        assert population_stability(before, 3 * before) == pytest.approx(0, abs=1e-9 if before.all() else 0.2)


def test_the_index_is_that_of_its_formula() -> None:
    found = population_stability(np.array([50, 50]), np.array([80, 20]))

    assert found == pytest.approx(0.3 * math.log(0.8 / 0.5) - 0.3 * math.log(0.2 / 0.5))


def test_what_chance_makes_is_the_quantile_of_chi_square() -> None:
    from scipy.stats import chi2

    for bins in (3, 10, 100):
        assert chance_stability(bins, 200, 300) == pytest.approx(
            chi2.ppf(0.999, bins - 1) * (1 / 200 + 1 / 300), rel=0.03
        )
    assert chance_stability(1, 200, 300) == 0


def test_findings_warn_fail_or_are_nothing_as_said() -> None:
    batches = [pa.record_batch({"a": values, "b": values, "y": [0, 1]}) for values in (["u", "v"], [1, 2])]
    before, after = (schema_of(batch, table_of()) for batch in batches)
    findings = compare(before, after, Drift())

    assert settle(findings, Drift()) == ["column 'a': kind integer, was text", "column 'b': kind integer, was text"]
    assert settle(findings, Drift(action="off")) == []
    assert settle([], Drift(action="fail")) == []
    with pytest.raises(UserError) as caught:
        settle(findings, Drift(action="fail"))
    assert str(caught.value) == (
        "the table has moved from the one before in 2 ways: column 'a': kind integer, was text; "
        "column 'b': kind integer, was text; mend the data, widen the bounds in drift, "
        "or set drift.action to warn to accept it"
    )
