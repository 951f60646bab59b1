import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelmill.errors import ModelmillError, UserError
from modelmill.sources import check_there, fingerprint, list_files, open_raw
from tests.modelmill.web_server import Repository, WebServer, git_digest

ROOT = Path(__file__).resolve().parents[2]
LARGE = bytes(range(256)) * 4_000
FILES = {
    "README.md": b"# reviews",
    ".gitattributes": b"*.parquet filter=lfs",
    "data/train-0.csv": b"text,label\nfine,1\n",
    "data/train-1.csv": b"text,label\npoor,0\n",
    "data/large.parquet": LARGE,
    "data/_SUCCESS": b"",
    "data/deep/a b[1].csv": b"text,label\nso,so\n",
}


@pytest.fixture
def hub(empty_hub: WebServer) -> WebServer:
    empty_hub.repositories["datasets/us/reviews"] = Repository(dict(FILES), large={"data/large.parquet"})
    return empty_hub


def names(uri: str) -> list[str]:
    return [file.name for file in list_files(uri)]


def test_a_file_a_folder_and_a_pattern_list_the_files_of_a_repository(hub: WebServer) -> None:
    here = "hf://datasets/us/reviews"

    assert names(f"{here}/data/train-0.csv") == ["train-0.csv"]
    assert names(f"{here}/data/") == ["deep/a b[1].csv", "large.parquet", "train-0.csv", "train-1.csv"]
    assert names(f"{here}/data/*.csv") == ["train-0.csv", "train-1.csv"]
    assert names(f"{here}/**/*.csv") == ["data/deep/a b[1].csv", "data/train-0.csv", "data/train-1.csv"]
    assert names(f"{here}/data/deep/a b[1].csv") == ["a b[1].csv"]
    assert names(f"{here}@main") == ["README.md", *(f"data/{name}" for name in names(f"{here}/data"))]


def test_a_file_is_recognised_by_the_digest_of_its_content_that_the_hub_keeps(hub: WebServer) -> None:
    large, small = list_files("hf://datasets/us/reviews/data/[lt]*[0t]*")[:2]

    assert (large.bytes, large.fingerprint) == (len(LARGE), f"sha256:{hashlib.sha256(LARGE).hexdigest()}")
    assert small.fingerprint == f"git:{git_digest(FILES['data/train-0.csv'])}"
    assert large.uri == f"hf://datasets/us/reviews@{'c' * 40}/data/large.parquet"
    assert not any("resolve" in asked.path for asked in hub.asked)


def test_every_file_can_be_read(hub: WebServer) -> None:
    for file in list_files("hf://datasets/us/reviews/data"):
        with open_raw(file) as raw:
            assert raw.readall() == FILES[f"data/{file.name}"]


def test_a_model_is_listed_too(hub: WebServer) -> None:
    hub.repositories["models/us/small"] = Repository({"config.json": b"{}"})

    assert names("hf://us/small") == ["config.json"]
    assert names("hf://us/small/config.json") == ["config.json"]


def test_a_revision_is_a_branch_a_commit_or_one_of_the_hubs_own(hub: WebServer) -> None:
    for revision, written in (("v1.0", "v1.0"), ("refs/convert/parquet", "refs/convert/parquet"), ("a/b", "a%2Fb")):
        hub.repositories["datasets/us/other"] = Repository({"a.csv": b"x"}, revision=revision)
        assert names(f"hf://datasets/us/other@{written}/a.csv") == ["a.csv"]
    assert names(f"hf://datasets/us/other@{'c' * 40}/a.csv") == ["a.csv"]


def test_a_commit_that_leaves_a_file_as_it_was_leaves_its_fingerprint(hub: WebServer) -> None:
    uri = "hf://datasets/us/reviews/data/*.csv"
    before = fingerprint(uri)
    after = {**FILES, "README.md": b"other"}
    hub.repositories["datasets/us/reviews"] = Repository(after, commit="d" * 40)

    assert fingerprint(uri) == before
    after["data/train-1.csv"] = b"text,label\npoor,1\n"
    assert fingerprint(uri) != before


def test_what_is_read_is_what_was_listed(hub: WebServer) -> None:
    small, large = list_files("hf://datasets/us/reviews/data/train-0.csv") + list_files(
        "hf://datasets/us/reviews/data/large.parquet"
    )
    files = hub.repositories["datasets/us/reviews"].files
    files["data/train-0.csv"] = files["data/train-0.csv"].upper()
    files["data/large.parquet"] = LARGE[::-1]

    for file in (small, large):
        with open_raw(file) as raw, pytest.raises(ModelmillError, match="changed while it was read"):
            raw.readall()


def test_a_broken_connection_to_where_large_files_lie_goes_on(hub: WebServer) -> None:
    (file,) = list_files("hf://datasets/us/reviews/data/large.parquet")
    with open_raw(file) as raw:
        raw.read(1)
    place = f"/cdn/{hashlib.sha256(LARGE).hexdigest()}"
    hub.files[place].cuts = [500_000, 100_000]
    hub.asked.clear()

    with open_raw(file) as raw:
        assert raw.readall() == LARGE
    assert hub.ranges(place) == [None, "bytes=500000-", "bytes=600000-"]


def test_the_token_goes_to_the_hub_alone_and_into_no_message(hub: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repositories["datasets/us/reviews"].token = "hf_hush"
    uri = "hf://datasets/us/reviews/data/large.parquet"
    with pytest.raises(UserError, match=r"no such repository, or a private one; correct it, or set HF_TOKEN"):
        list_files(uri)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UserError) as caught:
        list_files(uri)
    assert "hf_" not in str(caught.value)
    monkeypatch.setenv("HF_TOKEN", "hf_hush")
    hub.asked.clear()

    with open_raw(list_files(uri)[0]) as raw:
        assert raw.readall() == LARGE
    sent = {asked.path.split("/")[1]: asked.headers.get("authorization") for asked in hub.asked}
    assert sent == {"api": "Bearer hf_hush", "datasets": "Bearer hf_hush", "cdn": None}


def test_what_is_not_there_is_named(hub: WebServer) -> None:
    for uri, message in (
        ("hf://datasets/us/review/a.csv", "no such repository, or a private one"),
        ("hf://datasets/us/reviews@v9/data", "no such revision; correct what stands after '@'"),
        ("hf://datasets/us/reviews/dta", f"dta: no such file or folder at commit {'c' * 12}"),
        ("hf://datasets/us/reviews/data/*.json", r"\*\.json: 0 files there"),
        ("hf://datasets/us/reviews/data/_SUCCESS", r"empty \(0 bytes\)"),
    ):
        with pytest.raises(UserError, match=message):
            list_files(uri)


def test_a_hub_that_fails_for_a_while_is_asked_again_and_then_given_up(hub: WebServer) -> None:
    repository = hub.repositories["datasets/us/reviews"]
    repository.broken = [500, 503]
    assert names("hf://datasets/us/reviews/README.md") == ["README.md"]
    repository.broken = [503] * 99

    with pytest.raises(ModelmillError, match="the Hub answers 503, 5 times") as caught:
        list_files("hf://datasets/us/reviews/README.md")
    assert caught.value.exit_code == 1


def test_a_hub_that_is_not_there_is_a_failure(hub: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://not-there.invalid")

    with pytest.raises(ModelmillError, match=r"the Hub cannot be reached \(ConnectError\), 5 times"):
        list_files("hf://datasets/us/reviews/README.md")


def test_more_than_the_limit_in_all_is_refused(hub: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELMILL_MAX_DOWNLOAD_BYTES", "1000000")

    assert names("hf://datasets/us/reviews/data/*.csv")
    with pytest.raises(UserError, match=r"10240\d\d bytes, and MODELMILL_MAX_DOWNLOAD_BYTES allows 1000000"):
        list_files("hf://datasets/us/reviews/data")


@pytest.mark.parametrize(
    "uri",
    [
        "hf://",
        "hf://datasets/reviews",
        "hf://datasets/us",
        "hf://spaces/us/app/a.csv",
        "hf://me:secret@us/reviews",
        "hf://datasets/us/reviews@/a.csv",
        "hf://datasets/us/reviews/../secret",
    ],
)
def test_a_wrong_uri_is_refused_without_asking(hub: WebServer, uri: str) -> None:
    with pytest.raises(UserError, match=r"write hf://datasets/owner/name/path") as caught:
        check_there(uri)

    assert "me:" not in str(caught.value)
    assert not hub.asked


def test_without_the_extra_the_way_to_it_is_named() -> None:
    """With -S no installed package is found, so that it is really missing."""
    code = "from modelmill.sources import list_files\nlist_files('hf://datasets/us/reviews')"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}

    done = subprocess.run([sys.executable, "-S", "-c", code], env=env, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "UserError: hf://: the package huggingface_hub is missing; pip install 'modelmill[hub]'" in done.stderr


def test_to_import_the_sources_loads_no_client_of_any_network() -> None:
    heavy = ["urllib3", "boto3", "huggingface_hub", "httpx2", "requests", "sqlite3"]
    code = "import sys; from modelmill.sources import check_uri; check_uri('hf://datasets/us/x'); check_uri('https://h/x');"
    code += f"print([name for name in {heavy[:-1]} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
