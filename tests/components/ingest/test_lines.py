import json
from pathlib import Path

import pytest

from components.ingest import lines
from modelmill.errors import UserError
from tests.components.ingest.tools import read, write


def test_text_is_a_document_per_line_numbered_from_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "first\r\nsecond \t one\n\nlast, without an end")

    rows, bad = read(path)

    assert [(number, text) for number, text, _ in rows] == [
        (1, "first"),
        (2, "second \t one"),
        (3, ""),
        (4, "last, without an end"),
    ]
    assert bad == []


def test_skipped_lines_keep_their_numbers(tmp_path: Path) -> None:
    rows, _ = read(write(tmp_path / "a.txt", "title\n\nfirst\n"), skip_rows=2)

    assert rows == [(3, "first", None)]


def test_invalid_utf8_in_one_line_costs_that_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"fine\n\xc3\x28\nfine too\n")

    rows, bad = read(path)

    assert [text for _, text, _ in rows] == ["fine", "fine too"]
    assert [(row.row, row.reason) for row in bad] == [(2, "invalid_encoding")]


def test_json_lines_give_text_and_label_of_every_type(tmp_path: Path) -> None:
    values = ["pos", 1, 0.5, True, None]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps({"text": "t", "label": value}) + "\n" for value in values))

    rows, bad = read(path, labelled=True)

    assert [label for _, _, label in rows] == values
    assert bad == []


HOSTILE_LINES = [
    ('{"text": "cut', "bad_json", "Unterminated string starting at at character 10"),
    ('["text"]', "bad_json", "not an object but of type list"),
    ("null", "bad_json", "not an object but of type NoneType"),
    ("9" * 5000, "bad_json", "Exceeds the limit"),
    ("[" * 100_000, "bad_json", "maximum recursion depth"),
    ('{"txet": "a", "id": 1}', "missing_text", "no key 'text' among 'txet', 'id'; did you mean 'txet'?"),
    ("{}", "missing_text", "no key 'text' among none"),
    ('{"text": null}', "missing_text", "'text' is null"),
    ('{"text": 5}', "wrong_type", "text is of type int"),
    ('{"text": ["a"]}', "wrong_type", "text is of type list"),
]


@pytest.mark.parametrize(("line", "reason", "detail"), HOSTILE_LINES)
def test_a_line_that_is_no_usable_object_costs_that_line(tmp_path: Path, line: str, reason: str, detail: str) -> None:
    path = write(tmp_path / "a.jsonl", f'{{"text": "before"}}\n{line}\n{{"text": "after"}}\n')

    rows, bad = read(path)

    assert [(number, text) for number, text, _ in rows] == [(1, "before"), (3, "after")]
    assert [(row.row, row.reason) for row in bad] == [(2, reason)]
    assert detail in bad[0].detail


def test_a_blank_line_of_json_lines_is_a_row_without_text(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.jsonl", '\n{"text": "a"}\n')) == ([(1, "", None), (2, "a", None)], [])


def test_a_line_too_long_to_be_one_fails_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_LINE_BYTES", 100)

    with pytest.raises(UserError, match=r"line 2 is longer than 100 bytes; is the format right\? \(after 1 rows"):
        read(write(tmp_path / "a.txt", "short\n" + "x" * 1000))
