import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from modelmill.errors import ModelmillError, UserError
from modelmill.sources import SourceFile, list_files, open_raw
from tests import servers


@pytest.fixture
def bucket(s3_uri: str) -> str:
    return s3_uri.removeprefix("s3://").partition("/")[0]


def test_an_object_and_a_prefix_of_s3_list_their_objects(s3: servers.S3Server, bucket: str) -> None:
    for key in ("data/a.csv", "data/deep/b c+d.csv", "data/_SUCCESS", "data/.tmp/x", "database.csv"):
        s3.client().put_object(Bucket=bucket, Key=key, Body=key.encode())

    (file,) = list_files(f"s3://{bucket}/data/a.csv")
    under = list_files(f"s3://{bucket}/data/")

    assert (file.name, file.bytes, file.uri) == ("a.csv", 10, f"s3://{bucket}/data/a.csv")
    assert file.fingerprint == f'etag:"{hashlib.md5(b"data/a.csv").hexdigest()}"'
    assert [each.name for each in under] == ["a.csv", "deep/b c+d.csv"]
    with open_raw(under[1]) as raw:
        assert raw.readall() == b"data/deep/b c+d.csv"


def test_an_object_that_changed_since_it_was_listed_is_not_read(s3: servers.S3Server, bucket: str) -> None:
    s3.client().put_object(Bucket=bucket, Key="a.csv", Body=b"before")
    (file,) = list_files(f"s3://{bucket}/a.csv")
    s3.client().put_object(Bucket=bucket, Key="a.csv", Body=b"after!")

    with open_raw(file) as raw, pytest.raises(ModelmillError, match=r"changed while it was read \(0 of 6 bytes"):
        raw.readall()


def test_missing_and_refused_objects_name_the_uri_and_no_key(
    s3: servers.S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.client().put_object(Bucket=bucket, Key="data/a.csv", Body=b"x")
    with pytest.raises(UserError, match=rf"s3://{bucket}/data: no such object .* end it with '/'"):
        list_files(f"s3://{bucket}/data")
    with pytest.raises(UserError, match="nothing/: 0 files there"):
        list_files(f"s3://{bucket}/nothing/")
    with pytest.raises(UserError, match="s3://not-a-bucket-of-ours/x/: no such object"):
        list_files("s3://not-a-bucket-of-ours/x/")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(UserError, match=r"a\.csv: access refused .*check AWS_ACCESS_KEY_ID") as caught:
        list_files(f"s3://{bucket}/data/a.csv")
    assert s3.access_key not in str(caught.value)


def test_a_server_that_is_not_there_is_a_failure_and_not_the_users_input(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = servers.free_ports(1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    with pytest.raises(ModelmillError, match=r"S3 cannot be reached .*check AWS_ENDPOINT_URL") as caught:
        list_files("s3://bucket/a.csv")
    assert caught.value.exit_code == 1


CONTENT = bytes(range(256)) * 20_000


class Flaky(http.server.BaseHTTPRequestHandler):
    """Serves one object, but hangs up in the middle of the first answers."""

    protocol_version = "HTTP/1.1"
    asked: list[tuple[str | None, str | None]]
    cuts: int
    """Answers that are cut."""
    share: float
    """What comes of an answer before it is cut."""

    def do_GET(self) -> None:
        ranged = self.headers.get("Range")
        self.asked.append((ranged, self.headers.get("If-Match")))
        start = int(ranged.removeprefix("bytes=").rstrip("-")) if ranged else 0
        body = CONTENT[start:]
        self.send_response(206 if ranged else 200)
        self.send_header("Content-Length", str(len(body)))
        if ranged:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        cut = len(self.asked) <= self.cuts
        self.wfile.write(body[: int(len(body) * self.share)] if cut else body)
        self.close_connection = True

    def log_message(self, *_arguments: object) -> None:
        """Keep silent."""


@contextmanager
def flaky(monkeypatch: pytest.MonkeyPatch, cuts: int, share: float = 0.5) -> Iterator[type[Flaky]]:
    handler = type("Handler", (Flaky,), {"asked": [], "cuts": cuts, "share": share})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    try:
        yield handler
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


OBJECT = SourceFile(uri="s3://bucket/a.bin", name="a.bin", bytes=len(CONTENT), fingerprint='etag:"abc"')


def test_a_broken_connection_goes_on_where_it_was_with_the_same_object(monkeypatch: pytest.MonkeyPatch) -> None:
    with flaky(monkeypatch, cuts=3) as server, open_raw(OBJECT) as raw:
        assert raw.readall() == CONTENT

    starts = [ranged for ranged, _ in server.asked]
    assert starts[0] is None
    assert len(starts) == 4
    assert all(ranged is not None for ranged in starts[1:])
    assert {etag for _, etag in server.asked} == {'"abc"'}


def test_a_connection_that_breaks_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = pytest.raises(ModelmillError, match=r"a\.bin: S3 cannot be reached")
    with flaky(monkeypatch, cuts=99, share=0.0) as server, open_raw(OBJECT) as raw, refused:
        raw.readall()

    assert len(server.asked) == 5
