from pathlib import Path

import pytest

from components.ingest import spill, write
from components.ingest.write import shard_bits
from modelmill.dataset import open_dataset
from modelmill.store import open_store
from tests.components.ingest.tools import ingest
from tests.components.ingest.tools import write as write_file


def corpus(folder: Path, texts: list[str]) -> tuple[str, ...]:
    """Return the sha256 of the shards of the training split of these texts."""
    path = write_file(folder / "a.txt", "\n".join(texts))
    outputs, store = ingest(folder, open_store(str(folder.parent / "store")), corpus=[{"uri": str(path)}])
    return tuple(shard.sha256 for shard in open_dataset(store, outputs.corpus).splits["train"])


def test_shards_are_ranges_of_ids_and_a_new_text_changes_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "SHARD_ROWS", 50)
    texts = [f"text {number}" for number in range(500)]

    before = corpus(tmp_path / "before", texts)
    after = corpus(tmp_path / "after", [*texts, "one more"])

    assert len(before) == len(after) == 16
    assert len(set(before) - set(after)) == 1


def test_all_shards_together_hold_each_row_once_in_the_order_of_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "SHARD_ROWS", 20)
    texts = [f"text {number}" for number in range(300)]
    path = write_file(tmp_path / "a.txt", "\n".join(texts))

    outputs, store = ingest(tmp_path, corpus=[{"uri": str(path)}])

    dataset = open_dataset(store, outputs.corpus)
    train, validation = (dataset.table(split) for split in ("train", "validation"))
    assert train["id"].to_pylist() == sorted(train["id"].to_pylist())
    assert sorted(train["text"].to_pylist() + validation["text"].to_pylist()) == sorted(texts)
    assert len(dataset.splits["train"]) > 4


@pytest.mark.parametrize("bucket_bytes", [1 << 10, 64 << 10])
def test_the_number_of_buckets_does_not_show_in_the_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket_bytes: int
) -> None:
    texts = [f"text {number % 700}" for number in range(1000)]
    with monkeypatch.context() as patched:
        patched.setattr(spill, "_BUCKET_BYTES", bucket_bytes)
        many = corpus(tmp_path / "many", texts)

    assert many == corpus(tmp_path / "one", texts)


def test_shards_double_in_number_with_rows_or_bytes() -> None:
    assert [shard_bits(rows, 0) for rows in (0, 1, 65_536, 65_537, 131_072, 131_073, 1_000_000)] == [
        0,
        0,
        0,
        1,
        1,
        2,
        4,
    ]
    assert [shard_bits(10, size) for size in (0, 64 << 20, (64 << 20) + 1, 1 << 29)] == [0, 0, 1, 3]
