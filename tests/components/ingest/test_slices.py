"""What is kept beside a row to slice by: the source's name and further columns, which no model and no id knows of."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from components.ingest.settings import IngestSettings
from modelmill.dataset import Dataset, open_dataset
from modelmill.errors import UserError
from tests.components.ingest.test_pictures import PIXELS, add, encoded
from tests.components.ingest.tools import ingest, write

SPLIT = {"train": 0.5, "validation": 0.25, "test": 0.25}


def texts(place: str, region: str, count: int = 60, *, beyond: str = "") -> str:
    rows = "".join(f"{place} review number {number},{'ab'[number % 2]},{region}\n" for number in range(count))
    return "text,label,region\n" + rows + beyond


def labelled(folder: Path, *sources: dict[str, Any], **recipe: Any) -> Dataset:
    told = {"near_duplicates": {"action": "off"}, "split": SPLIT, **recipe}
    if told.get("task", "text") != "text":
        del told["near_duplicates"]
    outputs, store = ingest(folder, labelled=list(sources), **told)
    return open_dataset(store, outputs.labelled)


def rows_of(dataset: Dataset) -> list[dict[str, Any]]:
    return [row for split in dataset.splits for row in dataset.table(split).to_pylist()]


def test_a_text_keeps_its_sources_name_and_the_columns_to_slice_by(tmp_path: Path) -> None:
    shop = write(tmp_path / "shop.csv", texts("shop", "north"))
    lines = [{"text": f"web text {number}", "label": "ab"[number % 2], "region": number} for number in range(50)]
    web = write(tmp_path / "web.jsonl", "".join(f"{json.dumps(line)}\n" for line in [*lines, lines[0] | {"text": "x"}]))
    found = labelled(tmp_path / "run", {"uri": str(shop), "name": "shop"}, {"uri": str(web)}, slice_columns=["region"])
    kept = {row["text"]: row["slices"] for row in rows_of(found)}
    assert kept["shop review number 3"] == {"source": "shop", "region": "north"}
    assert kept["web text 7"] == {"source": None, "region": "7"}
    assert len(kept) == 111


def test_nothing_is_kept_where_nothing_is_asked_for(tmp_path: Path) -> None:
    shop = write(tmp_path / "shop.csv", texts("shop", "north"))
    assert labelled(tmp_path / "run", {"uri": str(shop)}).schema.names == ["id", "text", "label"]


def test_of_equal_rows_the_same_one_is_kept_whatever_the_order_of_the_sources(tmp_path: Path) -> None:
    first = write(tmp_path / "first.csv", texts("same", "north", beyond="first alone,a,north\n"))
    second = write(tmp_path / "second.csv", texts("same", "east", beyond="second alone,a,\n"))
    sources = [{"uri": str(first), "name": "b"}, {"uri": str(second), "name": "c"}]
    one = labelled(tmp_path / "one", *sources, slice_columns=["region"])
    other = labelled(tmp_path / "other", *sources[::-1], slice_columns=["region"])
    assert one.address == other.address
    kept = {row["text"]: row["slices"] for row in rows_of(one)}
    assert kept.pop("second alone") == {"source": "c", "region": None}
    assert len({tuple(slices.values()) for slices in kept.values()} - {("b", "north"), ("c", "east")}) == 0


def test_a_corpus_keeps_its_sources_names_and_no_others(tmp_path: Path) -> None:
    lines = write(tmp_path / "lines.txt", "".join(f"a line of the corpus, number {number}\n" for number in range(200)))
    shop = write(tmp_path / "shop.csv", texts("shop", "north"))
    told: dict[str, Any] = {"labelled": [{"uri": str(shop), "name": "shop"}], "split": SPLIT}
    told["near_duplicates"] = {"action": "off"}
    outputs, store = ingest(tmp_path / "a", corpus=[{"uri": str(lines)}], **told)
    assert open_dataset(store, outputs.corpus).schema.names == ["id", "text"]
    outputs, store = ingest(tmp_path / "b", corpus=[{"uri": str(lines), "name": "lines"}], **told)
    corpus = open_dataset(store, outputs.corpus)
    assert {row["slices"]["source"] for row in rows_of(corpus)} == {"lines"}


def test_questions_keep_what_is_beside_them_too(tmp_path: Path) -> None:
    names = [f"{first}{last}" for first in "ABCDEFGH" for last in ("nna", "da", "lla")]
    asked = [
        {"question": f"Who is {name}?", "context": f"{name} of the village.", "answers": name, "region": name[0]}
        for name in names
    ]
    path = write(tmp_path / "asked.jsonl", "".join(f"{json.dumps(row)}\n" for row in asked))
    found = labelled(
        tmp_path / "run", {"uri": str(path), "name": "village"}, task="question-answering", slice_columns=["region"]
    )
    kept = rows_of(found)
    assert len(kept) == len(asked)
    assert all(row["slices"] == {"source": "village", "region": row["answers"][0]["text"][0]} for row in kept)


def test_pictures_keep_columns_of_parquet_and_keys_of_webdataset(tmp_path: Path) -> None:
    files = [encoded(pixels) for pixels in PIXELS]
    columns = {"image": files[:30], "label": [str(number % 3) for number in range(30)], "camera": list(range(30))}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        for number in range(30, 60):
            said = {"label": str(number % 3), "camera": f"camera {number % 2}"}
            add(archive, f"{number:03}.png", files[number])
            add(archive, f"{number:03}.json", json.dumps(said).encode())
    found = labelled(
        tmp_path / "run",
        {"uri": str(tmp_path / "a.parquet"), "name": "a"},
        {"uri": str(tmp_path / "b.tar"), "name": "b", "format": "webdataset"},
        task="image-classification",
        slice_columns=["camera"],
        images={"near_duplicates": None},
    )
    kept = [row["slices"] for row in rows_of(found)]
    assert sorted(int(one["camera"]) for one in kept if one["source"] == "a") == list(range(30))
    assert sorted(one["camera"] for one in kept if one["source"] == "b") == 15 * ["camera 0"] + 15 * ["camera 1"]


def houses(region: str, count: int, first: int = 0) -> str:
    rows = (f"{number},{number % 7},{region},{3 * number + number % 7}" for number in range(first, first + count))
    return "\n".join(["area,rooms,region,price", *rows, ""])


def test_a_tables_columns_to_slice_by_are_no_features_and_change_no_row(tmp_path: Path) -> None:
    north = write(tmp_path / "north.csv", houses("north", 80))
    south = write(tmp_path / "south.csv", houses("?", 60, first=200))
    sources = [{"uri": str(north), "name": "n"}, {"uri": str(south), "name": "s"}]
    told: dict[str, Any] = {"task": "table-regression"}
    told["table"] = {"target": "price", "leaks": "keep", "missing": "fail"}
    found = labelled(tmp_path / "run", *sources, slice_columns=["region"], **told)
    assert set(found.meta["features"]) == {"area", "rooms"}
    kept = rows_of(found)
    assert {tuple(row["slices"].values()) for row in kept} == {("n", "north"), ("s", None)}
    assert {tuple(row["features"]) for row in kept} == {("area", "rooms")}
    told["table"] = {"target": "price", "leaks": "keep", "ignore": ["region"]}
    plain = labelled(tmp_path / "plain", *({"uri": each["uri"]} for each in sources), **told)
    assert {row["id"] for row in rows_of(plain)} == {row["id"] for row in kept}


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"slice_columns": ["label"]}, "slice_columns: 'label' is sliced by as it is; leave it out"),
        ({"slice_columns": ["source"]}, "'source' is made of the sources' names; leave it out, or rename"),
        ({"slice_columns": ["a", "a"]}, "slice_columns: 'a' is named 2 times, once is enough"),
        ({"slice_columns": ["y"], "table": {"target": "y"}}, "'y' is the table's target; leave it out in one of"),
        ({"slice_columns": ["z"], "table": {"target": "y", "ignore": ["z"]}}, "'z' is the table's columns to ignore"),
    ],
)
def test_what_cannot_be_sliced_by_is_refused_when_it_is_said(told: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        IngestSettings.model_validate(
            {"task": "text-classification", "labelled": [{"uri": "a.csv", "name": "a"}], **told}
        )


def test_a_column_that_is_not_there_is_told_with_the_nearest(tmp_path: Path) -> None:
    shop = write(tmp_path / "shop.csv", texts("shop", "north"))
    with pytest.raises(UserError, match=r"shop\.csv: no column 'regoin'; .*did you mean 'region'"):
        labelled(tmp_path / "a", {"uri": str(shop)}, slice_columns=["regoin"])
    north = write(tmp_path / "north.csv", houses("north", 80))
    told: dict[str, Any] = {"task": "table-regression", "table": {"target": "price"}}
    with pytest.raises(UserError, match=r"slice_columns: no column 'regoin' among 4; did you mean 'region'"):
        labelled(tmp_path / "b", {"uri": str(north)}, slice_columns=["regoin"], **told)


def test_a_format_without_columns_cannot_keep_any(tmp_path: Path) -> None:
    lines = write(tmp_path / "lines.txt", "".join(f"a line, number {number}\n" for number in range(50)))
    with pytest.raises(UserError, match=r"lines\.txt: format text has no columns, .* give each source a name"):
        labelled(tmp_path / "run", {"uri": str(lines), "label": "a"}, slice_columns=["region"])
