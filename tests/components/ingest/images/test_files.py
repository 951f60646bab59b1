from pathlib import Path

import pytest

from components.ingest.images import pictures
from components.ingest.images.files import read_files
from modelmill.errors import ModelmillError, UserError
from modelmill.sources import list_files
from tests.components.ingest.images.tools import flat, packed, photo, reasons


def folder_of(path: Path) -> list[str]:
    names = ["cats/1.png", "cats/indoor/2.png", "dogs/3.png", "4.png", "cats/Thumbs.db", "dogs/notes.txt"]
    for number, name in enumerate(names):
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(packed(photo(seed=number), "PNG") if name.endswith("png") else b"no picture")
    return sorted(names)


def test_the_label_is_the_name_of_the_innermost_folder(tmp_path: Path) -> None:
    names = folder_of(tmp_path)

    rows, bad = flat(list(read_files(list_files(str(tmp_path)))))

    assert [(number, name) for number, name, _, _ in rows] == list(enumerate(names, 1))
    assert [label for *_, label in rows] == [None, "cats", "cats", "indoor", "dogs", "dogs"]
    assert all(data == (tmp_path / name).read_bytes() for _, name, data, _ in rows)
    assert bad == []


def test_numbers_go_on_where_the_caller_says(tmp_path: Path) -> None:
    folder_of(tmp_path)

    rows, _ = flat(list(read_files(list_files(str(tmp_path))[2:], first=3)))

    assert [number for number, *_ in rows] == [3, 4, 5, 6]


def test_many_files_come_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of(tmp_path)
    files = list_files(str(tmp_path))

    monkeypatch.setattr(pictures, "BATCH_PICTURES", 4)
    assert [len(batch.data) for batch in read_files(files)] == [4, 2]
    monkeypatch.setattr(pictures, "BATCH_BYTES", 1)
    assert [len(batch.data) for batch in read_files(files)] == [1] * 6


def test_an_empty_file_is_left_to_those_who_look(tmp_path: Path) -> None:
    folder_of(tmp_path)
    (tmp_path / "empty.png").touch()

    rows, _ = flat(list(read_files(list_files(str(tmp_path)))))

    assert {name: data for _, name, data, _ in rows}["empty.png"] == b""


def test_a_file_that_is_too_long_for_a_picture_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of(tmp_path)
    monkeypatch.setattr(pictures, "PICTURE_BYTES", 100)

    rows, bad = flat(list(read_files(list_files(str(tmp_path)))))

    assert [name for _, name, _, _ in rows] == ["cats/Thumbs.db", "dogs/notes.txt"]
    assert reasons(bad) == [(1, "too_large"), (2, "too_large"), (4, "too_large"), (5, "too_large")]
    assert "100 are allowed" in bad[0].detail


@pytest.mark.parametrize("change", [lambda data: data + b"more", lambda data: data[:-1], lambda data: b"x" * len(data)])
def test_a_file_that_was_changed_is_noticed(tmp_path: Path, change: object) -> None:
    folder_of(tmp_path)
    files = list_files(str(tmp_path))
    file = tmp_path / "dogs" / "3.png"
    assert callable(change)
    file.write_bytes(change(file.read_bytes()))

    with pytest.raises(ModelmillError, match=r"3\.png: changed while it was read"):
        list(read_files(files))


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    folder_of(tmp_path)
    files = list_files(str(tmp_path))
    (tmp_path / "4.png").unlink()

    with pytest.raises(UserError, match=r"4\.png"):
        list(read_files(files))
