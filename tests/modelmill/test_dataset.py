import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelmill.dataset import Dataset, DatasetWriter, encode, open_dataset, read_made, write_made
from modelmill.errors import ModelmillError
from modelmill.store import NotFound, Store, open_store

TEXT = pa.schema([pa.field("id", pa.string(), nullable=False), ("text", pa.string()), ("label", pa.int32())])
SHA = "0" * 64

# Started apart, and fed a line per shard: it stops where the lines stop, never by chance after its end.
WRITER = """
import sys
import pyarrow as pa
from modelmill.dataset import DatasetWriter
from modelmill.store import open_store

schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
writer = DatasetWriter(open_store(sys.argv[1]), schema, {"kind": "text"})
for shard in range(8):
    sys.stdin.readline()
    ids = range(shard * 5000, (shard + 1) * 5000)
    writer.add("train", pa.table({"id": list(ids), "text": [f"row {number * 7919 % 100003}" for number in ids]}))
    print(shard, flush=True)
print(writer.commit().address)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def texts(*rows: str) -> pa.Table:
    columns = {"id": [f"{number:03}" for number in range(len(rows))], "text": rows, "label": range(len(rows))}
    return pa.table({name: pa.array(values, TEXT.field(name).type) for name, values in columns.items()}, schema=TEXT)


def write(store: Store, splits: Mapping[str, list[pa.Table]], meta: Mapping[str, Any] | None = None) -> Dataset:
    writer = DatasetWriter(store, TEXT, {"kind": "text"} if meta is None else meta)
    for split, shards in splits.items():
        for shard in shards:
            writer.add(split, shard)
    return writer.commit()


@given(st.lists(st.lists(st.text(), max_size=8), max_size=3), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_any_text_survives_a_round_trip(shards: list[list[str]], rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        dataset = write(open_store(folder), {"train": [texts(*shard) for shard in shards]})
        wanted = pa.concat_tables([TEXT.empty_table(), *(texts(*shard) for shard in shards)])
        assert dataset.table("train") == wanted
        assert dataset.rows("train") == wanted.num_rows
        batches = list(dataset.batches("train", rows=rows))
        assert all(0 < batch.num_rows <= rows for batch in batches)
        assert pa.Table.from_batches(batches, TEXT) == wanted


@given(st.lists(st.text(max_size=5), min_size=1, max_size=5), st.data())
@settings(max_examples=40, deadline=None)
def test_a_changed_value_changes_the_id(rows: list[str], data: st.DataObject) -> None:
    changed = list(rows)
    index = data.draw(st.integers(0, len(rows) - 1))
    changed[index] = data.draw(st.text(max_size=5).filter(lambda text: text != rows[index]))
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        ids = {write(store, {"train": [texts(*each)]}).id for each in (rows, changed)}
    assert len(ids) == 2


@given(st.permutations(["train", "validation", "test"]))
@settings(max_examples=6, deadline=None)
def test_the_id_does_not_know_the_order_in_which_splits_were_added(order: list[str]) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        given_order = write(open_store(one), {split: [texts("in", split)] for split in order})
        sorted_order = write(open_store(other), {split: [texts("in", split)] for split in sorted(order)})
    assert given_order.id == sorted_order.id


@given(st.lists(st.text(min_size=20), min_size=10, max_size=20), st.data())
@settings(max_examples=8, deadline=None)
def test_the_bytes_do_not_know_how_memory_was_cut_into_chunks(rows: list[str], data: st.DataObject) -> None:
    # Many pages of Parquet: within one, a cut would not show.
    rows = [f"{number} {row}" for number in range(5000) for row in rows]
    whole = texts(*rows)
    cut = data.draw(st.integers(0, len(rows)))
    assert encode(pa.concat_tables([whole.slice(0, cut), whole.slice(cut)])) == encode(whole)
    padded = texts("before", *rows, "after")
    sliced = padded.slice(1, len(rows)).select(["text"])
    assert encode(sliced) == encode(whole.select(["text"]))


def test_the_id_does_not_know_what_pandas_or_others_noted(store: Store) -> None:
    plain = write(store, {"train": [texts("a")]})
    noted = TEXT.with_metadata({"pandas": "{}"}).set(1, TEXT.field(1).with_metadata({"made": "today"}))
    writer = DatasetWriter(store, noted, {"kind": "text"})
    writer.add("train", texts("a").cast(noted))
    assert writer.commit().id == plain.id


def test_what_columns_mean_and_their_types_are_content(store: Store) -> None:
    shard = {"train": [texts("a")]}
    ids = {write(store, shard, meta).id for meta in ({"kind": "text"}, {"kind": "text", "labels": ["a"]})}
    narrow = pa.schema([TEXT.field("id"), TEXT.field("text"), ("label", pa.int16())])
    writer = DatasetWriter(store, narrow, {"kind": "text"})
    writer.add("train", texts("a").cast(narrow))
    attached = DatasetWriter(store, TEXT, {"kind": "text"}, {"tokenizer/a": store.put_blob(b"a")})
    attached.add("train", texts("a"))
    assert len(ids | {writer.commit().id, attached.commit().id}) == 4


def test_a_dataset_has_the_same_address_here_and_on_s3(tmp_path: Path, s3_uri: str) -> None:
    splits = {"train": [texts("a", "b"), texts("c")], "test": [texts("d")]}
    here, there = (write(open_store(uri), splits) for uri in (str(tmp_path), s3_uri))
    assert here.address == there.address
    opened = open_dataset(open_store(s3_uri), here.address)
    assert opened.table("train") == here.table("train")
    assert list(opened.batches("train", rows=1)) == list(here.batches("train", rows=1))
    assert (opened.splits, opened.meta, opened.schema) == (here.splits, here.meta, here.schema)


def test_types_come_back_to_the_last_detail(store: Store) -> None:
    schema = pa.schema(
        [
            ("packed", pa.list_(pa.uint16(), 3)),
            pa.field("ragged", pa.list_(pa.uint32()), nullable=False),
            ("image", pa.binary()),
            ("number", pa.float64()),
            ("maybe", pa.string()),
        ]
    )
    rows = {
        "packed": [[1, 2, 65535], [0, 0, 0]],
        "ragged": [[], [4294967295]],
        "image": [b"\0\xff", b""],
        "number": [-0.0, 1e-300],
        "maybe": [None, ""],
    }
    writer = DatasetWriter(store, schema, {})
    writer.add("train", pa.table(rows, schema=schema))
    dataset = writer.commit()
    assert dataset.table("train").to_pydict() == rows
    assert dataset.table("train").schema.equals(schema, check_metadata=True)
    assert [str(column) for column in dataset.table("train").schema] == [str(column) for column in schema]
    for batch in dataset.batches("train"):
        assert [str(column) for column in batch.schema] == [str(column) for column in schema]


def test_columns_are_chosen_and_ordered_by_the_reader(store: Store) -> None:
    dataset = write(store, {"train": [texts("a"), texts("b")]})
    assert dataset.table("train", ["label", "id"]).column_names == ["label", "id"]
    assert [batch.schema.names for batch in dataset.batches("train", ["text", "id"])] == [["text", "id"]] * 2
    for read in (dataset.table, lambda *given: list(dataset.batches(*given))):
        with pytest.raises(ModelmillError, match=rf"{dataset.address}: no column 'labl'; there are: id, text, label"):
            read("train", ["id", "labl"])


def test_an_absent_split_has_no_rows(store: Store) -> None:
    dataset = write(store, {"train": [texts("a")]})
    assert dataset.rows("test") == 0
    assert dataset.table("test", ["text"]).schema.names == ["text"]
    assert dataset.table("test").num_rows == 0
    assert list(dataset.batches("test")) == []


def test_batches_open_one_shard_after_the_other(store: Store) -> None:
    dataset = write(store, {"train": [texts("a", "b"), texts("c")]})
    missing = dataset.splits["train"][1].sha256
    Path(store.uri, "blobs", missing).unlink()
    batches = dataset.batches("train")
    assert next(batches)["text"].to_pylist() == ["a", "b"]
    with pytest.raises(NotFound, match=missing):
        next(batches)


def test_a_changed_byte_in_a_shard_is_named_before_a_row_of_it_is_read(store: Store) -> None:
    dataset = write(store, {"train": [texts("a")]})
    sha256 = dataset.splits["train"][0].sha256
    path = Path(store.uri, "blobs", sha256)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for read in (dataset.table, lambda split: next(dataset.batches(split))):
        with pytest.raises(ModelmillError, match=rf"blobs/{sha256}: was changed: should be sha256 {sha256}, is "):
            read("train")


def test_a_shard_with_another_number_of_rows_than_its_manifest_says_is_named(store: Store) -> None:
    dataset = write(store, {"train": [texts("a", "b")]})
    wrong = dataclasses.replace(dataset.splits["train"][0], rows=3)
    with pytest.raises(ModelmillError, match="holds 2 rows, the manifest says 3"):
        dataclasses.replace(dataset, splits={"train": (wrong,)}).table("train")


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"id": ["a"], "text": ["b"]}),
        texts("a").select(["text", "id", "label"]),
        texts("a").set_column(2, "label", pa.array([0], pa.int64())),
        texts("a").cast(pa.schema([("id", pa.string()), TEXT.field("text"), TEXT.field("label")])),
    ],
)
def test_a_shard_with_other_columns_is_refused(store: Store, table: pa.Table) -> None:
    with pytest.raises(ModelmillError, match=r"split 'train': a shard has columns .*the dataset has .*int32"):
        DatasetWriter(store, TEXT, {}).add("train", table)


def test_until_the_commit_there_is_no_dataset(store: Store) -> None:
    writer = DatasetWriter(store, TEXT, {})
    writer.add("train", texts("a"))
    assert list(store.keys("datasets/")) == []
    assert writer.commit().address == writer.commit().address
    assert len(list(store.keys("datasets/"))) == 1


def test_a_killed_writer_leaves_no_dataset_and_the_same_command_goes_on(tmp_path: Path) -> None:
    def start(folder: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WRITER, str(tmp_path / folder)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    with start("broken") as killed:
        assert killed.stdin is not None
        assert killed.stdout is not None
        killed.stdin.write("\n" * 5)
        killed.stdin.flush()
        assert [killed.stdout.readline() for _ in range(3)] == ["0\n", "1\n", "2\n"]
        killed.kill()
    broken = open_store(str(tmp_path / "broken"))
    left = set(broken.keys(""))
    assert 3 <= len(left) <= 5
    assert all(key.startswith("blobs/") for key in left)
    times = {key: (tmp_path / "broken" / key).stat().st_mtime_ns for key in left}

    addresses = []
    for folder in ("broken", "unbroken"):
        with start(folder) as process:
            addresses.append(process.communicate("\n" * 8)[0].splitlines()[-1])
    assert addresses[0] == addresses[1]
    assert list(broken.keys("")) == list(open_store(str(tmp_path / "unbroken")).keys(""))
    assert {key: (tmp_path / "broken" / key).stat().st_mtime_ns for key in left} == times
    assert open_dataset(broken, addresses[0]).table("train")["id"].to_pylist() == list(range(40000))


def test_attachments_are_written_without_their_prefix(store: Store, tmp_path: Path) -> None:
    blobs = {name: store.put_blob(name.encode()) for name in ("tokenizer/vocab.txt", "tokenizer/more/a", "scale.json")}
    dataset = DatasetWriter(store, TEXT, {}, blobs).commit()
    dataset.fetch_attachments(tmp_path / "some", "tokenizer/")
    found = {
        path.relative_to(tmp_path / "some").as_posix() for path in (tmp_path / "some").rglob("*") if path.is_file()
    }
    assert found == {"vocab.txt", "more/a"}
    dataset.fetch_attachments(tmp_path / "all")
    assert (tmp_path / "all" / "tokenizer" / "vocab.txt").read_text() == "tokenizer/vocab.txt"
    with pytest.raises(
        ModelmillError, match=r"no attachment under 'tokeniser/'; there are: scale.json, tokenizer/more/a"
    ):
        dataset.fetch_attachments(tmp_path / "none", "tokeniser/")


def test_an_attachment_cannot_be_named_out_of_the_folder(store: Store) -> None:
    with pytest.raises(ModelmillError, match="cannot name a file"):
        DatasetWriter(store, TEXT, {}, {"../evil": store.put_blob(b"")})


@pytest.mark.parametrize(
    "address", ["", "datasets/", "datasets/abc", f"models/{SHA}", f"datasets/{SHA}.json", f"../datasets/{SHA}", SHA]
)
def test_what_is_no_address_of_a_dataset_is_refused(store: Store, address: str) -> None:
    with pytest.raises(ModelmillError, match="is no dataset's address"):
        open_dataset(store, address)
    with pytest.raises(ModelmillError, match="is no dataset's address"):
        write_made(store, address, {})


def test_a_missing_dataset_is_named(store: Store) -> None:
    with pytest.raises(NotFound, match=f"no datasets/{SHA}.json"):
        open_dataset(store, f"datasets/{SHA}")


def test_a_manifest_that_was_changed_is_named(store: Store) -> None:
    dataset = write(store, {"train": [texts("a")]})
    path = Path(store.uri, f"{dataset.address}.json")
    path.write_text(path.read_text().replace('"rows":1', '"rows":2'))
    with pytest.raises(ModelmillError, match=rf"{path}: was changed: should be sha256 {dataset.id}"):
        open_dataset(store, dataset.address)


def test_what_made_a_dataset_is_kept_beside_it(store: Store) -> None:
    dataset = write(store, {"train": [texts("a")]})
    made = {"inputs": {"a.csv": SHA}, "settings": {"lr": 1e-4}, "ledger": [{"read": 2, "kept": 1}]}
    address = write_made(store, dataset.address, made)
    assert address.startswith(f"made/{dataset.id}/")
    assert write_made(store, dataset.address, made) == address
    assert write_made(store, dataset.address, {**made, "settings": {"lr": 2e-4}}) != address
    assert read_made(store, address) == made
    with pytest.raises(ModelmillError, match="is not an address of what made a dataset"):
        read_made(store, dataset.address)
