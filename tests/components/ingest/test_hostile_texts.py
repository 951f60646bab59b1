"""Texts and tables of text made to do harm, or broken: each ends in a counted reason, or in one clear error."""

import bz2
import gzip
import json
import lzma
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from modelmill.dataset import open_dataset
from tests.components.ingest.hostile import (
    CSV,
    GOOD,
    JSON,
    LINES,
    NOISE,
    Case,
    Content,
    Expected,
    Maker,
    check,
    check_error,
    check_ledger,
    make,
)
from tests.components.ingest.tools import REVIEWS, csv_of, ingest, write

ROOT = Path(__file__).resolve().parents[3]


def zeros(pack: Callable[[bytes], bytes], times: int = 1) -> Maker:
    return lambda path: path.write_bytes(pack(b"0" * (1 << 26)) * times)


def after_good(line: Callable[[], str]) -> Maker:
    return lambda path: path.write_bytes(GOOD + line().encode())


def parquet(path: Path, text: Any = None) -> bytes:
    pq.write_table(pa.table({"text": LINES * 200 if text is None else text}), path, compression="none")
    return path.read_bytes()


def corrupt_footer(path: Path) -> None:
    data = parquet(path)
    path.write_bytes(data[:-60] + b"\xff" * 40 + data[-20:])


def corrupt_page(path: Path) -> None:
    data = parquet(path)
    path.write_bytes(data[:4] + b"\xff" * 60 + data[64:])


def beside(name: str, content: bytes) -> Maker:
    """Make a folder with a good file and another one."""

    def make(path: Path) -> None:
        path.mkdir()
        (path / "good.csv").write_bytes(CSV)
        (path / name).write_bytes(content)

    return make


def without_rows(path: Path, row_groups: int) -> None:
    with pq.ParquetWriter(path, pa.schema([("text", pa.string())])) as writer:
        for _ in range(row_groups):
            writer.write_table(pa.table({"text": pa.array([], pa.string())}))


def of_bytes(name: bytes) -> Maker:
    """Make a folder with a good file and one whose name is no text."""

    def make(path: Path) -> None:
        beside("good-too.csv", CSV)(path)
        Path(os.fsdecode(os.fsencode(path) + b"/" + name)).write_bytes(CSV)

    return make


def with_pipe(path: Path) -> None:
    beside("good-too.csv", CSV)(path)
    os.mkfifo(path / "pipe.csv")


def linked(target: str) -> Maker:
    def make(path: Path) -> None:
        write(path.parent / "outside" / "secret.csv", "text\nsecret\n")
        write(path / "good.csv", CSV.decode())
        (path / "link.csv").symlink_to(target)

    return make


def rows_of(*objects: str) -> bytes:
    return JSON + "".join(f"{each}\n" for each in objects).encode()


TEXTS: list[Case] = [
    ("a.txt.gz", gzip.compress(NOISE)[:-2000], {}, r"a\.txt\.gz: truncated gzip"),
    ("a.txt.bz2", bz2.compress(NOISE)[:-2000], {}, r"a\.txt\.bz2: truncated bzip2"),
    ("a.txt.xz", lzma.compress(NOISE)[:-2000], {}, r"a\.txt\.xz: truncated xz"),
    ("a.txt.zst", zstandard.compress(NOISE)[:-2000], {}, r"a\.txt\.zst: truncated zstd"),
    # gzip packs no more than 1,032 times, so it is the line that is too long.
    ("bomb.txt.gz", zeros(gzip.compress, 5), {}, r"bomb\.txt\.gz: line 1 is longer than 268435456 bytes"),
    ("bomb.txt.bz2", zeros(bz2.compress), {}, r"bomb\.txt\.bz2: broken bzip2: unpacks to over 1000 times"),
    ("bomb.txt.xz", zeros(lambda data: lzma.compress(data, preset=0)), {}, r"unpacks to over 1000 times"),
    ("bomb.txt.zst", zeros(zstandard.compress), {}, r"bomb\.txt\.zst: broken zstd: unpacks to over 1000 times"),
    ("members.txt.gz", b"".join(gzip.compress(line.encode() + b"\n") for line in LINES), {}, {}),
    ("padded.txt.gz", gzip.compress(GOOD) + bytes(512), {}, {}),
    ("garbage.txt.gz", gzip.compress(GOOD) + b"garbage", {}, r"garbage\.txt\.gz: broken gzip: .*; replace it"),
    ("checksum.txt.gz", gzip.compress(NOISE)[:-8] + bytes(8), {}, r"checksum\.txt\.gz: broken gzip: CRC check failed"),
    ("zero.txt.gz", b"", {}, r"zero\.txt\.gz: empty \(0 bytes\)"),
    ("none.txt.gz", gzip.compress(b""), {}, r"none\.txt\.gz: 0 of 0 rows kept; the files hold no rows"),
    ("packed.csv", gzip.compress(CSV), {}, r"packed\.csv: .* zero, .*it holds no text; replace the file"),
    ("plain.txt.gz", GOOD, {}, r"plain\.txt\.gz: broken gzip: Not a gzipped file.* correct its name"),
    ("nul.txt", b"\0" * 5000, {}, r"nul\.txt: .*(zero|no text|NUL)"),
    ("long.txt", after_good(lambda: "long word " * 2_000_000), {}, {"too_long": 1}),
    ("utf16-mark.txt", GOOD.decode().encode("utf-16"), {}, {}),
    ("utf16-le.txt", GOOD.decode().encode("utf-16-le"), {}, {}),
    ("utf16-be.txt", GOOD.decode().encode("utf-16-be"), {}, {}),
    ("utf32.txt", GOOD.decode().encode("utf-32"), {}, {}),
    ("utf16-cut.txt", GOOD.decode().encode("utf-16")[:-1], {}, {"invalid_encoding": 1}),
    ("utf16-no-mark.txt", GOOD, {"encoding": "utf-16"}, r"no-mark\.txt: cannot be read as utf-16: .* BOM; correct enc"),
    ("hosts.txt", GOOD, {"encoding": "idna"}, r"hosts\.txt: cannot be read as idna: .*; correct encoding"),
    (
        "noise.txt",
        random.Random(0).randbytes(1 << 16),
        {},
        r"noise\.txt: .* zero, .*it holds no text; replace the file",
    ),
    ("returns.txt", GOOD.replace(b"\n", b"\r"), {}, {}),
    ("returns-utf16.txt", GOOD.replace(b"\n", b"\r").decode().encode("utf-16"), {}, {}),
    (
        "mixed.txt",
        GOOD + "".join(f"café {n}\n" for n in range(5)).encode() + b"".join(b"caf\xe9 %d\n" % n for n in range(3)),
        {},
        {"invalid_encoding": 3},
    ),
    ("control.txt", GOOD + b"\x01\x02\x1b[31mred\x7f\n\x07\x08\n", {}, {"empty": 1}),
    ("combining.txt", after_good(lambda: "a" + "\u0301" * 100_000), {}, {}),
    ("tags.txt", after_good(lambda: "<b>" * 100_000 + "deep"), {}, {}),
    ("entities.txt", after_good(lambda: "&amp;" * 100_000), {}, {}),
    (
        "deep.html",
        lambda path: path.write_text("<div>" * 100_000 + "deep" + "</div>" * 100_000),
        {},
        "1 of 1 rows kept",
    ),
    # Both halves become U+FFFD.
    ("surrogates.jsonl", rows_of(r'{"text": "half \ud800"}', r'{"text": "half \udfff"}'), {}, {"duplicate": 1}),
    ("nested.jsonl", rows_of("[" * 10_000, '{"text":' * 10_000), {}, {"bad_json": 2}),
    ("middle.jsonl", JSON + b'{"text": "cut\n' + rows_of('{"text": "the last"}')[len(JSON) :], {}, {"bad_json": 1}),
    ("digits.jsonl", rows_of('{"text": "a", "number": ' + "9" * 5000 + "}"), {}, {"bad_json": 1}),
    ("mark.jsonl", b"\xef\xbb\xbf" + JSON, {}, {}),
    ("returns.jsonl", JSON.replace(b"\n", b"\r"), {}, {}),
    (
        "one-array.jsonl",
        json.dumps([{"text": line} for line in LINES]).encode(),
        {},
        r"0 of 1 rows kept \(bad_json 1\)",
    ),
    ("two.jsonl", rows_of('{"text": "a"} {"text": "b"}', '{"text": "c", "text": "d"}'), {}, {"bad_json": 1}),
    ("arrays.jsonl", rows_of('["text"]', "[]", '"text"', "null"), {}, {"bad_json": 4}),
    ("types.jsonl", rows_of('{"text": 1}', '{"text": ["a"]}', "{}"), {}, {"wrong_type": 2, "missing_text": 1}),
    ("quote.csv", CSV + b'"never closed\nmore\n', {}, r"quote\.csv: row \d+: a quote opens there and never closes"),
    ("mark.csv", b"\xef\xbb\xbf" + CSV, {}, {}),
    ("returns.csv", CSV.replace(b"\n", b"\r"), {}, {}),
    ("ends.csv", CSV + b"one\r\ntwo\rthree\n", {}, {}),
    ("quotes.csv", CSV + b'a "word" in quotes\n"a "word" in quotes"\n', {}, {}),
    # What once marked the end for the reader itself.
    ("end.csv", CSV + b"\x1emodelmill-end-of-file\x1e\n" + CSV[5:], {}, {"duplicate": 40}),
    ("last.csv", CSV + b"\x1emodelmill-end-of-file\x1e\n" * 2, {}, {"duplicate": 1}),
    ("long.csv", CSV + b'"' + b"x " * 5_000_000 + b'"\n', {}, {"too_long": 1}),
    (
        "page.csv",
        b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n",
        {},
        r"page\.csv: no column 'text'; its 1 ",
    ),
    (
        "semicolons.csv",
        CSV.replace(b"text", b"id;text", 1),
        {},
        r"no column 'text'; .*'id;text'; correct .*`delimiter`",
    ),
    ("blank.csv", b"\n" + CSV, {}, r"blank\.csv: row 1, where the header should be, is empty; correct skip_rows"),
    ("names.csv", b'"text' + b"x" * 2_000_000 + b'"\na\n', {}, r"names\.csv: the header cannot be read: field larger"),
    # A zero speaks of another encoding than UTF-8; where the recipe names it, it is an unseen character.
    ("nul.csv", CSV + b"one\0two\n", {}, r"nul\.csv: 1 of its first \d+ bytes are zero.* name its encoding"),
    ("nul-named.csv", CSV + b"one\0two\n", {"encoding": "utf-8"}, {}),
    (
        "wide.csv",
        b"text" + b",a" * 9_999 + b"\n" + b"".join(b"row %d" % n + b",1" * 9_999 + b"\n" for n in range(5)),
        {},
        {},
    ),
    ("twice.csv", b"text,text\na,b\n", {}, r"twice\.csv: 2 columns are called 'text'"),
    ("header.csv", b"text\n", {}, r"header\.csv: 0 of 0 rows kept; the files hold no rows"),
    ("footer.parquet", corrupt_footer, {}, r"footer\.parquet: broken Parquet"),
    ("page.parquet", corrupt_page, {}, r"page\.parquet: broken Parquet"),
    ("zero.parquet", b"", {}, r"zero\.parquet: empty \(0 bytes\)"),
    ("nested.parquet", lambda path: parquet(path, [["a"], ["b"]]), {}, r"column 'text' holds list<.*>, not text"),
    ("no-groups.parquet", lambda path: without_rows(path, 0), {}, r"no-groups\.parquet: 0 of 0 rows kept"),
    ("no-rows.parquet", lambda path: without_rows(path, 3), {}, r"no-rows\.parquet: 0 of 0 rows kept"),
    ("nulls.parquet", lambda path: parquet(path, pa.nulls(3)), {}, r"column 'text' holds null, not text"),
    ("secret.parquet", b"PARE" + bytes(100) + b"PARE", {}, r"secret\.parquet: broken Parquet: .*encrypted"),
    (
        "footer-size.parquet",
        b"PAR1" + bytes(100) + struct.pack("<I", 2**31 - 1) + b"PAR1",
        {},
        r"footer-size\.parquet: broken Parquet: .*112 bytes, smaller than .*2147483647",
    ),
    ("clash", beside("other.csv", b"sentence,mark\na,b\n"), {}, r"other\.csv: no column 'text'; its 2 columns"),
    ("empty", beside("none.csv", b""), {}, r"none\.csv: .*empty"),
    ("empty-gz", beside("none.csv.gz", b""), {}, r"none\.csv\.gz: .*empty"),
    ("no-files", Path.mkdir, {}, r"no-files: 0 files there"),
    ("pipe", with_pipe, {}, {"duplicate": 40}),
    ("pipe.csv", os.mkfifo, {}, r"pipe\.csv: neither a file nor a folder"),
    ("endless.csv", lambda path: path.symlink_to("/dev/zero"), {}, r"endless\.csv: neither a file nor a folder"),
    ("endless", linked("/dev/zero"), {}, r"link\.csv: a symbolic link out of .*endless, to /dev/zero"),
    ("case", beside("GOOD.csv", CSV), {}, {"duplicate": 40}),
    ("line-break", beside("a\nb.csv", b"text\nother\na,b\n"), {}, {"ragged_row": 1}),
    ("bytes", of_bytes(b"b\xff.csv"), {}, r"bytes: the file name b'b\\xff\.csv' is not UTF-8; rename the file"),
    ("hidden", lambda path: write(path / ".a.csv", CSV.decode()), {}, r"hidden: 0 files there"),
    ("out", linked("../outside/secret.csv"), {}, r"link\.csv: a symbolic link out of .*out, to .*secret\.csv"),
    ("loop", linked("link.csv"), {}, r"link\.csv: a symbolic link to .*, where nothing is"),
    # A folder that is in plain sight is read once.
    ("round", linked("."), {}, {}),
]


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("name", "content", "source", "expected"), TEXTS, ids=[case[0] for case in TEXTS])
def test_hostile_texts_end_in_a_counted_reason_or_one_clear_error(
    tmp_path: Path, name: str, content: Content, source: dict[str, Any], expected: Expected
) -> None:
    uri = make(tmp_path / name, content)
    near = {"near_duplicates": {"action": "off"}}
    check(tmp_path / "run", expected, corpus=[{"uri": uri, **source}], max_bad_rows=1.0, **near)


@pytest.mark.parametrize(("labelled", "column"), [(False, "text"), (True, "label")])
def test_two_sources_with_clashing_columns_end_in_an_error_that_names_the_second(
    tmp_path: Path, labelled: bool, column: str
) -> None:
    one, two = write(tmp_path / "one.csv", csv_of(REVIEWS)), write(tmp_path / "two.csv", f"{column}s,mark\na,b\n")
    sources = {"labelled" if labelled else "corpus": [{"uri": str(one)}, {"uri": str(two)}]}
    check_error(tmp_path, r"two\.csv: no column 'text'; its 2 columns are '\w+', 'mark'", **sources)


def test_a_flood_of_combining_marks_is_cut_to_what_a_letter_may_bear(tmp_path: Path) -> None:
    # NFC sorts the marks of one letter by insertion: two million of them would take days.
    uri = make(tmp_path / "marks.txt", after_good(lambda: "a" + "\u0301\u0316" * 1_000_000))
    outputs, store = ingest(tmp_path / "run", corpus=[{"uri": uri}], max_chars=5_000_000)
    dataset = open_dataset(store, outputs.corpus)
    texts = [text for split in dataset.splits for text in dataset.table(split)["text"].to_pylist()]
    assert [len(text) for text in texts if "\u0316" in text] == [30]


@pytest.mark.slow
def test_a_line_of_200_megabytes_is_too_long(tmp_path: Path) -> None:
    uri = make(tmp_path / "long.txt", after_good(lambda: "long word " * 20_000_000))
    check_ledger(tmp_path / "run", {"too_long": 1}, corpus=[{"uri": uri}])


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"gopher": {"min_words": 5, "min_mean_word": 1}, "repetition": None}, "gopher_many_words"),
        ({"gopher": None, "repetition": {}}, "top_2_gram"),
    ],
)
def test_a_million_repeated_words_break_a_rule_of_quality(tmp_path: Path, rules: dict[str, Any], reason: str) -> None:
    story = "The cat that sat on the mat is to be with the dog and all of his {} friends. We have seen it too."
    texts = [story.format(number) for number in range(9)] + ["spam eggs " * 500_000]
    uri = str(write(tmp_path / "a.txt", "\n".join(texts)))
    near: dict[str, Any] = {"near_duplicates": {"action": "off"}}
    outputs, _ = ingest(tmp_path / "run", corpus=[{"uri": uri}], quality={**rules, "c4": None}, **near)
    assert outputs.summary["corpus_kept"] == 9
    assert outputs.summary["corpus_dropped"] == {reason: 1}


def test_labels_that_differ_in_white_space_are_one_and_in_case_are_two(tmp_path: Path) -> None:
    labels = ["good", '" good "', '"good\t"', "Good"]
    rows = [(text, labels[number % 4]) for number, (text, _) in enumerate(REVIEWS)]
    outputs, _ = ingest(tmp_path, labelled=[{"uri": str(write(tmp_path / "a.csv", csv_of(rows)))}])
    assert outputs.summary["labels"] == ["Good", "good"]


@pytest.mark.parametrize(
    ("label", "dropped"),
    [
        ("x" * 1_000_000, {"unknown_label": 1}),
        ('"good\nbad"', {}),
        ("\x1b[31mgood\u202e", {}),
        ('"\u200b"', {"missing_label": 1}),
    ],
)
def test_a_label_of_a_million_characters_is_none_and_one_of_control_characters_is_cleaned(
    tmp_path: Path, label: str, dropped: dict[str, int]
) -> None:
    uri = str(write(tmp_path / "a.csv", csv_of([*REVIEWS, ("one more", label)])))
    check_ledger(tmp_path, dropped, labelled=[{"uri": uri}], max_bad_rows=0.01)


def test_a_hundred_thousand_labels_are_no_classes(tmp_path: Path) -> None:
    rows = [(f"review {number}", f"label {number}") for number in range(100_000)]
    uri = str(write(tmp_path / "a.csv", csv_of(rows)))
    near: dict[str, Any] = {"near_duplicates": {"action": "off"}}
    check_error(
        tmp_path, r"a\.csv: 100000 classes in column 'label' .*, more than 1000", labelled=[{"uri": uri}], **near
    )


AS_NOBODY = """
import os, sys
from pathlib import Path
from modelmill.errors import UserError
from tests.components.ingest.tools import ingest
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    ingest(Path(sys.argv[1]), labelled=[{"uri": sys.argv[2]}])
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize("hidden", ["data/deep", "data/a.csv", "data"])
def test_a_file_or_folder_without_permission_is_named(hidden: str) -> None:
    # As a user whom rights apply to, in a folder that everybody may reach, as pytest's own may not be.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        for file in ("data/a.csv", "data/deep/b.csv"):
            write(folder / file, csv_of(REVIEWS))
        (folder / hidden).chmod(0)
        command = [sys.executable, "-c", AS_NOBODY, name, f"{name}/data"]
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": os.fspath(ROOT)}, capture_output=True, check=False
        )
        # The owner may take everything away again.
        (folder / hidden).chmod(0o755)

        said = rf"{name}/data: ({name}/{hidden} )?cannot be read: Permission denied; correct its path or its rights\n"
        assert re.fullmatch(said, done.stdout.decode()), done
        assert not [file for file in (folder / "store").rglob("*") if file.is_file()]
