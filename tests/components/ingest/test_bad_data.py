import gzip
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from modelmill.errors import UserError
from tests.components.ingest.tools import REVIEWS, csv_of, ingest, write


def cut_gzip(path: Path) -> None:
    numbers = random.Random(0)
    rows = [(f"{numbers.getrandbits(64)}", "good") for _ in range(5000)]
    whole = gzip.compress(csv_of(rows).encode())
    path.write_bytes(whole[: len(whole) // 2])


def bad_bytes(path: Path) -> None:
    # More rows with UTF-8 than without: the file is UTF-8, and the others are bad.
    good = "".join(f'"café {number}",good\n' for number in range(5))
    path.write_bytes((csv_of(REVIEWS) + good).encode() + b'"caf\xe9",good\n' * 4)


HOSTILE: list[tuple[str, str | Callable[[Path], None], str]] = [
    ("a.csv", "", r"a\.csv: empty \(0 bytes\)"),
    ("a.csv", "text,label\n", r"a\.csv: 0 of 0 rows kept; the files hold no rows"),
    ("a.csv", "id,sentence,label\n1,a,b\n", r"a\.csv: no column 'text'; its 3 columns are 'id', 'sentence', 'label'"),
    (
        "a.csv",
        csv_of([(text, "good") for text, _ in REVIEWS]),
        r"1 class \('good'\) in column 'label'.* 300 of 300 rows",
    ),
    ("a.csv", csv_of([(" <br> ", "good")] * 50), r"0 of 50 rows kept \(empty 50\); correct columns.text"),
    ("a.csv", csv_of([("same", "good")] * 50), r"1 class .* 1 of 50 rows kept \(duplicate 49\)"),
    (
        "a.csv",
        csv_of([("same", "good"), ("other", "bad")] * 50),
        r"0 of 2 rows fell into \w+ \(ingest.split.\w+: 0.\d\); 2 of 100 rows kept \(duplicate 98\)",
    ),
    (
        "a.csv",
        csv_of([("same", "good"), ("same", "bad")] * 50),
        r"0 of 100 rows kept \(label_conflict 100\); equal texts have different labels",
    ),
    (
        "a.csv",
        csv_of([(text, "" if number % 2 else label) for number, (text, label) in enumerate(REVIEWS)]),
        r"150 of 300 rows are bad \(50.00%: missing_label 150\), max_bad_rows allows 1.00%; first: .* row 3: missing",
    ),
    (
        "a.csv",
        csv_of(REVIEWS) + "a,b,c\n" * 4,
        r"4 of 304 rows are bad \(1.32%: ragged_row 4\).* row 302: ragged_row, 3 columns, 2 expected",
    ),
    ("a.csv", bad_bytes, r"4 of 309 rows are bad .*invalid_encoding 4.* row 307: invalid_encoding, byte 0xe9 at 3"),
    ("a.csv.gz", cut_gzip, r"a\.csv\.gz: truncated gzip: stops before its end \(\d+ bytes unpacked, (\d+) of \1 bytes"),
    ("a.jsonl", '{"text": "a"\n' * 10, r"10 of 10 rows are bad .* row 1: bad_json, Expecting ',' delimiter"),
    ("a.parquet", "PAR1 not really", r"a\.parquet: broken Parquet"),
    ("a.dat", "text,label\n", r"a\.dat: the name tells no format; set format"),
    ("a.csv", csv_of([(text, text) for text in map(str, range(1500))]), r"1500 classes in column 'label' \('0', '1', "),
]


@pytest.mark.parametrize(("name", "content", "message"), HOSTILE, ids=[message[:50] for _, _, message in HOSTILE])
def test_bad_data_end_in_one_clear_message_and_leave_nothing_in_the_store(
    tmp_path: Path, name: str, content: str | Callable[[Path], None], message: str
) -> None:
    path = tmp_path / name
    if callable(content):
        content(path)
    else:
        write(path, content)

    with pytest.raises(UserError, match=message) as caught:
        ingest(tmp_path, corpus=[{"labelled": "train"}], labelled=[{"uri": str(path)}])

    assert caught.value.exit_code == 2
    assert not [file for file in (tmp_path / "store").rglob("*") if file.is_file()]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n\n  \n", r"ingest.corpus: .*book.txt: 0 of 3 rows kept \(empty 3\)"),
        ("same\n" * 9, r"1 of 9 rows kept \(duplicate 8\), and training and validation need 2 at least"),
    ],
)
def test_a_corpus_of_nothing_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ingest(tmp_path, corpus=[{"uri": str(write(tmp_path / "book.txt", text))}])


def test_bad_rows_up_to_the_share_that_the_recipe_allows_are_only_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", csv_of(REVIEWS) + "a,b,c\n" * 4)

    outputs, _ = ingest(tmp_path, labelled=[{"uri": str(path)}], max_bad_rows=0.0132)

    assert outputs.summary["labelled_dropped"] == {"ragged_row": 4}
