import hashlib
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from modelmill.errors import ModelmillError
from modelmill.sources import list_files, open_raw
from modelmill.sources.remember import digests

HOUR_NS = 3_600_000_000_000


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that remembers, under a local home of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".modelmill" / "fingerprints.db"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that nobody has touched for a while, by a clock that is ahead: no test can set an inode's time."""
    path = tmp_path / "data" / "a.csv"
    path.parent.mkdir()
    path.write_bytes(b"before")
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + HOUR_NS)
    return path


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def lie(memory: Path, digest: str = "0" * 64) -> None:
    """Change what is remembered: who reads it tells that it was not read again."""
    with closing(sqlite3.connect(memory)) as database, database:
        assert database.execute("UPDATE files SET sha256 = ?", (digest,)).rowcount


def test_a_file_that_nobody_touched_is_not_read_again(memory: Path, file: Path) -> None:
    assert digests([file]) == {file: (6, sha256(b"before"))}
    lie(memory)

    assert digests([file]) == {file: (6, "0" * 64)}
    assert list_files(str(file))[0].fingerprint == f"sha256:{'0' * 64}"


def test_a_file_that_was_touched_is_read_again(memory: Path, file: Path) -> None:
    digests([file])
    lie(memory)
    stat = file.stat()

    file.write_bytes(b"after!")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    # Of the same length and date; the inode tells.
    assert digests([file])[file][1] == sha256(b"after!")


def test_another_file_of_the_same_name_is_read_again(memory: Path, file: Path) -> None:
    digests([file])
    lie(memory)
    other = file.with_name("other")
    other.write_bytes(b"before")
    other.replace(file)

    assert digests([file])[file][1] == sha256(b"before")


def test_a_file_that_was_changed_a_moment_ago_is_not_remembered(
    memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"before")

    digests([path])

    assert not memory.exists()


def test_a_memory_that_lies_is_caught_when_the_file_is_read(memory: Path, file: Path) -> None:
    list_files(str(file))
    lie(memory)
    (listed,) = list_files(str(file))

    with open_raw(listed) as raw, pytest.raises(ModelmillError, match=r"a\.csv: changed while it was read"):
        raw.readall()


@pytest.mark.parametrize("content", [b"", b"not a database", b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_broken_memory_is_passed_over_and_begun_anew(memory: Path, file: Path, content: bytes) -> None:
    memory.parent.mkdir()
    memory.write_bytes(content)

    for _ in range(3):
        assert digests([file])[file][1] == sha256(b"before")
    lie(memory)
    assert digests([file])[file][1] == "0" * 64


def test_a_memory_of_another_form_is_passed_over(memory: Path, file: Path) -> None:
    memory.parent.mkdir()
    with closing(sqlite3.connect(memory)) as database, database:
        database.execute("CREATE TABLE files (name TEXT)")

    assert digests([file])[file][1] == sha256(b"before")


def test_a_memory_that_cannot_be_written_is_passed_over(memory: Path, file: Path) -> None:
    # Also for root, a file where its folder should be.
    memory.parent.write_text("in the way")

    assert digests([file])[file][1] == sha256(b"before")


def test_a_memory_that_another_process_holds_is_passed_over(memory: Path, file: Path) -> None:
    memory.parent.mkdir()
    with closing(sqlite3.connect(memory, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")

        assert digests([file])[file][1] == sha256(b"before")


def test_any_name_and_any_number_of_files_is_remembered(memory: Path, file: Path) -> None:
    strange = Path(os.fsdecode(os.fsencode(file.parent) + b"/\xff\n'x.csv"))
    strange.write_bytes(b"strange")
    many = [file.with_name(f"{number}.csv") for number in range(1200)]
    for path in many:
        path.write_bytes(path.name.encode())

    first = digests([strange, *many])

    assert first[strange] == (7, sha256(b"strange"))
    assert digests([strange, *many]) == first
    with closing(sqlite3.connect(memory)) as database:
        assert database.execute("SELECT count(*) FROM files").fetchone() == (1201,)
