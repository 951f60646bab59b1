import contextlib
import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelmill.digest import sha256_hex
from modelmill.errors import ModelmillError, UserError
from modelmill.store import Blob, NotFound, Store, open_store
from modelmill.store.backend import Backend, is_name
from modelmill.store.epochs import epochs, raise_epoch
from modelmill.store.local import LocalBackend
from modelmill.store.s3 import S3Backend

SHA = "0" * 64


@pytest.fixture(params=["local", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "store") if request.param == "local" else str(request.getfixturevalue("s3_uri"))


@pytest.fixture
def store(uri: str) -> Store:
    return open_store(uri)


@pytest.fixture
def backend(uri: str) -> Backend:
    if not uri.startswith("s3://"):
        return LocalBackend(Path(uri))
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    return S3Backend(bucket, prefix)


def test_of_many_who_add_to_a_chain_at_once_each_has_its_own_place(store: Store) -> None:
    with ThreadPoolExecutor(8) as threads:
        numbers = list(threads.map(lambda n: store.append("chain", {"who": n}, after=0), range(8)))

    assert sorted(numbers) == list(range(8))
    assert [store.get_manifest(key)["who"] for key in store.keys("chain/")] == [numbers.index(n) for n in range(8)]


def test_of_several_claims_of_a_key_one_holds(store: Store) -> None:
    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(lambda n: store.claim("claims/a.json", {"who": n}), range(8)))
    assert sum(won) == 1
    assert store.get_manifest("claims/a.json") == {"who": won.index(True)}
    assert store.claim("claims/a.json", {"who": won.index(True)})


def test_a_checkpoint_is_deleted_with_the_blobs_that_it_alone_names(store: Store) -> None:
    own, shared, model = (store.put_blob(data) for data in (b"own", b"shared", b"a model"))
    run = f"checkpoints/{SHA}"
    for step, blobs in ((1, (own, shared)), (2, (shared,))):
        files = {f"part-{place}": {"sha256": blob.sha256, "bytes": blob.bytes} for place, blob in enumerate(blobs)}
        store.put_manifest(f"{run}/step-0000000{step}.json", {"files": files})
    store.put_manifest(f"{run}/lease/00000001.json", {})
    for _ in range(2):
        store.delete_checkpoint(f"{run}/step-00000001.json")
    store.delete_checkpoint(f"{run}/lease/00000001.json")
    left = [f"blobs/{blob.sha256}" for blob in (shared, model)] + [f"{run}/step-00000002.json"]
    assert list(store.keys("")) == sorted(left)


def test_a_damaged_checkpoint_is_deleted_and_no_blob_with_it(store: Store) -> None:
    blob = store.put_blob(b"some bytes")
    for files in ({"model": {"sha256": "../../datasets/a"}}, ["model"], {"model": "x"}):
        key = f"checkpoints/{SHA}/step-00000001.json"
        store.put_manifest(key, {"files": files})
        store.delete_checkpoint(key)
        assert list(store.keys("")) == [f"blobs/{blob.sha256}"]


def test_nothing_is_deleted_as_a_checkpoint_that_is_none(store: Store) -> None:
    blob = store.put_blob(b"some bytes")
    store.put_manifest("datasets/a.json", {})
    store.put_manifest(f"checkpoints/{SHA}/step-00000001.json", {"files": {}})
    keys = list(store.keys(""))
    wrong = [
        f"blobs/{blob.sha256}",
        "datasets/a.json",
        f"checkpoints/{SHA}",
        f"checkpoints/{SHA}/",
        f"checkpoints/{SHA[:-1]}/step-00000001.json",
        f"checkpoints/{SHA}/../../datasets/a.json",
        f"checkpoints/{SHA}/step-00000001.json/..",
        f"/checkpoints/{SHA}/step-00000001.json",
        f"checkpoints/{SHA}/step-00000001.json\n",
        "",
    ]
    for key in wrong:
        with pytest.raises(ModelmillError, match="is no checkpoint, and nothing else"):
            store.delete_checkpoint(key)
    assert list(store.keys("")) == keys


def test_a_blob_comes_back_as_it_was_put(store: Store) -> None:
    blob = store.put_blob(b"some bytes")
    assert blob == Blob(sha256_hex(b"some bytes"), 10)
    assert store.get_blob(blob.sha256) == b"some bytes"
    assert store.has_blob(blob.sha256)
    assert not store.has_blob(SHA)


def test_a_file_has_the_name_that_its_bytes_have(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"some bytes")
    assert store.put_blob_file(tmp_path / "a") == store.put_blob(b"some bytes")
    store.fetch_blob(sha256_hex(b"some bytes"), tmp_path / "deep" / "b")
    assert (tmp_path / "deep" / "b").read_bytes() == b"some bytes"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["b"]


def test_an_empty_blob_is_a_blob(store: Store) -> None:
    assert store.get_blob(store.put_blob(b"").sha256) == b""


@pytest.mark.parametrize("kind", ["bytes", "file"])
def test_of_sixteen_writers_at_once_exactly_one_wins(backend: Backend, tmp_path: Path, kind: str) -> None:
    assert not backend.exists("races")  # connects
    for number in range(2):
        start = Barrier(16)

        def put(writer: int, start: Barrier = start, number: int = number) -> bool:
            content = f"writer {writer}".encode()
            path = tmp_path / f"writer-{writer}"
            path.write_bytes(content)
            start.wait()
            return backend.put_if_absent(f"races/{number}", path if kind == "file" else content)

        with ThreadPoolExecutor(16) as threads:
            won = list(threads.map(put, range(16)))
        assert sum(won) == 1
        assert backend.get(f"races/{number}") == f"writer {won.index(True)}".encode()


def test_a_blob_of_another_size_is_an_error_that_names_both(store: Store, backend: Backend) -> None:
    key = f"blobs/{sha256_hex(b'some bytes')}"
    backend.put_if_absent(key, b"some")
    with pytest.raises(
        ModelmillError, match=rf"{key}: was changed: should be 10 bytes, is 4 bytes; delete it and .*epoch"
    ):
        store.put_blob(b"some bytes")


def test_a_changed_byte_is_an_error_that_names_the_key_and_both_digests(
    store: Store, backend: Backend, tmp_path: Path
) -> None:
    wanted, found = sha256_hex(b"some bytes"), sha256_hex(b"some bytez")
    backend.put_if_absent(f"blobs/{wanted}", b"some bytez")
    for read in (store.get_blob, store.blob_file, lambda sha: store.fetch_blob(sha, tmp_path / "out" / "file")):
        if read == store.blob_file and store.uri.startswith("s3://"):
            continue
        with pytest.raises(
            ModelmillError, match=rf"blobs/{wanted}: .*should be sha256 {wanted}, is {found}.*delete it"
        ):
            read(wanted)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_missing_blob_is_named(store: Store, tmp_path: Path) -> None:
    for read in (store.get_blob, lambda sha: store.fetch_blob(sha, tmp_path / "out" / "file")):
        with pytest.raises(NotFound, match=f"blobs/{SHA}"):
            read(SHA)
    assert list((tmp_path / "out").iterdir()) == []


def test_only_a_sha256_names_a_blob(store: Store) -> None:
    for name in ("", "abc", "../secrets", SHA.upper().replace("0", "A"), SHA + "\n"):
        with pytest.raises(ModelmillError, match="not a sha256"):
            store.get_blob(name)


def test_a_blob_that_cannot_be_written_out_names_the_file(store: Store, tmp_path: Path) -> None:
    blob = store.put_blob(b"some bytes")
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelmillError, match=r"file/inside: cannot be written: File exists"):
        store.fetch_blob(blob.sha256, tmp_path / "file" / "inside")


def test_a_manifest_is_put_once_and_never_replaced(store: Store) -> None:
    store.put_manifest("datasets/a.json", {"b": 1, "a": "ü"})
    store.put_manifest("datasets/a.json", {"a": "ü", "b": 1})
    with pytest.raises(ModelmillError, match=r"datasets/a.json: holds other content"):
        store.put_manifest("datasets/a.json", {"a": "ü", "b": 2})
    assert store.get_manifest("datasets/a.json") == {"a": "ü", "b": 1}
    assert store.has_manifest("datasets/a.json")
    assert not store.has_manifest("datasets/b.json")


def test_a_missing_manifest_names_store_and_key(store: Store) -> None:
    with pytest.raises(NotFound) as caught:
        store.get_manifest("datasets/none.json")
    assert store.uri in str(caught.value)
    assert "datasets/none.json" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_manifest_that_is_no_json_object_is_named(store: Store, backend: Backend, content: bytes) -> None:
    backend.put_if_absent("datasets/a.json", content)
    with pytest.raises(ModelmillError, match=r"datasets/a\.json: was changed: should be a JSON object"):
        store.get_manifest("datasets/a.json")


def test_an_address_vouches_for_its_manifest(store: Store, backend: Backend) -> None:
    address = store.put_addressed("reports", {"accuracy": 0.5, "by label": {"1": 2, "10": 3}})
    assert store.get_addressed(address) == {"accuracy": 0.5, "by label": {"1": 2, "10": 3}}
    backend.put_if_absent(f"reports/{SHA}.json", b'{"accuracy": 1.0}')
    with pytest.raises(
        ModelmillError, match=rf"reports/{SHA}\.json: was changed: should be sha256 {SHA}, is [0-9a-f]+"
    ):
        store.get_addressed(f"reports/{SHA}")


def test_keys_are_sorted_and_start_with_the_prefix(store: Store) -> None:
    for key in ("datasets/b.json", "datasets/a.json", "models/a.json", "datasets-old/a.json"):
        store.put_manifest(key, {})
    assert list(store.keys("datasets/")) == ["datasets/a.json", "datasets/b.json"]
    assert list(store.keys("datasets/b")) == ["datasets/b.json"]
    assert list(store.keys("")) == ["datasets-old/a.json", "datasets/a.json", "datasets/b.json", "models/a.json"]
    assert list(store.keys("none/")) == []


def test_a_listing_tells_sizes_and_times_and_what_is_put_again_or_refreshed_counts_as_put_now(
    backend: Backend,
) -> None:
    backend.put_if_absent("a/b/one", b"12345")
    (entry,) = backend.entries("a/b/o")
    assert (entry.key, entry.bytes) == ("a/b/one", 5)
    assert abs(entry.modified - backend.now()) < 60
    assert backend.modified("a/b/one") == pytest.approx(entry.modified, abs=1)
    assert backend.modified("a/b/two") is None
    deadline = time.monotonic() + 60
    # The clock of some servers ticks in seconds.
    while (backend.modified("a/b/one") or 0) <= entry.modified:
        assert backend.refresh("a/b/one")
        assert time.monotonic() < deadline
    assert backend.get("a/b/one") == b"12345"
    assert not backend.refresh("a/b/two")
    assert [one.key for one in backend.entries("")] == ["a/b/one"]


def test_only_what_is_older_is_deleted(backend: Backend) -> None:
    backend.put_if_absent("a/b", b"x")
    at = backend.modified("a/b")
    assert at is not None
    assert not backend.delete_older("a/b", at)
    assert backend.get("a/b") == b"x"
    assert backend.delete_older("a/b", at + 1)
    assert not backend.delete_older("a/b", at + 1)
    assert list(backend.entries("")) == []


def test_what_was_put_an_hour_ago_is_young_when_it_is_put_again(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    keys = [f"blobs/{store.put_blob(b'some bytes').sha256}", f"{store.put_addressed('datasets', {'a': 1})}.json"]
    for key in keys:
        os.utime(tmp_path / key, (time.time() - 4000,) * 2)
    store.put_blob(b"some bytes")
    store.put_addressed("datasets", {"a": 1})
    assert all(time.time() - (tmp_path / key).stat().st_mtime < 1000 for key in keys)


def test_blobs_that_are_deleted_while_they_are_put_again_are_there_in_the_end(tmp_path: Path) -> None:
    store, over = open_store(str(tmp_path)), Event()
    backend = LocalBackend(tmp_path)
    key = f"blobs/{sha256_hex(b'some bytes')}"

    def delete() -> None:
        while not over.is_set():
            backend.delete_older(key, time.time() - 2000)

    thread = Thread(target=delete)
    thread.start()
    try:
        for _ in range(300):
            store.put_blob(b"some bytes")
            deadline = time.monotonic() + 60
            # Out of sight for a moment, while its time is looked at once more.
            while not store.has_blob(sha256_hex(b"some bytes")):
                assert time.monotonic() < deadline
            with contextlib.suppress(FileNotFoundError):
                os.utime(tmp_path / key, (time.time() - 4000,) * 2)
    finally:
        over.set()
        thread.join()


def test_the_epoch_is_made_once(uri: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: open_store(uri).epoch(), range(8)))
    assert len(set(found)) == 1
    assert len(found[0]) == 32


def test_a_raised_epoch_is_another_one_for_all_and_the_one_before_is_known(store: Store, uri: str) -> None:
    before = store.epoch()
    raise_epoch(store, "gc")
    assert open_store(uri).epoch() == store.epoch() != before
    assert epochs(store) == [before, store.epoch()]


def test_two_stores_have_two_epochs(tmp_path: Path) -> None:
    assert open_store(str(tmp_path / "a")).epoch() != open_store(str(tmp_path / "b")).epoch()


def test_a_store_can_be_handed_to_another_process(store: Store) -> None:
    blob = store.put_blob(b"some bytes")
    assert pickle.loads(pickle.dumps(store)).get_blob(blob.sha256) == b"some bytes"


@given(st.text(max_size=30))
def test_a_name_that_is_taken_never_leads_out_of_its_folder(name: str) -> None:
    if is_name(name):
        path = Path("/store", name)
        assert path.resolve() == path
        assert path.as_posix() == f"/store/{name}"


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../a", "a/../b", "a//b", "a/", "a\\b", "a\0b", "a\nb", "ü", "./a"]
)
def test_a_name_that_could_mean_something_else_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelmillError, match="cannot name a file in the store"):
        open_store(str(tmp_path)).put_manifest(name, {})


def test_without_a_uri_the_environment_says_where_and_then_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELMILL_STORE", "s3://bucket/some/prefix/")
    assert open_store().uri == "s3://bucket/some/prefix"
    assert open_store("here").uri == str(tmp_path / "here")
    monkeypatch.delenv("MODELMILL_STORE")
    assert open_store().uri == str(tmp_path / ".modelmill" / "store")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "uri",
    [
        "s3://AKIAEXAMPLE:hunter2@bucket/prefix",
        "s3://bucket/prefix?secret=hunter2",
        "s3://bucket/prefix#hunter2",
        "https://user:hunter2@host/bucket",
    ],
)
def test_credentials_in_the_uri_are_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(UserError, match="credentials") as caught:
        open_store(uri)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("uri", ["gs://bucket/prefix", "s3:///prefix", "s3://", "file:///tmp/a", "s3://bucket/../up"])
def test_a_uri_that_is_no_store_is_refused(uri: str) -> None:
    with pytest.raises(UserError, match=uri):
        open_store(uri)


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="must be a folder"):
        open_store(str(tmp_path / "file"))


def test_work_is_put_once_and_deleted_with_all_below_it_and_with_nothing_beside_it(store: Store) -> None:
    blob = store.put_blob(b"some bytes")
    store.put_manifest("works/a/b.json", {})
    for key in ("work/a/1", "work/a/2", "work/a/b/3", "work/ab/1", "work/b/1"):
        assert store.put_work(key, key.encode())
    assert not store.put_work("work/a/1", b"other bytes")
    assert store.get_work("work/a/1") == b"work/a/1"
    store.delete_work("work/a/1")
    with pytest.raises(NotFound):
        store.get_work("work/a/1")
    assert store.put_work("work/a/1", b"other bytes")
    store.delete_work("work/a")
    # It may be gone already.
    store.delete_work("work/a")
    assert list(store.keys("")) == sorted([f"blobs/{blob.sha256}", "work/ab/1", "work/b/1", "works/a/b.json"])


def test_nothing_but_work_can_be_put_as_such_read_as_such_or_deleted(store: Store) -> None:
    blob = store.put_blob(b"some bytes")
    store.put_manifest("works/a.json", {})
    store.put_work("work/a/1", b"some bytes")
    keys = list(store.keys(""))
    names = [
        "",
        "work",
        "work/",
        "works/a.json",
        f"blobs/{blob.sha256}",
        "blobs",
        "work/../blobs",
        "/work/a",
        "work//a",
    ]
    for name in [*names, "./work/a", "work/.", "work/a/..", "work/a/../../blobs", "WORK/a"]:
        for use in (store.delete_work, store.get_work, lambda key: store.put_work(key, b"")):
            with pytest.raises(ModelmillError, match=r"does not lie under work/|cannot name"):
                use(name)
    assert list(store.keys("")) == keys
