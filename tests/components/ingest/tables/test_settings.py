from typing import Any

import pytest
from pydantic import ValidationError

from components.ingest.tables.settings import Table

REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"target": ""}, "target", "at least 1 character"),
    ({"columns": {"a": {"min": 2, "max": 1}}}, "columns.a", "min (2) is above max (1)"),
    ({"columns": {"a": {"kind": "text", "min": 1}}}, "columns.a", "min and max are for numbers and integers"),
    ({"columns": {"a": {"categories": ["x"], "max": 1}}}, "columns.a", "and the kind is category"),
    ({"columns": {"a": {"categories": ["x"], "kind": "number"}}}, "columns.a", "and the kind is number"),
    ({"columns": {"a": {"categories": ["x", "y", "x"]}}}, "columns.a", "categories name 'x' 2 times"),
    ({"columns": {"a": {"categories": []}}}, "columns.a.categories", "at least 1 item"),
    ({"columns": {"a": {"out_of_range": "clip"}}}, "columns.a", "with min or max, and there is neither"),
    ({"columns": {"a": {"nullable": False, "missing": "keep"}}}, "columns.a", "missing is keep and nullable is false"),
    ({"columns": {"a": {"kind": "float"}}}, "columns.a.kind", "Input should be 'number'"),
    ({"columns": {"a": {"min": float("nan")}}}, "columns.a.min", "finite number"),
    ({"ignore": ["y"]}, "", "ignore names the target 'y'"),
    ({"ignore": ["a"], "columns": {"a": {"min": 1}}}, "", "described in columns and named in ignore"),
    ({"group": "y"}, "", "group and target are the same column 'y'"),
    ({"group": "a", "ignore": ["a"]}, "", "ignore names the group 'a'"),
    ({"missing": "drop"}, "missing", "Input should be 'keep', 'drop_row' or 'fail'"),
    ({"drift": {"psi": 0}}, "drift.psi", "greater than 0"),
    ({"drift": {"action": "stop"}}, "drift.action", "Input should be 'off', 'warn' or 'fail'"),
]


@pytest.mark.parametrize(("section", "place", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_contradictions_and_wrong_values_are_refused_where_they_stand(
    section: dict[str, Any], place: str, message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        Table.model_validate({"target": "y", **section})

    errors = {".".join(map(str, error["loc"])): error["msg"] for error in caught.value.errors()}
    assert message in errors.get(place, f"nothing at {place!r}: {errors}")


def test_a_target_is_all_that_must_be_said_and_settings_survive_the_way_to_the_step() -> None:
    table = Table.model_validate({"target": "y", "columns": {"a": {"min": 0}}})

    assert Table.model_validate_json(table.model_dump_json()) == table
    assert table.column("other").known_kind is None


def test_numbers_and_null_that_yaml_reads_are_meant_as_they_stand_in_the_file() -> None:
    table = Table.model_validate(
        {"target": "y", "missing_values": [-999, None, "x"], "columns": {"a": {"missing_values": [0.5]}}}
    )

    assert table.missing_cells("b") == ["-999", "null", "x"]
    assert table.missing_cells("a") == ["0.5"]
