import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingest import delimited
from modelmill.errors import UserError
from tests.components.ingest.tables.tools import batches, read, sklearn_data
from tests.components.ingest.tools import write


def test_every_column_of_a_csv_comes_as_text_with_the_numbers_of_a_spreadsheet(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'id, text ,\n1,good,007\n2,"two\nlines",\n\n4,"say ""hi""",1.50')

    rows, bad = read(path)

    assert rows == [
        {"row": 2, "id": "1", "text": "good", "column_3": "007"},
        {"row": 3, "id": "2", "text": "two\nlines", "column_3": ""},
        {"row": 5, "id": "4", "text": 'say "hi"', "column_3": "1.50"},
    ]
    assert [(row.row, row.reason) for row in bad] == [(4, "empty")]


def test_a_ragged_row_and_one_that_is_not_utf8_cost_those_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n1,2\n1,2,3\n\xff,\xfe\n4\n5,6\n")

    rows, bad = read(path)

    assert [(row["row"], row["a"]) for row in rows] == [(2, "1"), (6, "5")]
    assert {(row.row, row.reason, row.detail) for row in bad} == {
        (3, "ragged_row", "3 columns, 2 expected"),
        (5, "ragged_row", "1 columns, 2 expected"),
        (4, "invalid_encoding", "column 'a': byte 0xff at 0 is not UTF-8"),
    }


@pytest.mark.parametrize("block", [64, 1 << 20])
def test_rows_keep_their_numbers_across_blocks_whatever_lies_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", block)
    lines = [f"{row},x" if row % 7 else f"{row}" for row in range(2, 300)]
    path = write(tmp_path / "a.csv", "n,b\n" + "\n".join(lines) + "\n1,2,3\n")

    rows, bad = read(path)

    assert [int(row["n"]) for row in rows] == [row["row"] for row in rows]
    assert [row.row for row in bad] == [*(row for row in range(2, 300) if row % 7 == 0), 300]
    assert len(rows) + len(bad) == 299


def test_a_quote_that_never_closes_fails_the_file_and_names_the_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'a,b\n1,2\n3,"4\n5,6\n')

    with pytest.raises(UserError, match=r"row 3: a quote opens there and never closes"):
        read(path)


def test_columns_to_ignore_are_not_read_and_a_misspelt_one_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,age,y\n1,2,3\n")

    assert read(path, ["id"])[0] == [{"row": 2, "age": "2", "y": "3"}]
    with pytest.raises(UserError, match="ignore names 'agee', which is no column; did you mean 'age'"):
        read(path, ["agee"])
    with pytest.raises(UserError, match="ignore names all 3 columns"):
        read(path, ["id", "age", "y"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,a\n1,2\n", r"2 columns are called 'a'"),
        ("\na,b\n1,2\n", r"row 1, where the header should be, is empty; correct skip_rows \(0\)"),
    ],
)
def test_a_header_that_cannot_be_used_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(write(tmp_path / "a.csv", content))


def test_a_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    (batch,) = batches(write(tmp_path / "a.csv", "a,b"))

    assert (batch.table.schema.names, batch.table.num_rows, batch.bad) == (["a", "b"], 0, [])


def test_json_lines_give_what_would_stand_in_a_csv_file(tmp_path: Path) -> None:
    values: list[Any] = [{"a": 1, "b": "x"}, {"a": 1.5, "c": True}, {"b": None, "a": "2"}, {"a": "\ud800", "b": "好"}]
    path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, values)))

    rows, bad = read(path)

    assert rows == [
        {"row": 1, "a": "1", "b": "x", "c": None},
        {"row": 2, "a": "1.5", "b": None, "c": "true"},
        {"row": 3, "a": "2", "b": None, "c": None},
        {"row": 4, "a": "?", "b": "好", "c": None},
    ]
    assert bad == []


HOSTILE_LINES = [
    ('{"a": ', "bad_json", "Expecting value at character 7"),
    ("[1]", "bad_json", "not an object but of type list"),
    ("[" * 100_000, "bad_json", "maximum recursion depth"),
    ('{"a": [1, 2]}', "wrong_type", "column 'a' holds an array; name it in ignore, or flatten it"),
    ('{"a": {"b": 1}}', "wrong_type", "column 'a' holds an object"),
    ("", "empty", "a blank line"),
]


@pytest.mark.parametrize(("line", "reason", "detail"), HOSTILE_LINES)
def test_a_line_that_is_no_row_costs_that_line(tmp_path: Path, line: str, reason: str, detail: str) -> None:
    rows, bad = read(write(tmp_path / "a.jsonl", f'{{"a": 1}}\n{line}\n{{"a": 2}}\n'))

    assert [(row["row"], row["a"]) for row in rows] == [(1, "1"), (3, "2")]
    assert [(row.row, row.reason) for row in bad] == [(2, reason)]
    assert detail in bad[0].detail


def test_a_nested_value_in_a_column_to_ignore_costs_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"a": 1, "b": [1]}\n{}\n')

    assert read(path, ["b"]) == ([{"row": 1, "a": "1"}, {"row": 2, "a": None}], [])


def test_objects_without_a_key_are_rows_without_columns(tmp_path: Path) -> None:
    (batch,) = batches(write(tmp_path / "a.jsonl", "{}\n{}\n"))

    assert (batch.table.num_rows, batch.table.num_columns) == (2, 0)


def test_parquet_gives_its_own_types_and_bytes_that_are_not_utf8_cost_their_row(tmp_path: Path) -> None:
    table = pa.table(
        {"n": [1, None, 3], "t": pa.array([b"a", b"b", b"\xff"]), "d": pa.array(["x", "x", "z"]).dictionary_encode()}
    )
    pq.write_table(table, tmp_path / "a.parquet")

    (batch,) = batches(tmp_path / "a.parquet")

    assert batch.table.to_pydict() == {"n": [1, None], "t": ["a", "b"], "d": ["x", "x"]}
    assert batch.table.schema.types == [pa.int64(), pa.large_string(), pa.large_string()]
    assert [(row.row, row.reason) for row in batch.bad] == [(3, "invalid_encoding")]


def test_rows_of_parquet_are_numbered_across_batches(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": range(1, 20_001)}), tmp_path / "a.parquet")

    rows, _ = read(tmp_path / "a.parquet")

    assert len(rows) == 20_000
    assert all(row["row"] == row["n"] for row in rows)


def test_a_cut_parquet_file_is_refused_and_its_copy_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": list(range(1000))}), path)
    path.write_bytes(path.read_bytes()[:500])

    with pytest.raises(UserError, match=r"a.parquet: broken Parquet: "):
        read(path)
    assert list(tmp_path.iterdir()) == [path]


def test_plain_text_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="format text has no columns; a table is csv, tsv, jsonl, parquet"):
        read(write(tmp_path / "a.txt", "a\n"))


@pytest.mark.parametrize(
    ("name", "settings", "rows", "columns"),
    [
        ("wine_data.csv", {"skip_rows": 1, "header": [*map(str, range(13)), "y"]}, 178, 14),
        ("breast_cancer.csv", {"skip_rows": 1, "header": [*map(str, range(30)), "y"]}, 569, 31),
        ("digits.csv.gz", {"header": [*map(str, range(64)), "y"]}, 1797, 65),
        ("diabetes_data_raw.csv.gz", {"header": [*map(str, range(10))], "delimiter": " "}, 442, 10),
        ("linnerud_exercise.csv", {"delimiter": " "}, 20, 3),
    ],
)
def test_files_without_a_header_or_with_odd_first_lines_are_read(
    name: str, settings: dict[str, Any], rows: int, columns: int
) -> None:
    found, bad = read(sklearn_data(name), **settings)

    assert len(found) == rows
    assert all(len(row) == columns + 1 for row in found)
    assert bad == []


def test_an_odd_first_line_taken_for_a_header_makes_every_row_ragged() -> None:
    rows, bad = read(sklearn_data("breast_cancer.csv"))

    assert (len(rows), len(bad)) == (0, 569)
    assert bad[0].detail == "31 columns, 4 expected"
