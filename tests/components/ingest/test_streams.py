import bz2
import gzip
import lzma
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from modelmill.errors import ModelmillError, UserError
from modelmill.sources import list_files, open_raw
from tests.components.ingest.tools import read

PACKERS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def text(lines: int = 20_000) -> bytes:
    numbers = random.Random(0)
    return b"".join(b"line %d %d\n" % (number, numbers.getrandbits(64)) for number in range(lines))


@pytest.mark.parametrize("ending", PACKERS)
def test_packed_files_are_read_as_their_name_says(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.txt{ending}"
    # Packed files may follow one another in one.
    path.write_bytes(PACKERS[ending](b"one\ntwo\n") + PACKERS[ending](b"three\n"))

    assert [line for _, line, _ in read(path)[0]] == ["one", "two", "three"]


@pytest.mark.parametrize("ending", PACKERS)
@pytest.mark.parametrize("kind", ["txt", "jsonl", "csv", "tsv"])
def test_a_truncated_file_is_refused_with_what_was_read(tmp_path: Path, ending: str, kind: str) -> None:
    path = tmp_path / f"a.{kind}{ending}"
    whole = PACKERS[ending](b"text\n" + text())
    path.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(
        UserError, match=r"a\.\w+\.\w+: truncated \w+: stops before its end \(\d+ bytes unpacked, (\d+) of \1"
    ):
        read(path)


@pytest.mark.parametrize("ending", PACKERS)
def test_a_file_that_is_not_packed_as_its_name_says_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.txt{ending}"
    path.write_bytes(b"plain text\n" * 100)

    with pytest.raises(UserError, match=r"broken \w+: .*; replace it, or correct its name if it is not packed"):
        read(path)


def test_damage_in_the_middle_of_a_packed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    packed = bytearray(gzip.compress(text()))
    packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(packed)

    with pytest.raises(UserError, match="broken gzip"):
        read(path)


def test_a_file_that_grows_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(text())
    (file,) = list_files(str(path))

    with open_raw(file) as raw:
        raw.read(100)
        with path.open("ab") as more:
            more.write(b"one more\n")
        with pytest.raises(ModelmillError, match=r"changed while it was read \(\d+ bytes, \d+ when listed"):
            raw.finish()
