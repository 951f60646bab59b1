import gzip
import io
import json
import os
import stat
import struct
import tarfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pytest

from components.ingest.images import pictures
from components.ingest.images.tars import read_tar
from components.ingest.images.webdataset import read_webdataset
from components.ingest.images.zips import read_zip
from modelmill.errors import UserError
from tests.components.ingest.images.tools import opened, packed, photo, read, reasons

PNG = packed(photo(), "PNG")
JPEG = packed(photo(seed=1), "JPEG")
MEMBERS = {
    "train/cats/1.png": PNG,
    "train/dogs/2.jpg": JPEG,
    "3.png": PNG,
    ".hidden/4.png": PNG,
    "__MACOSX/5.png": b"x",
}
EXPECTED = [(1, "train/cats/1.png", PNG, "cats"), (2, "train/dogs/2.jpg", JPEG, "dogs"), (3, "3.png", PNG, None)]


def zip_of(path: Path, members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def tar_of(path: Path, members: Mapping[str, bytes], kind: Literal["", "gz", "bz2", "xz"] = "") -> Path:
    mode: Literal["w:", "w:gz", "w:bz2", "w:xz"] = f"w:{kind}"  # type: ignore[assignment]
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_gives_its_pictures_with_their_folders_as_labels(tmp_path: Path, method: int) -> None:
    assert read(read_zip, zip_of(tmp_path / "a.zip", MEMBERS, method)) == (EXPECTED, [])
    assert [each.name for each in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize(
    ("name", "kind"), [("a.tar", ""), ("a.tar.gz", "gz"), ("a.tar.bz2", "bz2"), ("a.tar.xz", "xz")]
)
def test_a_tar_gives_its_pictures_with_their_folders_as_labels(
    tmp_path: Path, name: str, kind: Literal["", "gz", "bz2", "xz"]
) -> None:
    assert read(read_tar, tar_of(tmp_path / name, MEMBERS, kind)) == (EXPECTED, [])


UNSAFE = ["../x.png", "a/../../x.png", "/etc/x.png", "C:\\x.png", "..\\x.png"]


@pytest.mark.parametrize("name", UNSAFE)
def test_a_name_that_leads_out_of_an_archive_costs_its_member(tmp_path: Path, name: str) -> None:
    members = {name: PNG, "cats/1.png": PNG}

    for rows, bad in (
        read(read_zip, zip_of(tmp_path / "a.zip", members)),
        read(read_tar, tar_of(tmp_path / "a.tar", members)),
    ):
        assert rows == [(2, "cats/1.png", PNG, "cats")]
        assert reasons(bad) == [(1, "unsafe_name")]
        assert "leads out of the archive" in bad[0].detail


def test_a_zip_of_a_hundred_thousand_members_takes_seconds(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {f"{number % 10}/{number}.png": b"x" for number in range(100_000)}, 0)
    start = time.perf_counter()

    rows, bad = read(read_zip, path)

    assert time.perf_counter() - start < 20
    assert (len(rows), bad) == (100_000, [])
    assert rows[-1] == (100_000, "9/99999.png", b"x", "9")


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "PICTURE_BYTES", 1 << 20)
    path = zip_of(
        tmp_path / "a.zip", {"a/bomb.png": bytes(50 << 20), "a/large.png": os.urandom(2 << 20), "a/1.png": PNG}
    )

    rows, bad = read(read_zip, path)

    assert [name for _, name, _, _ in rows] == ["a/1.png"]
    assert reasons(bad) == [(1, "packing_bomb"), (2, "too_large")]
    assert "become 52428800, 200 times is allowed" in bad[0].detail


def test_a_member_that_unpacks_to_more_than_it_says_is_broken(tmp_path: Path) -> None:
    content = bytearray(zip_of(tmp_path / "a.zip", {"a/1.png": b"a" * 5000}).read_bytes())
    entry = content.index(b"PK\1\2")
    content[entry + 24 : entry + 28] = struct.pack("<I", 100)
    (tmp_path / "a.zip").write_bytes(content)

    rows, bad = read(read_zip, tmp_path / "a.zip")

    assert (rows, reasons(bad)) == ([], [(1, "broken_member")])
    assert "the 100 bytes declared (101 were read)" in bad[0].detail


def test_members_that_overlap_are_a_bomb(tmp_path: Path) -> None:
    content = zip_of(tmp_path / "a.zip", {"a": os.urandom(5000)}, zipfile.ZIP_STORED).read_bytes()
    start = content.index(b"PK\1\2")
    end = content.index(b"PK\5\6")
    directory = content[start:end] * 50
    tail = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 50, 50, len(directory), start, 0)
    (tmp_path / "a.zip").write_bytes(content[:start] + directory + tail)

    with pytest.raises(
        UserError, match=r"its 50 members take 250000 bytes packed, and the file has \d+: members overlap"
    ):
        read(read_zip, tmp_path / "a.zip")


def test_an_encrypted_member_a_link_and_a_damaged_one_cost_themselves(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("secret.png", PNG)
        archive.writestr("damaged.png", JPEG)
        archive.writestr(link, "../elsewhere")
        archive.writestr("1.png", PNG)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    content[content.index(JPEG) + 100] ^= 1
    (tmp_path / "a.zip").write_bytes(content)

    rows, bad = read(read_zip, tmp_path / "a.zip")

    assert rows == [(4, "1.png", PNG, None)]
    assert reasons(bad) == [(1, "encrypted"), (2, "broken_member"), (3, "not_a_file")]


@pytest.mark.parametrize("keep", [0, 0.3, 0.99])
def test_a_cut_zip_is_refused(tmp_path: Path, keep: float) -> None:
    path = zip_of(tmp_path / "a.zip", MEMBERS)
    data = path.read_bytes()
    path.write_bytes(data[: max(1, int(len(data) * keep))])

    with pytest.raises(UserError, match=r"a\.zip: broken zip: .* \(after 0 rows"):
        read(read_zip, path)


def test_an_empty_archive_holds_nothing(tmp_path: Path) -> None:
    assert read(read_zip, zip_of(tmp_path / "a.zip", {})) == ([], [])
    assert read(read_tar, tar_of(tmp_path / "a.tar", {})) == ([], [])


@pytest.mark.parametrize("keep", [700, 4096, 1024 * 9 + 512])
def test_a_cut_tar_is_refused(tmp_path: Path, keep: int) -> None:
    path = tar_of(tmp_path / "a.tar", {f"a/{number}.png": os.urandom(512) for number in range(20)})
    path.write_bytes(path.read_bytes()[:keep])

    with pytest.raises(UserError, match=rf"a\.tar: broken tar: .* {keep} of {keep} bytes"):
        read(read_tar, path)


def test_a_tar_with_a_damaged_header_is_refused_and_not_taken_for_its_end(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar", {f"a/{number}.png": bytes(512) for number in range(5)})
    content = bytearray(path.read_bytes())
    content[2048 + 10] ^= 0xFF
    path.write_bytes(content)

    with pytest.raises(UserError, match=r"broken tar: bad checksum where a member or the end should be \(after 2 rows"):
        read(read_tar, path)


def test_a_truncated_packed_tar_is_refused(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar.gz", {f"a/{number}.png": os.urandom(5000) for number in range(20)}, "gz")
    data = path.read_bytes()

    for keep in (len(data) // 2, len(data) - 4):
        path.write_bytes(data[:keep])
        with pytest.raises(UserError, match="truncated gzip"):
            read(read_tar, path)


def test_damage_behind_the_end_of_a_packed_tar_is_seen(tmp_path: Path) -> None:
    plain = tar_of(tmp_path / "a.tar", {"a/1.png": PNG}).read_bytes()
    content = bytearray(gzip.compress(plain + bytes(1 << 20)))
    content[-6] ^= 1
    (tmp_path / "a.tar.gz").write_bytes(content)

    with pytest.raises(UserError, match="broken gzip: CRC check failed"):
        list(read_tar(opened(tmp_path / "a.tar.gz")))


def test_a_link_in_a_tar_costs_itself(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"a/{kind.decode()}.png")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)

    rows, bad = read(read_tar, tmp_path / "a.tar")

    assert (rows, reasons(bad)) == ([], [(1, "not_a_file"), (2, "not_a_file"), (3, "not_a_file")])


def test_a_packed_tar_that_is_a_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        info = tarfile.TarInfo("a/1.png")
        info.size = 300 << 20
        file.write(info.tobuf())
        for _ in range(300):
            file.write(bytes(1 << 20))
        file.write(bytes(1024))

    with pytest.raises(UserError, match=r"bytes become \d+, more than 200 times as many"):
        read(read_tar, path)


def test_a_header_that_wants_much_memory_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 33
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(2048))

    with pytest.raises(UserError, match="8589934592 bytes of type b'L' before a member, 1048576 allowed"):
        read(read_tar, tmp_path / "a.tar")


def test_long_names_are_read(tmp_path: Path) -> None:
    name = "/".join(["folder" * 10] * 5) + "/1.png"

    rows, _ = read(read_tar, tar_of(tmp_path / "a.tar", {name: PNG}))

    assert rows == [(1, name, PNG, "folder" * 10)]


def test_webdataset_takes_picture_and_label_of_a_sample(tmp_path: Path) -> None:
    members = {
        "0001.jpg": JPEG,
        "0001.cls": b"3\n",
        "a/0002.json": json.dumps({"label": "cat", "width": 96}).encode(),
        "a/0002.png": PNG,
        "a/0002.txt": b"a cat",
        "0003.PNG": PNG,
        "0003.seg.png": PNG,
        "0003.txt": "Füchse".encode(),
        "0004.png": PNG,
    }

    rows, bad = read(read_webdataset, tar_of(tmp_path / "a.tar", members))

    assert rows == [
        (1, "0001.jpg", JPEG, "3"),
        (2, "a/0002.png", PNG, "cat"),
        (3, "0003.PNG", PNG, "Füchse"),
        (4, "0004.png", PNG, None),
    ]
    assert bad == []


def test_webdataset_reads_the_key_that_is_asked_for(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar", {"1.png": PNG, "1.json": b'{"class": 7, "label": 1}'})

    assert read(read_webdataset, path, "class")[0][0][3] == 7


def test_a_webdataset_sample_that_is_not_whole_costs_itself(tmp_path: Path) -> None:
    members = {
        "1.cls": b"1",
        "2.png": PNG,
        "2.jpg": JPEG,
        "3.png": PNG,
        "3.json": b'{"label": ',
        "4.png": PNG,
        "4.cls": b"\xff",
        "5.json": b"[1]",
        "5.png": PNG,
        "../6.png": PNG,
        "7.png": PNG,
    }

    rows, bad = read(read_webdataset, tar_of(tmp_path / "a.tar", members))

    assert [number for number, *_ in rows] == [7]
    assert reasons(bad) == [
        (1, "missing_image"),
        (2, "several_images"),
        (3, "bad_json"),
        (4, "invalid_encoding"),
        (5, "bad_json"),
        (6, "unsafe_name"),
    ]
