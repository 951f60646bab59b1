from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelmill.errors import UserError
from tests.components.ingest.tools import read


def write_table(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.dictionary(pa.int32(), pa.string())]
)
def test_text_of_every_arrow_type_is_read(tmp_path: Path, kind: Any) -> None:
    path = write_table(tmp_path / "a.parquet", {"text": pa.array(["a", "b"], pa.string()).cast(kind), "label": [0, 1]})

    assert read(path, labelled=True) == ([(1, "a", 0), (2, "b", 1)], [])


def test_nulls_and_bytes_that_are_not_utf8_cost_their_rows(tmp_path: Path) -> None:
    path = write_table(
        tmp_path / "a.parquet", {"text": pa.array([b"a", None, b"\xff", b"d"]), "label": ["x", "x", "x", None]}
    )

    rows, bad = read(path, labelled=True)

    assert rows == [(1, "a", "x"), (4, "d", None)]
    assert [(row.row, row.reason) for row in bad] == [(2, "missing_text"), (3, "invalid_encoding")]


def test_rows_are_numbered_across_batches(tmp_path: Path) -> None:
    path = write_table(
        tmp_path / "a.parquet", {"text": [str(number) for number in range(1, 20_001)]}, row_group_size=999
    )

    rows, _ = read(path)

    assert [(number, text) for number, text, _ in rows] == [(number, str(number)) for number in range(1, 20_001)]


def test_a_column_that_holds_no_text_or_is_not_there_is_refused(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.parquet", {"texts": ["a"], "score": [1.5]})

    with pytest.raises(UserError, match=r"column 'score' holds double, not text; correct columns\.text"):
        read(path, columns={"text": "score"})
    with pytest.raises(UserError, match="no column 'text'; its 2 columns are 'texts', 'score'; did you mean 'texts'"):
        read(path)


@pytest.mark.parametrize("keep", [0.3, 0.99])
def test_a_cut_parquet_file_is_refused(tmp_path: Path, keep: float) -> None:
    path = write_table(tmp_path / "a.parquet", {"text": ["a" * 1000] * 100})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])

    with pytest.raises(UserError, match=r"a.parquet: broken Parquet: .* \(after 0 rows, \d+ of \d+ bytes\)"):
        read(path)


def test_a_damaged_page_is_refused_with_the_rows_read_before_it(tmp_path: Path) -> None:
    texts = [f"{number:05} " + "x" * 200 for number in range(30_000)]
    path = write_table(tmp_path / "a.parquet", {"text": texts}, row_group_size=10_000, use_dictionary=False)
    content = bytearray(path.read_bytes())
    middle = len(content) * 9 // 10
    content[middle : middle + 2000] = b"\xff" * 2000
    path.write_bytes(content)

    with pytest.raises(UserError, match=r"broken Parquet: .* \(after [1-9]\d+ rows"):
        read(path)


def test_the_copy_that_was_checked_is_removed(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.parquet", {"text": ["a"]})

    read(path)

    assert [each.name for each in tmp_path.iterdir()] == ["a.parquet"]
