import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import psutil
import pytest

from modelmill.errors import ModelmillError, UserError
from modelmill.store import Blob, Store, open_store
from modelmill.store.s3 import S3Backend
from tests.servers import S3Server, cutting_proxy, free_ports

# The least that S3 takes for a part that is not the last.
PART_BYTES = 5 << 20


@pytest.fixture
def backend(s3_uri: str) -> S3Backend:
    bucket, _, prefix = s3_uri.removeprefix("s3://").partition("/")
    return S3Backend(bucket, prefix, PART_BYTES)


def test_writers_of_the_same_large_blob_all_succeed(s3_uri: str, backend: S3Backend, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(PART_BYTES + 1))
    store, start = Store(s3_uri, backend), Barrier(4)

    def put(_: int) -> Blob:
        start.wait()
        return store.put_blob_file(tmp_path / "large")

    with ThreadPoolExecutor(4) as threads:
        blobs = set(threads.map(put, range(4)))
    assert len(blobs) == 1
    assert store.get_blob(blobs.pop().sha256) == (tmp_path / "large").read_bytes()


def test_a_large_file_travels_in_parts_and_leaves_no_upload_open(
    s3: S3Server, backend: S3Backend, tmp_path: Path
) -> None:
    content = b"".join(bytes([number]) * (4 << 20) for number in range(4))
    (tmp_path / "large").write_bytes(content)
    assert backend.put_if_absent("large", tmp_path / "large")
    assert not backend.put_if_absent("large", tmp_path / "large")
    backend.fetch("large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content
    assert backend.size("large") == len(content)
    # A mark of S3: the ETag of an object in parts ends in their number.
    assert s3.client().head_object(Bucket=backend.bucket, Key="store/large")["ETag"].strip('"').endswith("-4")
    assert "Uploads" not in s3.client().list_multipart_uploads(Bucket=backend.bucket)


def test_bytes_that_are_there_are_not_sent_again(s3: S3Server, s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = open_store(s3_uri).put_blob(b"some bytes")
    # Who may not write would be refused.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.reader_access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.reader_secret_key)
    assert open_store(s3_uri).put_blob(b"some bytes") == blob


def test_more_keys_than_one_answer_of_s3_holds_are_all_listed(backend: S3Backend) -> None:
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda number: backend.put_if_absent(f"many/{number:04}", b""), range(1005)))
    names = [f"many/{number:04}" for number in range(1005)]
    assert sorted(backend.keys("many/")) == names
    # Nor does a listing lose its place when what it has told of is deleted meanwhile.
    told = []
    for entry in backend.entries("many/"):
        told.append(entry.key)
        backend.delete(entry.key)
    assert sorted(told) == names


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_opens_a_connection_of_its_own(s3_uri: str) -> None:
    store = open_store(s3_uri)
    blob = store.put_blob(b"some bytes")
    store.get_blob(blob.sha256)  # leaves an open connection to inherit

    def read() -> None:
        inherited = own_ports()
        assert inherited
        store.get_blob(blob.sha256)
        assert own_ports() - inherited, "two processes on one connection read each other's answers"

    process = multiprocessing.get_context("fork").Process(target=read)
    process.start()
    process.join(60)
    assert process.exitcode == 0


def own_ports() -> set[int]:
    """The local ports on which this process is connected to somebody."""
    return {each.laddr.port for each in psutil.Process().net_connections() if each.status == psutil.CONN_ESTABLISHED}


@pytest.mark.parametrize("cuts", [2, 99])
def test_an_answer_that_breaks_off_is_asked_for_again(
    s3: S3Server, s3_uri: str, cuts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(1 << 20)
    sha256 = open_store(s3_uri).put_blob(content).sha256
    with cutting_proxy(s3.port, after=100_000, cuts=cuts) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        if cuts == 2:
            assert open_store(s3_uri).get_blob(sha256) == content
        else:
            with pytest.raises(ModelmillError, match=rf"blobs/{sha256}: .*broke off, 5 times; run again"):
                open_store(s3_uri).get_blob(sha256)


def test_a_bucket_that_does_not_exist_is_named(s3_uri: str) -> None:
    store = open_store("s3://no-such-bucket-here/store")
    for use in (
        lambda: store.put_blob(b"some bytes"),
        lambda: list(store.keys("")),
        lambda: store.get_manifest("a.json"),
    ):
        with pytest.raises(UserError, match=r"no bucket 'no-such-bucket-here' \(NoSuchBucket\); create it"):
            use()


def test_a_name_that_no_bucket_can_have_is_named(s3_uri: str) -> None:
    with pytest.raises(UserError, match="No_Bucket!"):
        open_store("s3://No_Bucket!/store").put_blob(b"some bytes")


def test_who_may_only_read_is_told_so(s3: S3Server, s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = open_store(s3_uri).put_blob(b"some bytes")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.reader_access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.reader_secret_key)
    store = open_store(s3_uri)
    assert store.get_blob(blob.sha256) == b"some bytes"
    with pytest.raises(UserError, match=r"PutObject was refused \(AccessDenied\)") as caught:
        store.put_blob(b"others")
    assert s3.reader_secret_key not in str(caught.value)


def test_a_wrong_secret_is_named_and_not_repeated(s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    with pytest.raises(
        UserError, match=r"was refused \((SignatureDoesNotMatch|403)\); check AWS_ACCESS_KEY_ID"
    ) as caught:
        open_store(s3_uri).put_blob(b"some bytes")
    assert "hunter2" not in str(caught.value)


def test_no_credentials_at_all_are_named(s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(UserError, match="no S3 credentials; set AWS_ACCESS_KEY_ID"):
        open_store(s3_uri).put_blob(b"some bytes")


def test_an_endpoint_that_nobody_answers_is_named(s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(ModelmillError, match=rf"http://127.0.0.1:{port} cannot be reached.*check AWS_ENDPOINT_URL"):
        open_store(s3_uri).put_blob(b"some bytes")


@pytest.mark.parametrize("endpoint", ["localhost:8333", "not a url", "/var/hunter2", "https://"])
def test_an_endpoint_that_is_no_web_address_is_named(
    s3_uri: str, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(UserError, match="AWS_ENDPOINT_URL is no web address"):
        open_store(s3_uri).put_blob(b"some bytes")


def test_without_a_region_a_server_of_ones_own_answers(s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert open_store(s3_uri).put_blob(b"some bytes").bytes == 10


def test_credentials_in_the_endpoint_are_refused_and_not_repeated(s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:hunter2@127.0.0.1:1")
    with pytest.raises(UserError, match="AWS_ENDPOINT_URL carries credentials") as caught:
        open_store(s3_uri).put_blob(b"some bytes")
    assert "hunter2" not in str(caught.value)


def test_a_store_of_a_whole_bucket_has_no_prefix(s3_uri: str) -> None:
    whole = open_store(s3_uri.rpartition("/")[0])
    open_store(s3_uri).put_manifest("a.json", {})
    assert list(whole.keys("")) == ["store/a.json"]
