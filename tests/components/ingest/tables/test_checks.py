from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.ingest.tables.checks import (
    check_columns,
    check_target,
    constant_columns,
    leaks,
    settle_leaks,
    unique_columns,
)
from modelmill.errors import UserError
from tests.components.ingest.tables.tools import batches, converted, schema_of, sklearn_data, table_of, texts

RANDOM = np.random.default_rng(0)
Y = RANDOM.normal(size=200)
CLASSES = RANDOM.choice(["good", "bad", "odd"], size=200).tolist()


def found(feature: Any, target: Any = Y, rows: int = 200) -> list[tuple[str, str]]:
    batch = pa.record_batch({"a": pa.array(feature[:rows]), "y": pa.array(target[:rows])})
    table = pa.Table.from_batches([converted(batch, table_of()).table])
    return [(leak.column, leak.measure) for leak in leaks(table, schema_of(batch, table_of()))]


def noisy(feature: Any, noise: float) -> Any:
    return feature + noise * RANDOM.normal(size=len(feature))


def translated(names: dict[str, Any]) -> list[Any]:
    return [names[name] for name in CLASSES]


@pytest.mark.parametrize(
    ("feature", "target", "measure"),
    [
        (Y, Y, "equal"),
        (CLASSES, CLASSES, "equal"),
        (translated({"good": 1, "bad": 0, "odd": 7}), CLASSES, "one_to_one"),
        (translated({"good": "g", "bad": "b", "odd": "?!"}), CLASSES, "one_to_one"),
        ([name == "good" for name in CLASSES], [int(name == "good") for name in CLASSES], "one_to_one"),
        (-32 + 1.8 * Y, Y, "pearson"),
        (noisy(Y, 0.01), Y, "pearson"),
        (1e200 * Y, Y, "pearson"),
        (np.exp(-5 * Y), Y, "spearman"),
    ],
)
def test_a_feature_that_tells_the_target_is_found(feature: Any, target: Any, measure: str) -> None:
    assert found(feature, target) == [("a", measure)]


@pytest.mark.parametrize(
    ("feature", "target"),
    [
        (noisy(Y, 0.1), Y),
        (RANDOM.normal(size=200), Y),
        # A name of its own for every row tells nothing.
        ([f"row {row}" for row in range(200)], Y),
        ([f"row {row}" for row in range(200)], CLASSES),
        # Two of three classes share a name.
        (translated({"good": 1, "bad": 1, "odd": 7}), CLASSES),
        (["same"] * 200, ["same"] * 200),
        ([1.0] * 200, Y),
    ],
)
def test_a_feature_that_only_goes_with_the_target_or_is_unique_is_no_leak(feature: Any, target: Any) -> None:
    assert found(feature, target) == []


def test_few_rows_prove_nothing() -> None:
    assert found(Y, rows=19) == []
    assert found(Y, rows=20) == [("a", "equal")]
    assert found([None] * 185 + Y[185:].tolist()) == []


def test_missing_values_hide_no_leak() -> None:
    assert found([None if row % 3 else value for row, value in enumerate(Y.tolist())]) == [("a", "equal")]


@given(st.lists(st.integers(-3, 3), min_size=20, max_size=60))
def test_spearmans_coefficient_is_that_of_scipy(values: list[int]) -> None:
    from scipy.stats import spearmanr

    from components.ingest.tables.checks import _pearson, _ranks

    x = np.array(values, dtype=np.float64)
    y = np.arange(len(values)) % 7 + x / 2
    if len(set(values)) > 1:
        assert _pearson(_ranks(x), _ranks(y)) == pytest.approx(spearmanr(x, y).statistic)


def test_leaks_fail_by_default_with_column_figure_and_the_way_out() -> None:
    batch = pa.record_batch({"price_usd": pa.array(Y * 1.1), "copy": pa.array(Y), "y": pa.array(Y)})
    table = pa.Table.from_batches([converted(batch, table_of()).table])
    leaking = leaks(table, schema_of(batch, table_of()))

    with pytest.raises(UserError) as caught:
        settle_leaks(leaking, table_of())

    assert str(caught.value) == (
        "column 'copy' equals the target 'y' in 200 rows; column 'price_usd' goes with (Pearson's r 1.00000, more than "
        "0.999 either way) the target 'y' in 200 rows; name what is not known at prediction time in ignore, "
        "or set leaks to warn"
    )
    assert len(settle_leaks(leaking, table_of(leaks="warn"))) == 2
    assert settle_leaks(leaking, table_of(leaks="keep")) == []
    assert settle_leaks([], table_of()) == []


def test_constant_columns_and_those_that_look_like_ids_are_named() -> None:
    rows = 30
    batch = texts(
        {
            "same": ["x"] * rows,
            "nothing": [""] * rows,
            "id": [f"id-{row}" for row in range(rows)],
            "number": [str(row) for row in range(rows)],
            "measure": [f"{row}.5" for row in range(rows)],
            "twice": [f"id-{row // 2}" for row in range(rows)],
            "y": ["0", "1", "1"] * 10,
        }
    )
    schema = schema_of(batch, table_of())
    table = pa.Table.from_batches([converted(batch, table_of()).table])

    assert constant_columns(schema) == ["nothing", "same"]
    assert unique_columns(table, schema) == ["id", "number"]
    assert unique_columns(table.slice(0, 19), schema) == []


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": ["1", "2"], "y": ["", "NA"]}, "column 'y' is missing in all 2 rows"),
        ({"a": ["1", "2", "3"], "y": ["5", "5.0", ""]}, "column 'y' has 1 value in all 2 rows that have one"),
        ({"a": ["1", "1"], "y": ["1", "2"]}, "0 of 1 features vary over 2 rows"),
        ({"y": ["1", "2"]}, "0 of 0 features vary over 2 rows"),
    ],
)
def test_a_table_that_teaches_nothing_is_refused(columns: dict[str, list[str]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_target(schema_of(texts(columns), table_of()))


def test_files_must_have_the_same_columns_in_any_order() -> None:
    check_columns({})
    check_columns({"1.csv": ["a", "b"], "2.csv": ["b", "a"]})
    with pytest.raises(UserError, match=r"2.csv: no column 'b', which 1.csv has \(2 columns in 1.csv, 1 in 2.csv\)"):
        check_columns({"1.csv": ["a", "b"], "2.csv": ["a"]})
    with pytest.raises(UserError, match=r"1.csv: no column 'c', which 2.csv has"):
        check_columns({"1.csv": ["a", "b"], "2.csv": ["a", "b", "c"]})


@pytest.mark.parametrize(("name", "columns"), [("wine_data.csv", 13), ("breast_cancer.csv", 30), ("iris.csv", 4)])
def test_honest_tables_have_no_leak(name: str, columns: int) -> None:
    (batch,) = batches(sklearn_data(name), skip_rows=1, header=[*(f"f{place:02}" for place in range(columns)), "y"])
    schema = schema_of(batch.table, table_of())

    check_target(schema)
    assert leaks(pa.Table.from_batches([converted(batch.table, table_of()).table]), schema) == []
    assert constant_columns(schema) == []
