"""`modelmill init`: a recipe for a person's own data, that is valid as it is written."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelmill.errors import UserError
from pipelines.init import write_recipe
from pipelines.recipe_file import load


def _write(
    data: str, output: Path, name: str | None = None, text: str | None = None, label: str | None = None
) -> dict[str, str]:
    return write_recipe(data, output, name=name, text=text, label=label, ask=False)


def test_a_csv_becomes_a_valid_recipe_with_its_columns_found(tmp_path: Path) -> None:
    data = tmp_path / "data" / "Shop Reviews.csv"
    data.parent.mkdir()
    data.write_text(
        "id,verdict,review\n1,good,a very fine thing indeed\n2,bad,it broke on the first day\n3,good,fine\n"
    )
    chosen = _write(str(data), tmp_path / "recipe.yaml")
    assert chosen == {"source": str(data), "text": "review", "label": "verdict", "name": "shop-reviews"}
    recipe = load(tmp_path / "recipe.yaml")
    (source,) = recipe.ingest.labelled
    assert (source.uri, source.format) == (str(data), "csv")
    assert (source.columns.text, source.columns.label) == ("review", "verdict")
    assert recipe.pretrain is not None


@pytest.mark.parametrize("kind", ["csv.gz", "tsv", "jsonl", "parquet", "folder"])
def test_every_kind_of_table_is_looked_into(tmp_path: Path, kind: str) -> None:
    rows = [{"text": f"a longer text number {number}", "label": "ab"[number % 2]} for number in range(10)]
    path = tmp_path / f"data.{kind}"
    if kind == "csv.gz":
        path.write_bytes(
            gzip.compress(b"text,label\n" + b"".join(f"{r['text']},{r['label']}\n".encode() for r in rows))
        )
    elif kind == "tsv":
        path.write_text("text\tlabel\n" + "".join(f"{r['text']}\t{r['label']}\n" for r in rows))
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.mkdir()
        (path / "part-0.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    chosen = _write(str(path), tmp_path / "recipe.yaml")
    assert (chosen["text"], chosen["label"]) == ("text", "label")
    load(tmp_path / "recipe.yaml")


def test_a_label_that_is_a_measurement_is_cut_into_bins(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("text,score\n" + "".join(f"text number {n},{n / 10}\n" for n in range(100)))
    _write(str(path), tmp_path / "recipe.yaml", label="score")
    rule = load(tmp_path / "recipe.yaml").ingest.label
    assert rule is not None
    assert rule.bins == {"low": [0.0, 5.0], "high": [5.0, 9.9]}


def test_odd_names_of_columns_and_files_survive_the_yaml(tmp_path: Path) -> None:
    path = tmp_path / "my: data #1.csv"
    path.write_text('"the: text",# label\nsome longer words here,yes\nother longer words,no\n')
    _write(str(path), tmp_path / "recipe.yaml", text="the: text", label="# label")
    (source,) = load(tmp_path / "recipe.yaml").ingest.labelled
    assert (source.columns.text, source.columns.label, source.uri) == ("the: text", "# label", str(path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data.csv", "", "has 0 rows"),
        ("data.csv", "text,label\n", "has 0 rows"),
        ("data.docx", "x", "its name ends in none of"),
        ("data.jsonl", "[1]\n", "a line is not a JSON object"),
        ("data.parquet", "no parquet", "cannot be read as parquet"),
        ("data.csv.gz", "not gzip", "cannot be read as csv"),
    ],
)
def test_data_that_cannot_be_looked_into_is_told(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        _write(str(tmp_path / name), tmp_path / "recipe.yaml")
    assert not (tmp_path / "recipe.yaml").exists()


def test_what_is_not_there_is_told_and_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("text,label\nabc,x\ndef,y\n")
    with pytest.raises(UserError, match="no such file or folder"):
        _write(str(tmp_path / "nothing.csv"), tmp_path / "recipe.yaml")
    with pytest.raises(UserError, match="no column 'body'; its columns are text, label"):
        _write(str(path), tmp_path / "recipe.yaml", text="body")
    (tmp_path / "recipe.yaml").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        _write(str(path), tmp_path / "recipe.yaml")
    assert (tmp_path / "recipe.yaml").read_text() == "mine"
