import re
from pathlib import Path

import pytest

from components.ingest import delimited
from modelmill.errors import UserError
from tests.components.ingest.tools import read, write


def test_rows_come_with_their_text_and_label_and_the_numbers_of_a_spreadsheet(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'id,text,label\n1,good,pos\n2,"two\nlines, one row",neg\n\n4,"say ""hi""",pos')

    rows, bad = read(path, labelled=True)

    assert rows == [(2, "good", "pos"), (3, "two\nlines, one row", "neg"), (4, "", ""), (5, 'say "hi"', "pos")]
    assert bad == []


def test_a_ragged_row_costs_that_row_and_tells_both_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,text\n1,a\n2,b,c,d\n3,c\n4\n5,e\n")

    rows, bad = read(path)

    assert [(number, text) for number, text, _ in rows] == [(2, "a"), (4, "c"), (6, "e")]
    assert [(row.row, row.reason, row.text, row.detail) for row in bad] == [
        (3, "ragged_row", "2,b,c,d", "4 columns, 2 expected"),
        (5, "ragged_row", "4", "1 columns, 2 expected"),
    ]


def test_invalid_utf8_in_one_row_costs_that_row_and_shows_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\nfine,a\nbr\xffken,b\nfine too,\xfe\ngood,c\n")

    rows, bad = read(path, labelled=True)

    assert rows == [(2, "fine", "a"), (5, "good", "c")]
    assert [(row.row, row.reason, row.text, row.detail) for row in bad] == [
        (3, "invalid_encoding", "br\\xffken", "byte 0xff at 2 is not UTF-8"),
        (4, "invalid_encoding", "fine too", "byte 0xfe at 0 is not UTF-8"),
    ]


def test_bytes_that_are_invalid_in_a_column_that_is_not_read_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"junk,text\n\xff\xff,fine\n")

    assert read(path) == ([(2, "fine", None)], [])


@pytest.mark.parametrize("block_bytes", [64, 1 << 20])
def test_rows_keep_their_numbers_across_blocks_and_ragged_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", block_bytes)
    lines = ["n,text"]
    for number in range(2, 400):
        lines.append(f"{number},a,b" if number % 7 in {0, 1} else f'{number},"row\n{number}"')

    rows, bad = read(write(tmp_path / "a.csv", "\n".join(lines)))

    assert [row.row for row in bad] == [number for number in range(2, 400) if number % 7 in {0, 1}]
    assert [(number, text) for number, text, _ in rows] == [
        (number, f"row\n{number}") for number in range(2, 400) if number % 7 not in {0, 1}
    ]


def test_lines_are_skipped_and_columns_named_where_the_file_does_not_name_them(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "made by hand\n\n1;hello;x\n2;world;y\n")
    settings = {"skip_rows": 2, "header": ["id", "body", "class"], "delimiter": ";"}

    rows, _ = read(path, labelled=True, columns={"text": "body", "label": "class"}, **settings)

    assert rows == [(3, "hello", "x"), (4, "world", "y")]


def test_tabs_separate_the_fields_of_a_tsv_and_quotes_can_be_taken_as_they_stand(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'id\ttext\n1\t"never closed, but a word\n2\tnext, row\n')

    rows, _ = read(path, quoting=False)

    assert [text for _, text, _ in rows] == ['"never closed, but a word', "next, row"]


@pytest.mark.parametrize(
    "text",
    ['id,text\n1,a\n2,"b\n3,c\n4,d\n', 'id,text,label\n1,a,x\n2,"b\n3,c,y\n4,d,x'],
    ids=["swallowed rows would be a text", "swallowed rows would be ragged"],
)
def test_a_quote_that_never_closes_fails_the_file_instead_of_swallowing_the_rest(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "a.csv", text)

    with pytest.raises(UserError, match=rf"{re.escape(str(path))}: row 3: a quote opens there and never closes"):
        read(path)


def test_a_quote_that_never_closes_in_a_long_file_fails_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 256)
    path = write(tmp_path / "a.csv", "id,text\n" + "1,a\n" * 100 + '2,"b\n' + "3,c\n" * 400)

    with pytest.raises(UserError, match=r"after row \d+: a row is over 256 bytes long; if a quote stays open"):
        read(path)


def test_a_missing_column_is_named_with_those_there_and_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,sentimnt,text\n1,2,a\n")

    with pytest.raises(UserError) as caught:
        read(path, labelled=True, columns={"label": "sentiment"})

    assert str(caught.value) == (
        f"{path}: no column 'sentiment'; its 3 columns are 'id', 'sentimnt', 'text'; did you mean 'sentimnt'?"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,text\na,b\n", r"2 columns are called 'text' \('text', 'text'\)"),
        ("\ntext\na\n", r"row 1, where the header should be, is empty; correct skip_rows \(0\)"),
        ("id;text\n1;a\n", r"no column 'text'; its 1 columns are 'id;text'; correct .*`delimiter`"),
    ],
)
def test_a_header_that_cannot_be_used_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(write(tmp_path / "a.csv", content))


def test_a_header_alone_is_a_file_without_rows(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.csv", "text")) == ([], [])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le-with-mark", "utf-32", "latin-1", "gb18030"])
def test_every_encoding_gives_the_same_rows(tmp_path: Path, encoding: str) -> None:
    text = "text,label\nnaïve café,a\n" + ("电影很好,b\n" if encoding not in {"latin-1"} else "")
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xff\xfe" + text.encode("utf-16-le") if "with-mark" in encoding else text.encode(encoding))
    # What begins with a mark needs no setting.
    settings = {"encoding": encoding} if encoding in {"latin-1", "gb18030"} else {}

    rows, bad = read(path, labelled=True, **settings)

    assert [(text, label) for _, text, label in rows][:1] == [("naïve café", "a")]
    assert len(rows) == len(text.splitlines()) - 1
    assert bad == []


def test_a_character_cut_at_the_end_of_the_file_makes_its_row_bad(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text\nwhole\ncut".encode("utf-16") + b"\x41")

    rows, bad = read(path)

    assert [text for _, text, _ in rows] == ["whole"]
    assert [(row.row, row.reason) for row in bad] == [(3, "invalid_encoding")]


def test_a_row_that_another_encoding_cannot_mean_is_bad(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text\n好\n".encode("gb18030") + b"\x81\x20\n" + "电影\n".encode("gb18030"))

    rows, bad = read(path, encoding="gb18030")

    assert [text for _, text, _ in rows] == ["好", "电影"]
    assert [(row.row, row.reason) for row in bad] == [(3, "invalid_encoding")]
