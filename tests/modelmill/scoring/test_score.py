"""Whole files scored: every row answered or refused with a reason, whatever the format, and nothing done twice."""

import base64
import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelmill.errors import ModelmillError, UserError
from modelmill.models.base import address_of
from modelmill.models.interface import interface
from modelmill.models.predict import load_predictor
from modelmill.scoring.score import Request, Scored, score
from tests import answering, pictures, samples, servers, tables

TEXTS = [text for text, _ in samples.reviews(50, seed=9)]


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return answering.text_model(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return answering.image_model(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def table_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return answering.table_model(tmp_path_factory.mktemp("table"))


def _score(folder: Path, source: Any, output: Any, told: Any = lambda *_: None, **more: Any) -> Scored:
    facts = json.loads((folder / "modelmill.json").read_text())
    request = Request(input=str(source), output=str(output), **more)
    scratch = folder.parent / f"scratch-{folder.name}"
    scratch.mkdir(exist_ok=True)
    return score(request, address_of(folder), facts, interface(facts), lambda: load_predictor(folder), scratch, told)


def _rows(output: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(output).to_pylist()
    return rows


def _refused(output: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(output / "_refused").to_pylist()
    return rows


def _bytes(output: Path) -> dict[str, bytes]:
    return {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*") if path.is_file()}


def _write_texts(folder: Path, form: str, texts: list[str]) -> Path:
    rows = [{"id": place, "text": text} for place, text in enumerate(texts)]
    path = folder / f"rows.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=7)
    elif form == "txt":
        path.write_text("".join(f"{text}\n" for text in texts))
    elif form == "jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    else:
        separator = "," if "csv" in form else "\t"
        written = "".join([f"id{separator}text\r\n", *(f"{row['id']}{separator}{row['text']}\r\n" for row in rows)])
        path.write_bytes(gzip.compress(written.encode()) if form.endswith("gz") else written.encode())
    return path


@pytest.mark.parametrize("form", ["parquet", "csv", "tsv", "csv.gz", "jsonl", "txt"])
def test_every_format_gives_the_answers_that_the_predictor_gives(text_model: Path, tmp_path: Path, form: str) -> None:
    source = _write_texts(tmp_path, form, TEXTS)
    scored = _score(text_model, source, tmp_path / "out")
    predictor = load_predictor(text_model)
    wanted_NL = predictor.predict(TEXTS)
    rows = _rows(tmp_path / "out")
    assert [row["text"] for row in rows] == TEXTS
    found_NL = [[row["predicted_probabilities"][label] for label in predictor.labels] for row in rows]
    np.testing.assert_allclose(found_NL, wanted_NL, atol=1e-6)
    assert [row["predicted_label"] for row in rows] == [predictor.labels[best] for best in wanted_NL.argmax(axis=1)]
    first = 2 if form.startswith(("csv", "tsv")) else 1
    assert [row["source_row"] for row in rows] == list(range(first, first + len(TEXTS)))
    if form != "txt":
        assert [int(row["id"]) for row in rows] == list(range(len(TEXTS)))
    assert (scored.manifest["rows"], scored.manifest["answered"], scored.manifest["refused"]) == (50, 50, {})


def test_rows_that_cannot_be_answered_are_refused_by_reason_and_kept(text_model: Path, tmp_path: Path) -> None:
    lines = [
        b'{"id": 1, "text": "a fine film"}',
        b'{"id": 2, "text": "cut',
        b'{"id": 3, "text": "\xff"}',
        b"[4]",
        b"",
        b'{"id": 6, "text": "  "}',
        b'{"id": 7}',
        b'{"id": "eight", "text": "dull", "more": {"a": [1]}}',
    ]
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    manifest = _score(text_model, tmp_path / "rows.jsonl", tmp_path / "out").manifest
    assert (manifest["rows"], manifest["answered"]) == (8, 2)
    assert manifest["refused"] == {"broken_json": 2, "empty": 1, "missing_text": 2, "not_utf8": 1}
    refused = _refused(tmp_path / "out")
    assert [row["source_row"] for row in refused] == [2, 3, 4, 5, 6, 7]
    assert refused[0]["input"] == '{"id": 2, "text": "cut'
    assert json.loads(refused[4]["input"]) == {"id": 6, "text": "  "}
    assert manifest["files"]["rows.jsonl"]["read"] == 8


def test_what_fits_no_column_is_kept_beside_them(text_model: Path, tmp_path: Path) -> None:
    rows = [{"id": place, "text": "fine"} for place in range(1000)]
    rows += [{"id": "late", "text": "dull", "more": [1, None]}]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    _score(text_model, tmp_path / "rows.jsonl", tmp_path / "out")
    last = _rows(tmp_path / "out")[-1]
    assert (last["id"], last["text"]) == (None, "dull")
    assert json.loads(last["source_other"]) == {"id": "late", "more": [1, None]}


def test_broken_records_of_a_csv_cost_themselves(text_model: Path, tmp_path: Path) -> None:
    content = b'id,text\r\n1,"a\nfine, film"\r\n2\r\n3,dull,more\r\n\r\n5,\xe9t\xe9\r\n6,"un"closed\r\n7,good\r\n'
    (tmp_path / "rows.csv").write_bytes(b"\xef\xbb\xbf" + content)
    manifest = _score(text_model, tmp_path / "rows.csv", tmp_path / "out").manifest
    assert [(row["id"], row["text"]) for row in _rows(tmp_path / "out")] == [("1", "a\nfine, film"), ("7", "good")]
    assert manifest["refused"] == {"broken_csv": 1, "empty": 1, "not_utf8": 1, "ragged": 2}
    assert manifest["rows"] == manifest["answered"] + sum(manifest["refused"].values())


def test_pictures_of_a_folder_are_answered_and_broken_ones_refused(image_model: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    made = [pictures.encoded(pixels) for pixels, _ in pictures.halves(12)]
    for place, data in enumerate(made):
        (tmp_path / "in" / "deep" / f"{place:02}.png").write_bytes(data)
    (tmp_path / "in" / "deep" / "05.png").write_bytes(made[5][:60])
    (tmp_path / "in" / "readme.md").write_text("no picture")
    manifest = _score(image_model, tmp_path / "in", tmp_path / "out").manifest
    rows = _rows(tmp_path / "out")
    assert [row["source_file"] for row in rows] == [f"deep/{place:02}.png" for place in range(12) if place != 5]
    wanted = load_predictor(image_model).predict([data for place, data in enumerate(made) if place != 5])
    np.testing.assert_allclose([row["predicted_probability"] for row in rows], wanted.max(axis=1), atol=1e-6)
    assert "image" not in rows[0]
    assert manifest["rows"] == 13
    assert sum(manifest["refused"].values()) == 2
    assert "truncated_image" in manifest["refused"]


def test_pictures_in_parquet_and_in_json_are_read_as_bytes_and_as_base64(image_model: Path, tmp_path: Path) -> None:
    made = [pictures.encoded(pixels) for pixels, _ in pictures.halves(6)]
    rows = [{"id": place, "photo": {"bytes": data, "path": "x.png"}} for place, data in enumerate(made)]
    pq.write_table(pa.Table.from_pylist([*rows, {"id": 6, "photo": None}]), tmp_path / "rows.parquet")
    lines = [json.dumps({"id": place, "photo": base64.b64encode(data).decode()}) for place, data in enumerate(made)]
    (tmp_path / "rows.jsonl").write_text("\n".join([*lines, '{"id": 6, "photo": "?"}']))
    found = []
    for form, reason in (("parquet", "missing_image"), ("jsonl", "broken_image")):
        out = tmp_path / form
        manifest = _score(image_model, tmp_path / f"rows.{form}", out, columns={"image": "photo"}, keep=["id"]).manifest
        assert manifest["refused"] == {reason: 1}
        found.append([(row["id"], row["predicted_probability"]) for row in _rows(out)])
    assert found[0] == found[1]
    assert len(found[0]) == 6


def test_a_tables_texts_are_read_as_its_model_read_them(table_model: Path, tmp_path: Path) -> None:
    rows = tables.houses(40, seed=5)
    asked = [{name: row[name] for name in tables.HOUSES} for row in rows]
    wanted = load_predictor(table_model).predict(asked)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    lines = [",".join(rows[0])]
    for row in rows:
        lines.append(",".join("NA" if value is None else str(value) for value in row.values()))
    lines[3] = lines[3].replace(lines[3].split(",")[4], "many", 1)
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    _score(table_model, tmp_path / "rows.parquet", tmp_path / "typed")
    manifest = _score(table_model, tmp_path / "rows.csv", tmp_path / "texts").manifest
    typed = [row["predicted_value"] for row in _rows(tmp_path / "typed")]
    np.testing.assert_allclose(typed, wanted, rtol=1e-6)
    texts = {row["source_row"] - 2: row["predicted_value"] for row in _rows(tmp_path / "texts")}
    for place, value in texts.items():
        assert math.isclose(value, wanted[place], rel_tol=1e-6)
    assert len(texts) + sum(manifest["refused"].values()) == 40
    assert list(manifest["refused"]) == ["wrong_value"]


def test_a_number_that_is_none_is_no_answer(table_model: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    broken.mkdir()
    for file in table_model.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = load_file(broken / "model.safetensors")
    save_file(
        {name: torch.full_like(weight, torch.nan) for name, weight in weights.items()}, broken / "model.safetensors"
    )
    pq.write_table(pa.Table.from_pylist(tables.houses(5)), tmp_path / "rows.parquet")
    manifest = _score(broken, tmp_path / "rows.parquet", tmp_path / "out").manifest
    assert (manifest["answered"], manifest["refused"]) == (0, {"not_finite": 5})
    assert pq.read_table(tmp_path / "out").num_rows == 0
    assert "nan" in _refused(tmp_path / "out")[0]["detail"]


class _KilledError(Exception):
    pass


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.integers(1, 50), shard_rows=st.integers(1, 20), calls=st.lists(st.integers(1, 4), max_size=4))
def test_work_that_breaks_off_anywhere_ends_in_the_bytes_of_unbroken_work(
    text_model: Path, tmp_path_factory: pytest.TempPathFactory, rows: int, shard_rows: int, calls: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("work")
    (folder / "in").mkdir()
    for name, part in (("a", TEXTS[: rows // 2]), ("b", TEXTS[rows // 2 : rows])):
        (folder / "in" / f"{name}.txt").write_text("".join(f"{text}\n" for text in part))
    _score(text_model, folder / "in", folder / "whole", shard_rows=shard_rows)
    for call in calls:
        left = [call]

        def broken(*_: Any, left: list[int] = left) -> None:
            left[0] -= 1
            if not left[0]:
                raise _KilledError

        try:
            _score(text_model, folder / "in", folder / "broken", told=broken, shard_rows=shard_rows)
        except _KilledError:
            continue
    _score(text_model, folder / "in", folder / "broken", shard_rows=shard_rows)
    assert _bytes(folder / "broken") == _bytes(folder / "whole")


def test_what_is_done_is_not_done_again(text_model: Path, tmp_path: Path) -> None:
    source = _write_texts(tmp_path, "txt", TEXTS)
    assert _score(text_model, source, tmp_path / "out", shard_rows=10).rows == 50
    before = _bytes(tmp_path / "out")
    assert _score(text_model, source, tmp_path / "out", shard_rows=10).rows == 0
    for name in ("_manifest.json", "_shards/00004.json", "part-00004.parquet"):
        (tmp_path / "out" / name).unlink()
    assert _score(text_model, source, tmp_path / "out", shard_rows=10).rows == 10
    assert _bytes(tmp_path / "out") == before


def test_another_model_or_input_is_refused_with_both_digests(
    text_model: Path, table_model: Path, tmp_path: Path
) -> None:
    source = _write_texts(tmp_path, "txt", TEXTS)
    _score(text_model, source, tmp_path / "out")
    other = answering.text_model(tmp_path / "other")
    (other / "extra.txt").write_text("x")
    with pytest.raises(UserError) as refused:
        _score(other, source, tmp_path / "out")
    assert address_of(other) in str(refused.value)
    assert address_of(text_model) in str(refused.value)
    before = json.loads((tmp_path / "out" / "_job.json").read_text())["input"]
    source.write_text(source.read_text() + "one more\n")
    with pytest.raises(UserError, match=f"another input .{before}.*choose another --output"):
        _score(text_model, source, tmp_path / "out")


def test_a_part_that_was_changed_is_told_and_not_overwritten(text_model: Path, tmp_path: Path) -> None:
    source = _write_texts(tmp_path, "txt", TEXTS)
    _score(text_model, source, tmp_path / "out")
    for name in ("_manifest.json", "_shards/00000.json"):
        (tmp_path / "out" / name).unlink()
    (tmp_path / "out" / "part-00000.parquet").write_bytes(b"changed")
    with pytest.raises(ModelmillError, match=r"part-00000\.parquet: holds other bytes"):
        _score(text_model, source, tmp_path / "out")


@pytest.mark.parametrize(
    ("source", "more", "message"),
    [
        ("rows.csv", {"columns": {"txt": "id"}}, "the model reads no 'txt'; did you mean 'text'"),
        ("other.csv", {}, "1 of the 1 columns that the model reads are not among the 2 of the input"),
        ("rows.csv", {"keep": ["idd"]}, "no such column among the 2 of the input; did you mean 'id'"),
        ("rows.csv", {"format": "cvs"}, "no such format; did you mean 'csv'"),
        ("rows.csv", {"shard_rows": 0}, "a part has at least 1 row"),
        ("taken.csv", {}, "has the name of one that scoring adds"),
        ("double.csv", {}, "2 columns are called 'text'"),
        (".", {}, "kinds of files"),
        ("header.csv", {}, "0 rows in its 1 files"),
        ("rows.csv", {"format": "parquet"}, "no Parquet"),
        ("gone.csv", {}, "no such file"),
        ("cut.csv.gz", {}, "broken after row"),
    ],
)
def test_wrong_input_is_told_with_the_way_out(
    text_model: Path, tmp_path: Path, source: str, more: dict[str, Any], message: str
) -> None:
    (tmp_path / "rows.csv").write_text("id,text\n1,fine\n")
    (tmp_path / "other.csv").write_text("id,review\n1,fine\n")
    (tmp_path / "taken.csv").write_text("predicted_label,text\n1,fine\n")
    (tmp_path / "double.csv").write_text("text,text\n1,fine\n")
    (tmp_path / "header.csv").write_text("id,text\n")
    (tmp_path / "notes.txt").write_text("x\n")
    content = gzip.compress(b"id,text\n" + b"".join(f"{at},row {at * 7919}\n".encode() for at in range(3000)))
    (tmp_path / "cut.csv.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=message):
        _score(text_model, tmp_path / source, tmp_path.parent / f"{tmp_path.name}-out", **more)


def test_an_output_with_other_files_or_inside_the_input_is_refused(text_model: Path, tmp_path: Path) -> None:
    source = _write_texts(tmp_path, "txt", TEXTS)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(UserError, match=r"holds 1 files that no scoring made \(mine.txt\)"):
        _score(text_model, source, tmp_path / "out")
    with pytest.raises(UserError, match="lies in the input"):
        _score(text_model, tmp_path, tmp_path / "within")


def test_files_of_a_bucket_are_scored_into_a_bucket(
    text_model: Path, s3: servers.S3Server, s3_uri: str, tmp_path: Path
) -> None:
    bucket, client = s3_uri.split("/")[2], s3.client()
    for form in ("parquet", "csv", "jsonl"):
        path = _write_texts(tmp_path, form, TEXTS)
        client.upload_file(str(path), bucket, f"in/{form}/{path.name}")
        _score(text_model, path, tmp_path / f"out-{form}", shard_rows=20)
        output = f"s3://{bucket}/out/{form}"
        manifest = _score(text_model, f"s3://{bucket}/in/{form}/", output, shard_rows=20).manifest
        assert manifest["answered"] == 50
        for name in manifest["parts"]:
            data = client.get_object(Bucket=bucket, Key=f"out/{form}/{name}")["Body"].read()
            assert data == (tmp_path / f"out-{form}" / name).read_bytes()
        assert _score(text_model, f"s3://{bucket}/in/{form}/", output, shard_rows=20).rows == 0
        client.put_object(Bucket=bucket, Key=f"in/{form}/{path.name}", Body=b"text\nanother\n")
        with pytest.raises(UserError, match="another input"):
            _score(text_model, f"s3://{bucket}/in/{form}/", output, shard_rows=20, format="csv")
