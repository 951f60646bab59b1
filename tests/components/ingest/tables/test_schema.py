import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.ingest.tables.profile import MAX_CATEGORIES, Profile
from components.ingest.tables.schema import Schema, infer
from modelmill.errors import UserError
from tests.components.ingest.tables.tools import batches, profiled, schema_of, sklearn_data, table_of, texts

CELLS = st.sampled_from(
    ["1", "2", "-3", "1.5", "inf", "007", "x", "yes", "false", "2020-01-02", "2020-02-30", "NA", " 4"]
)
ROWS = st.lists(st.tuples(CELLS, CELLS), max_size=30)


def batch_of(rows: list[tuple[str, str]]) -> Any:
    return texts({"a": [a for a, _ in rows], "y": [y for _, y in rows]})


@given(st.lists(ROWS))
def test_a_profile_is_the_same_in_whatever_parts_and_order_the_rows_come(parts: list[list[tuple[str, str]]]) -> None:
    settings = table_of()
    whole = profiled(batch_of([row for part in parts for row in part]), settings)
    left, right, backwards = Profile(), Profile(), Profile()
    for part in parts:
        left.merge(profiled(batch_of(part), settings))
    for part in reversed(parts):
        later, right = right, profiled(batch_of(part), settings)
        right.merge(later)
        backwards.add(batch_of(part[::-1]), settings)

    expected = infer(whole, settings).to_dict()
    for profile in (left, right, backwards):
        profile.merge(profiled(batch_of([]), settings))
        assert infer(profile, settings).to_dict() == expected


def column(values: list[Any], **declared: Any) -> Any:
    batch = pa.record_batch({"a": pa.array(values), "y": pa.array(range(len(values)))})
    return schema_of(batch, table_of(columns={"a": declared} if declared else {})).columns["a"]


KINDS: list[tuple[list[Any], str]] = [
    (["1", "-2", "+3"], "integer"),
    (["1", "2.0", ""], "number"),
    (["1e5", "inf"], "number"),
    (["True", "no", "NA"], "boolean"),
    (["1", "0", "1"], "integer"),
    (["2020-01-02", "2021-12-31T10:00:00Z"], "date"),
    (["02134", "10001", "90210"], "text"),
    (["02134", "10001", "90210"] * 3, "category"),
    (["x", "y", "x", "y"], "text"),
    (["x", "y", "x", "y", "x"], "category"),
    (["x" * 201] * 5, "text"),
    (["NA", ""], "text"),
    (["1.5"] * 99 + ["oops"], "number"),
    (["1.5"] * 98 + ["oops"] * 2, "category"),
    (["1"] * 199 + ["1.5"], "number"),
    ([1, None], "integer"),
    ([1.0, 2.0], "number"),
    ([True, None], "boolean"),
]


@pytest.mark.parametrize(("values", "kind"), KINDS, ids=[f"{kind} {str(values)[:30]}" for values, kind in KINDS])
def test_a_column_is_what_its_values_are(values: list[Any], kind: str) -> None:
    assert column(values).kind == kind


def test_a_column_has_the_figures_of_its_values() -> None:
    found = column(["3", "1", "NA", "2", "10"])

    assert (found.kind, found.rows, found.missing, found.nullable, found.distinct) == ("integer", 5, 1, True, 4)
    assert (found.low, found.high, found.quartiles) == (1, 10, (1.0, 2.0, 3.0))
    assert type(found.low) is int


def test_a_category_has_its_names_sorted_with_their_counts_and_a_declared_one_that_does_not_occur() -> None:
    assert column(["b", "a", "b", "b", "NA"] * 2).counts == {"a": 2, "b": 6}
    assert column(["2", "1", "3"], categories=[1, 2, 5]).counts == {"1": 1, "2": 1, "5": 0}
    assert column([1.0, 2.0], kind="category").categories == ("1", "2")
    assert column(["yes", "FALSE", "Yes"]).counts == {"false": 1, "true": 2}


def test_more_names_than_a_category_may_have_are_text_and_not_counted_one_by_one() -> None:
    names = [f"n{number}" for number in range(MAX_CATEGORIES)] * 3

    assert column(names).kind == "category"
    assert column([*names, "one more"]).distinct is None
    assert column([*names, "one more"]).kind == "text"
    with pytest.raises(UserError, match="column 'a' is declared a category and has more than 1000 different values"):
        column([*names, "one more"], kind="category")


@pytest.mark.parametrize(
    ("values", "constant"),
    [(["1", "1.0"], True), (["x", "x"], True), (["x", ""], False), (["", "NA"], True), (["1", "2"], False)],
)
def test_a_constant_column_says_the_same_in_every_row(values: list[str], constant: bool) -> None:
    assert column(values).constant == constant


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": "yy"}, "target: no column 'yy' among 2; did you mean 'y'"),
        ({"target": "medv"}, "target: no column 'medv' among 2; correct it, or `header` if the file has none"),
        ({"group": "patient"}, "group: no column 'patient'"),
        ({"columns": {"aa": {"min": 1}}}, "columns.aa: no column 'aa'"),
    ],
)
def test_a_column_that_is_named_and_not_there_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        schema_of(texts({"a": ["1"], "y": ["1"]}), table_of(**settings))


def test_a_schema_survives_as_json_and_names_its_features() -> None:
    batch = texts({"who": ["1", "1", "2"], "a": ["x", "y", "x"], "y": ["1.5", "2", ""]})
    schema = schema_of(batch, table_of(group="who"))

    assert Schema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema
    assert (schema.features, schema.target, schema.columns["who"].kind) == (["a"], "y", "text")
    assert schema.without(["a"]).features == []
    assert schema.arrow().field("y").type == pa.float64()


def test_a_key_that_some_rows_lack_is_missing_there() -> None:
    settings = table_of()
    profile = profiled(texts({"y": ["1", "2"]}), settings)
    profile.add(texts({"a": ["5"], "y": ["3"]}), settings)

    assert infer(profile, settings).columns["a"].missing == 2


def test_real_tables_are_what_their_owners_say() -> None:
    header = [f"feature {place}" for place in range(13)]
    settings = table_of(columns={"y": {"kind": "category"}})
    profile = Profile()
    for batch in batches(sklearn_data("wine_data.csv"), skip_rows=1, header=[*header, "y"]):
        profile.add(batch.table, settings)

    schema = infer(profile, settings)

    assert schema.rows == 178
    assert schema.columns["y"].counts == {"0": 59, "1": 71, "2": 48}
    # As scikit-learn describes the set: alcohol 11.0 to 14.8, proline 278 to 1680.
    assert (schema.columns["feature 0"].low, schema.columns["feature 0"].high) == (11.03, 14.83)
    assert (schema.columns["feature 12"].kind, schema.columns["feature 12"].high) == ("integer", 1680)


def test_names_of_two_parts_are_too_many_together() -> None:
    settings = table_of()
    parts = [profiled(texts({"a": [f"{part}-{row}" for row in range(600)]}), settings) for part in range(2)]

    parts[0].merge(parts[1])

    assert parts[0].columns["a"].values is None


def test_what_a_profile_holds_does_not_grow_with_the_rows() -> None:
    settings = table_of()
    profile = Profile()
    random = np.random.default_rng(0)
    for _ in range(20):
        values = random.normal(size=5000)
        profile.add(pa.record_batch({"a": pa.array(values), "y": pa.array(map(str, values))}), settings)

    assert profile.columns["a"].values is None
    assert len(profile.columns["a"].sketch.keys) <= 2048
    assert len(json.dumps(infer(profile, settings).to_dict())) < 20_000
