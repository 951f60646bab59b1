"""Files made to do harm, or broken: each ends in a counted reason, or in one clear error and no dataset."""

import bz2
import gzip
import io
import json
import lzma
import os
import random
import signal
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from PIL import Image

from components.ingest.images.png import SIGNATURE
from components.ingest.run import run
from components.ingest.settings import IngestSettings
from modelmill.dataset import open_dataset, read_made
from modelmill.errors import ModelmillError
from modelmill.sources import pin
from modelmill.store import open_store
from tests.components.ingest.test_pictures import PIXELS, SPLIT, add, encoded, folder
from tests.components.ingest.tools import REVIEWS, csv_of, ingest, make_step, write

LINES = [f"This is line number {number} of a plain text." for number in range(40)]
GOOD = "".join(f"{line}\n" for line in LINES).encode()
CSV = "".join(f"{line}\n" for line in ["text", *LINES]).encode()
JSON = "".join(f"{json.dumps({'text': line})}\n" for line in LINES).encode()
NOISE = random.Random(0).randbytes(60_000).hex("\n", 30).encode()

Expected = str | dict[str, int]
Content = bytes | Callable[[Path], Any]
Case = tuple[str, Content, dict[str, Any], Expected]
"""File name, what makes it, settings of the source, and an error's pattern or the rows dropped by reason."""


def zeros(pack: Callable[[bytes], bytes], times: int = 1) -> Content:
    return lambda path: path.write_bytes(pack(b"0" * (1 << 26)) * times)


def after_good(line: Callable[[], str]) -> Content:
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


def beside(name: str, content: bytes) -> Content:
    """Make a folder with a good file and another one."""

    def make(path: Path) -> None:
        path.mkdir()
        (path / "good.csv").write_bytes(CSV)
        (path / name).write_bytes(content)

    return make


def linked(target: str) -> Content:
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
    ("plain.txt.gz", GOOD, {}, r"plain\.txt\.gz: broken gzip: Not a gzipped file.* correct its name"),
    ("nul.txt", b"\0" * 5000, {}, r"nul\.txt: .*(zero|no text|NUL)"),
    ("long.txt", after_good(lambda: "long word " * 2_000_000), {}, {"too_long": 1}),
    ("utf16-mark.txt", GOOD.decode().encode("utf-16"), {}, {}),
    ("utf16-le.txt", GOOD.decode().encode("utf-16-le"), {}, {}),
    ("utf16-be.txt", GOOD.decode().encode("utf-16-be"), {}, {}),
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
    ("arrays.jsonl", rows_of('["text"]', "[]", '"text"', "null"), {}, {"bad_json": 4}),
    ("types.jsonl", rows_of('{"text": 1}', '{"text": ["a"]}', "{}"), {}, {"wrong_type": 2, "missing_text": 1}),
    ("quote.csv", CSV + b'"never closed\nmore\n', {}, r"quote\.csv: row \d+: a quote opens there and never closes"),
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
    ("clash", beside("other.csv", b"sentence,mark\na,b\n"), {}, r"other\.csv: no column 'text'; its 2 columns"),
    ("empty", beside("none.csv", b""), {}, r"none\.csv: .*empty"),
    ("hidden", lambda path: write(path / ".a.csv", CSV.decode()), {}, r"hidden: 0 files there"),
    ("out", linked("../outside/secret.csv"), {}, r"link\.csv: a symbolic link out of .*out, to .*secret\.csv"),
    ("loop", linked("link.csv"), {}, r"link\.csv: a symbolic link to .*, where nothing is"),
    # A folder that is in plain sight is read once.
    ("round", linked("."), {}, {}),
]


def check_error(tmp_path: Path, message: str, **recipe: Any) -> None:
    with pytest.raises(ModelmillError, match=message) as caught:
        ingest(tmp_path, **recipe)

    assert len(str(caught.value)) < 2000
    assert not [file for file in (tmp_path / "store").rglob("*") if file.is_file()]


def check_ledger(tmp_path: Path, expected: dict[str, int], **recipe: Any) -> None:
    outputs, store = ingest(tmp_path, **recipe)

    ledger = read_made(store, outputs.made_labelled or outputs.made_corpus)["ledger"]
    assert ledger["dropped"] == expected
    assert ledger["read"] == ledger["kept"] + sum(expected.values())
    dataset = open_dataset(store, outputs.labelled or outputs.corpus)
    assert ledger["kept"] == sum(map(dataset.rows, dataset.splits)) > 0


def make(path: Path, content: Content) -> str:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)
    return str(path)


def check(tmp_path: Path, expected: Expected, **recipe: Any) -> None:
    if isinstance(expected, str):
        check_error(tmp_path, expected, **recipe)
    else:
        check_ledger(tmp_path, expected, **recipe)


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("name", "content", "source", "expected"), TEXTS, ids=[case[0] for case in TEXTS])
def test_hostile_texts_end_in_a_counted_reason_or_one_clear_error(
    tmp_path: Path, name: str, content: Content, source: dict[str, Any], expected: Expected
) -> None:
    uri = make(tmp_path / name, content)
    near = {"near_duplicates": {"action": "off"}}
    check(tmp_path / "run", expected, corpus=[{"uri": uri, **source}], max_bad_rows=1.0, **near)


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


def png_of(width: int, height: int) -> bytes:
    """Return a PNG that says it is of that size, and holds a few bytes of pixels."""
    parts = [SIGNATURE]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(500_000))), (b"IEND", b"")):
        parts += [struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(kind + data))]
    return b"".join(parts)


def half_jpeg() -> bytes:
    data = encoded(np.kron(PIXELS[0], np.ones((8, 8), dtype=np.uint8)), "JPEG")
    return data[: len(data) // 2]


def cmyk() -> bytes:
    file = io.BytesIO()
    Image.fromarray(255 - PIXELS[0]).convert("CMYK").save(file, "JPEG")
    return file.getvalue()


def animated() -> bytes:
    file = io.BytesIO()
    first, *others = (Image.fromarray(255 - pixels) for pixels in PIXELS[:3])
    first.save(file, "GIF", save_all=True, append_images=others)
    return file.getvalue()


def among_pictures(name: str, data: bytes) -> Content:
    def make_folder(path: Path) -> None:
        folder(path)
        (path / "0" / name).write_bytes(data)

    return make_folder


def zip_with(name: str, data: bytes, times: int = 1, flag: int = 0) -> Content:
    """Make a zip of good pictures and of members with that content; `flag` goes into the directory's entries."""

    def make_zip(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for number, pixels in enumerate(PIXELS):
                archive.writestr(f"{number % 3}/{number}.png", encoded(pixels))
            for number in range(times):
                archive.writestr(name.format(number), data, zipfile.ZIP_DEFLATED if len(data) > 99 else None)
                archive.filelist[-1].flag_bits |= flag

    return make_zip


def no_picture(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for number, pixels in enumerate(PIXELS):
            add(archive, f"{number:04}.png", encoded(pixels))
            add(archive, f"{number:04}.cls", str(number % 3).encode())
        add(archive, "9999.cls", b"1")


def lying_idx(path: Path) -> None:
    path.mkdir()
    count = len(PIXELS)
    sizes = b"".join(size.to_bytes(4, "big") for size in (10**9, 12, 12))
    (path / "train-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3]) + sizes + PIXELS.tobytes())
    labels = bytes(number % 3 for number in range(count))
    (path / "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1]) + (10**9).to_bytes(4, "big") + labels)


def pixels_out_of_range(path: Path) -> None:
    rows = [[number % 3, *pixels.ravel()] for number, pixels in enumerate(PIXELS)]
    rows += [[0, 256, *[1] * 143], [0, -1, *[1] * 143], [0, 999, *[1] * 143]]
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))


IMAGES: list[Case] = [
    ("huge.png", among_pictures("a.png", png_of(100_000, 100_000)), {}, {"too_large": 1}),
    ("short.png", among_pictures("a.png", png_of(5000, 5000)), {}, {"broken_image": 1}),
    ("half.jpg", among_pictures("a.jpg", half_jpeg()), {}, {"truncated_image": 1}),
    ("text.jpg", among_pictures("a.jpg", b"a text"), {}, {"not_an_image": 1}),
    ("none.png", among_pictures("a.png", b""), {}, {"not_an_image": 1}),
    # Accepted, and made 8 bits, RGB, and the first picture.
    ("16bit.png", among_pictures("a.png", encoded(PIXELS[0].astype(np.uint16) * 200)), {}, {}),
    ("cmyk.jpg", among_pictures("a.jpg", cmyk()), {}, {}),
    ("animated.gif", among_pictures("a.gif", animated()), {}, {}),
    ("names.zip", zip_with("../../0/{}.png", encoded(255 - PIXELS[0])), {}, {"unsafe_name": 1}),
    ("many.zip", zip_with("0/{}", b"x", times=100_000), {}, {"not_an_image": 100_000}),
    ("bomb.zip", zip_with("0/bomb-{}.bmp", bytes(1 << 26)), {}, {"packing_bomb": 1}),
    ("secret.zip", zip_with("0/secret-{}.png", encoded(255 - PIXELS[0]), flag=1), {}, {"encrypted": 1}),
    ("cut.zip", lambda path: path.write_bytes(b"PK\3\4" + bytes(500)), {}, r"cut\.zip: broken zip"),
    ("lying", lying_idx, {}, r"train-labels-idx1-ubyte: IDX of 1000000000 labels ends after 60"),
    ("a.tar", no_picture, {"format": "webdataset"}, {"missing_image": 1}),
    ("range.csv", pixels_out_of_range, {}, {"out_of_range": 2, "wrong_type": 1}),
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("name", "content", "source", "expected"), IMAGES, ids=[case[0] for case in IMAGES])
def test_hostile_pictures_end_in_a_counted_reason_or_one_clear_error(
    tmp_path: Path, name: str, content: Content, source: dict[str, Any], expected: Expected
) -> None:
    uri = make(tmp_path / name, content)
    task = {"task": "image-classification", "split": SPLIT, "max_bad_rows": 1.0}
    check(tmp_path / "run", expected, labelled=[{"uri": uri, **source}], **task)


def test_labels_that_differ_in_white_space_are_one_and_in_case_are_two(tmp_path: Path) -> None:
    labels = ["good", '" good "', '"good\t"', "Good"]
    rows = [(text, labels[number % 4]) for number, (text, _) in enumerate(REVIEWS)]
    outputs, _ = ingest(tmp_path, labelled=[{"uri": str(write(tmp_path / "a.csv", csv_of(rows)))}])
    assert outputs.summary["labels"] == ["Good", "good"]


@pytest.mark.parametrize("change", [lambda path: write(path, csv_of(REVIEWS) + "x,good\n"), Path.unlink])
def test_a_source_that_grew_or_went_away_since_it_was_pinned_is_refused(
    tmp_path: Path, change: Callable[[Path], Any]
) -> None:
    path = write(tmp_path / "a.csv", csv_of(REVIEWS))
    told = IngestSettings.model_validate({"labelled": [{"uri": str(path)}], "task": "text-classification"})
    pins = pin(told.uris)
    change(path)
    with pytest.raises(ModelmillError, match=r"a\.csv: (changed since the run began|no such file)"):
        run(make_step(tmp_path), told, pins)
    assert not [file for file in (tmp_path / "store").rglob("*") if file.is_file()]


KILLED = """
import os, signal, sys
from pathlib import Path
from components.ingest.run import run
from components.ingest.settings import IngestSettings
from modelmill.sources import pin
from modelmill.step import Step
from tests.components.ingest.tools import make_step

class Dying(Step):
    def progress(self, what, *others):
        if what == "writing validation":
            os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    step = make_step(Path(sys.argv[1]))
    told = IngestSettings.model_validate({"labelled": [{"uri": sys.argv[2]}], "task": "text-classification"})
    dying = Dying(name=step.name, store=step.store, scratch=step.scratch, events=step.events)
    run(dying, told, pin(told.uris))
"""


def test_a_step_that_was_killed_while_it_wrote_leaves_no_dataset_and_the_next_one_gives_the_same(
    tmp_path: Path,
) -> None:
    uri = str(write(tmp_path / "a.csv", csv_of(REVIEWS)))
    command = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), uri]
    killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(Path.cwd())}, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    there = tmp_path / "killed" / "store"
    assert [file for file in there.rglob("*") if file.is_file()]
    assert not [file for file in (there / "datasets").rglob("*") if file.is_file()]

    again, store = ingest(tmp_path / "again", open_store(str(there)), labelled=[{"uri": uri}])
    whole, _ = ingest(tmp_path / "whole", labelled=[{"uri": uri}])
    assert again.labelled == whole.labelled
    assert sum(open_dataset(store, again.labelled).rows(split) for split in ("train", "validation", "test")) == 300
