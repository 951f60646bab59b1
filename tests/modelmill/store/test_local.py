import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelmill.errors import ModelmillError
from modelmill.store import open_store


def test_what_a_killed_writer_left_is_no_key(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    blob = store.put_blob(b"some bytes")
    (tmp_path / "tmp" / "half").write_bytes(b"hal")
    assert list(store.keys("")) == [f"blobs/{blob.sha256}"]
    assert list(store.keys("tmp/")) == []
    assert list(store.keys("t")) == []


def test_a_put_leaves_no_temporary_file(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put_blob(b"some bytes")
    store.put_blob(b"some bytes")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_folder_that_may_not_be_written_names_the_way_out(tmp_path: Path) -> None:
    # A file where the folder of blobs should be: what refuses even root.
    (tmp_path / "blobs").write_text("")
    with pytest.raises(ModelmillError, match=rf"{tmp_path}: blobs/.*put MODELMILL_STORE elsewhere"):
        open_store(str(tmp_path)).put_blob(b"some bytes")


@pytest.mark.system
def test_a_full_disk_is_named_and_leaves_nothing_behind(small_disk: Path) -> None:
    store = open_store(str(small_disk / "store"))
    kept = store.put_blob(b"kept")
    with pytest.raises(
        ModelmillError, match=rf"{store.uri}: blobs/[0-9a-f]+: the disk is full .* bytes free.*make room"
    ):
        store.put_blob(os.urandom(2 << 20))
    assert list(store.keys("")) == [f"blobs/{kept.sha256}"]
    assert list((small_disk / "store" / "tmp").iterdir()) == []
    assert store.get_blob(kept.sha256) == b"kept"


@pytest.mark.system
def test_a_blob_that_does_not_fit_where_it_is_fetched_leaves_nothing_there(small_disk: Path, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    blob = store.put_blob(os.urandom(2 << 20))
    with pytest.raises(ModelmillError, match=rf"{small_disk}/file: cannot be written: No space left on device"):
        store.fetch_blob(blob.sha256, small_disk / "file")
    assert list(small_disk.iterdir()) == []


def test_of_deleted_work_no_folder_is_left(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    for key in ("work/a/1", "work/a/2"):
        store.put_work(key, b"some bytes")
    store.delete_work("work/a/1")
    assert [path.name for path in (tmp_path / "work" / "a").iterdir()] == ["2"]
    store.delete_work("work/a")
    assert [path.name for path in tmp_path.iterdir()] == ["tmp"]


def test_work_can_be_put_while_other_work_is_deleted(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))

    def work(name: str) -> None:
        for number in range(40):
            assert store.put_work(f"work/{name}/{number}", b"some bytes")
            store.delete_work(f"work/{name}")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, "abcd"))
    assert list(store.keys("")) == []
