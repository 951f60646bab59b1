"""What the step makes of texts as they come: encodings, packings, documents, personal data, languages."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from components.ingest.changed import MOST
from components.ingest.languages import LOOKED_AT, Languages
from components.ingest.read import list_sources, read_sources
from components.ingest.run import IngestOutputs
from components.ingest.settings import IngestSettings
from components.ingest.text.language import Language
from components.ingest.workers import Here
from modelmill.dataset import open_dataset, read_made
from modelmill.errors import UserError
from modelmill.sources import pin
from modelmill.store import Store
from tests.components.ingest.tools import csv_of, ingest, make_step, write

LINES = [f"This is line number {number} of a plain English text." for number in range(40)]


def corpus(folder: Path, **recipe: Any) -> tuple[set[str], dict[str, Any], list[dict[str, Any]]]:
    """Return the kept texts, what made them, and the rejected rows."""
    outputs, store = ingest(folder / "run", **recipe)
    made = read_made(store, outputs.made_corpus)
    return kept(outputs, store), made, rejected(store, made)


def kept(outputs: IngestOutputs, store: Store) -> set[str]:
    dataset = open_dataset(store, outputs.corpus)
    return {text for split in dataset.splits for text in dataset.table(split)["text"].to_pylist()}


def rejected(store: Store, made: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(store.get_blob(made["rejected"]["sha256"]))).to_pylist()
    return rows


def source(path: Path, **settings: Any) -> dict[str, Any]:
    return {"corpus": [{"uri": str(path), **settings}]}


@pytest.mark.parametrize(
    ("encoding", "line"),
    [
        ("utf-8", "Ein schöner Satz über Größe und Maß"),
        ("utf-8-sig", "Ein schöner Satz über Größe und Maß"),
        ("cp1252", "Ein schöner Satz über Größe und Maß"),
        ("utf-16", "Ein schöner Satz über Größe und Maß"),
        ("utf-16-le", "A plain sentence without any mark"),
        ("gb18030", "这家酒店的服务非常好，房间很干净，早餐也不错"),
        ("koi8_r", "Простое предложение на русском языке"),
    ],
)
def test_the_encoding_of_a_file_is_found_out(tmp_path: Path, encoding: str, line: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("".join(f"{line} {number}\n" for number in range(30)).encode(encoding))
    found, _, _ = corpus(tmp_path, **source(path), near_duplicates={"action": "off"})
    assert found == {f"{line} {number}" for number in range(30)}


def test_bytes_that_are_no_text_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(bytes(10_000))
    with pytest.raises(UserError, match=r"a\.txt: "):
        corpus(tmp_path, **source(tmp_path / "a.txt"))


def test_text_that_was_decoded_wrongly_before_is_set_right_unless_told_otherwise(tmp_path: Path) -> None:
    lines = [*LINES, "A cafÃ© by the sea."]
    path = write(tmp_path / "a.txt", "\n".join(lines))
    assert "A café by the sea." in corpus(tmp_path, **source(path))[0]
    assert "A cafÃ© by the sea." in corpus(tmp_path / "b", **source(path), repair=False)[0]


def test_a_zstandard_file_of_several_frames_is_read_whole(tmp_path: Path) -> None:
    first, second = ("\n".join(lines) + "\n" for lines in (LINES[:20], LINES[20:]))
    path = tmp_path / "a.txt.zst"
    path.write_bytes(b"".join(zstandard.compress(part.encode()) for part in (first, second)))
    assert corpus(tmp_path, **source(path), near_duplicates={"action": "off"})[0] == set(LINES)


@pytest.mark.parametrize("cut", [1, 10, 200])
def test_a_zstandard_file_that_was_cut_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.txt.zst"
    path.write_bytes(zstandard.compress("\n".join(f"{line} {hash(line)}" for line in LINES).encode())[:-cut])
    with pytest.raises(UserError, match=r"a\.txt\.zst: (truncated|broken) zstd"):
        corpus(tmp_path, **source(path))


def test_a_zstandard_trap_is_stopped_before_it_fills_anything(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.zst"
    packer = zstandard.ZstdCompressor(level=1).compressobj()
    with path.open("wb") as file:
        for _ in range(64):
            file.write(packer.compress(b"0" * ((1 << 20) - 1) + b"\n"))
        file.write(packer.flush())
    assert path.stat().st_size < 20_000
    with pytest.raises(UserError, match=r"a\.txt\.zst: broken zstd: unpacks to over 1000 times its size"):
        corpus(tmp_path, **source(path))


def test_a_document_is_a_line_a_block_or_a_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(
            tmp_path / "in" / f"{name}.txt",
            f"A first line of {name}\nand a second.\n\n \n\nThen another block of {name}.\n",
        )
    folder = tmp_path / "in"
    near = {"near_duplicates": {"action": "off"}}
    assert corpus(tmp_path / "line", **source(folder), **near)[0] == {
        "A first line of one",
        "A first line of two",
        "and a second.",
        "Then another block of one.",
        "Then another block of two.",
    }
    blocks, made, _ = corpus(tmp_path / "block", **source(folder, document="block"), **near)
    assert blocks == {
        f"{text} {name}{end}"
        for name in ("one", "two")
        for text, end in (("A first line of", "\nand a second."), ("Then another block of", "."))
    }
    assert made["ledger"]["read"] == 4
    assert corpus(tmp_path / "file", **source(folder, document="file"), **near)[0] == {
        f"A first line of {name}\nand a second.\n\nThen another block of {name}." for name in ("one", "two")
    }


def test_the_main_text_of_a_web_page_is_one_document(tmp_path: Path) -> None:
    story = "".join(f"<p>{line} It goes on for a while, as stories do.</p>" for line in LINES[:8])
    for name in ("a", "b"):
        menu = "<nav><a href='/'>Home</a> <a>Log in</a></nav>"
        page = f"<html><body>{menu}<article><h1>A story {name}</h1>{story}</article>"
        write(tmp_path / "in" / f"{name}.html", page + "<footer>All rights reserved</footer></body></html>")
    texts, _, _ = corpus(tmp_path, **source(tmp_path / "in"), near_duplicates={"action": "off"})
    assert len(texts) == 2
    assert all(LINES[3] in text and "Log in" not in text for text in texts)


SECRET = "Please write to jane.doe@example.com or call +44 20 7946 0958 about line"


def test_personal_data_of_the_corpus_are_masked_and_counted_and_never_shown(tmp_path: Path) -> None:
    lines = [*LINES, *(f"{SECRET} {number}" for number in range(3)), "x" * 4 + " jane.doe@example.com"]
    path = write(tmp_path / "a.txt", "\n".join(lines))
    texts, made, samples = corpus(tmp_path, **source(path), min_chars=30, near_duplicates={"action": "off"})
    assert {f"Please write to [EMAIL] or call [PHONE] about line {number}" for number in range(3)} <= texts
    assert made["personal"] == {"email": 3, "phone": 3}
    assert [row["text"] for row in samples] == ["xxxx [EMAIL]"]
    assert "jane" not in str(made)


def test_rows_with_personal_data_can_be_dropped(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "\n".join([*LINES, SECRET]))
    texts, made, samples = corpus(tmp_path, **source(path), personal={"action": "drop"})
    assert not any("jane" in text or "[EMAIL]" in text for text in texts)
    assert made["ledger"]["dropped"]["personal_data"] == 1
    assert "Please write to [EMAIL] or call [PHONE] about line" in {row["text"] for row in samples}


def test_labelled_rows_keep_what_they_say_unless_the_recipe_asks(tmp_path: Path) -> None:
    rows = [(f"{line} Or {SECRET}", "xy"[number % 2]) for number, line in enumerate(LINES)]
    path = write(tmp_path / "a.csv", csv_of(rows))
    for action, there in (("keep", True), ("mask", False)):
        outputs, store = ingest(
            tmp_path / action,
            labelled=[{"uri": str(path)}],
            labelled_personal={"action": action},
            near_duplicates={"action": "off"},
        )
        texts = open_dataset(store, outputs.labelled).table("train")["text"].to_pylist()
        assert all(("jane.doe@example.com" in text) is there for text in texts)


def test_texts_in_other_languages_are_dropped_with_the_one_that_they_are_in(tmp_path: Path) -> None:
    german = "Dies ist ein ganz gewöhnlicher deutscher Satz über das Wetter in den Bergen und am Meer."
    path = write(tmp_path / "a.txt", "\n".join([*LINES, german, "这家酒店的服务非常好，房间很干净，早餐也不错。"]))
    texts, made, samples = corpus(tmp_path, **source(path), language={"keep": ["en"]})
    assert german not in texts
    assert texts <= set(LINES)
    assert made["ledger"]["dropped"]["language"] == 2
    assert {row["detail"][:2] for row in samples if row["reason"] == "language"} == {"de", "zh"}


def test_documents_longer_than_the_recipe_allows_are_dropped_with_both_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "\n".join([*LINES, "long " * 400]))
    _, _, samples = corpus(tmp_path, **source(path), max_chars=1000, near_duplicates={"action": "off"})
    assert [(row["reason"], row["detail"]) for row in samples] == [
        ("too_long", "1999 characters after cleaning, max_chars is 1000")
    ]


def report(store: Store, made: dict[str, Any]) -> str:
    return store.get_blob(made["report"]["sha256"]).decode()


def test_rows_that_cleaning_changed_are_shown_before_and_after(tmp_path: Path) -> None:
    lines = [*LINES, "A cafÃ© by the sea.", "A line with a <b>bold</b> word.", f"{SECRET} one"]
    path = write(tmp_path / "a.txt", "\n".join(lines))
    outputs, store = ingest(tmp_path / "run", **source(path))
    page = report(store, read_made(store, outputs.made_corpus))
    assert "<del>cafÃ©</del>" in page
    assert "<ins>café</ins>" in page
    assert all(kind in page for kind in ("<bdi>mojibake</bdi>", "<bdi>markup</bdi>", "<bdi>personal data</bdi>"))
    assert "row 41" in page
    assert "jane" not in page


def test_of_many_changed_rows_some_of_each_file_are_kept(tmp_path: Path) -> None:
    lines = [f"Line {number} of a <b>long</b> file" for number in range(57_344)]
    for name, count in (("a.txt", len(lines)), ("b.txt", 2)):
        write(tmp_path / "in" / name, "\n".join(lines[:count]))
    recipe = {**source(tmp_path / "in"), "near_duplicates": {"action": "off"}}
    settings = IngestSettings.model_validate({"task": "text-classification", **recipe})
    step = make_step(tmp_path / "run")
    reading = read_sources(step, settings, list_sources(settings, json.loads(pin(settings.uris))), Here(), None)
    assert [len(rows) for rows in reading.changed.values()] == [MOST, 2]
    rows = next(iter(reading.changed.values()))
    assert [row.row for row in rows] == sorted({row.row for row in rows})


def language_rows(page: str) -> dict[str, list[int]]:
    """Return the counts of each language as the page shows them, split by split."""
    table = page[page.index('aria-label="language by split"') :].partition("</table>")[0]
    rows = re.findall(r'<th scope="row"><bdi>(.*?)</bdi></th>(.*?)</tr>', table, re.DOTALL)
    return {code: [int(count) for count in re.findall(r'">([0-9]+)', cells)] for code, cells in rows}


def test_the_report_says_which_languages_the_kept_texts_are_in_and_how_many_were_looked_at(tmp_path: Path) -> None:
    german = [f"Dies ist ein ganz gewöhnlicher deutscher Satz über das Wetter in den Bergen {n}." for n in range(10)]
    path = write(tmp_path / "a.txt", "\n".join([*LINES, *german, "12345"]))
    both = [f"{line} Oh." for line in (*LINES, *german)]
    rows = write(tmp_path / "a.csv", csv_of([(line, "xy"[number % 2]) for number, line in enumerate(both)]))
    recipe = {
        **source(path),
        "labelled": [{"uri": str(rows)}],
        "split": {"train": 0.5, "validation": 0.25, "test": 0.25},
    }
    outputs, store = ingest(tmp_path / "run", **recipe, decontaminate=None, near_duplicates={"action": "off"})
    page = report(store, read_made(store, outputs.made_corpus))
    dataset = open_dataset(store, outputs.labelled)
    texts = [dataset.table(split)["text"].to_pylist() for split in ("train", "validation", "test")]
    assert language_rows(page) == {
        "en": [40, *(sum(text.startswith("This") for text in each) for each in texts)],
        "de": [10, *(sum(text.startswith("Dies") for text in each) for each in texts)],
        "unknown": [1, 0, 0, 0],
    }
    assert "51 of corpus and 50 of labelled" in page


def test_languages_are_told_by_the_rows_with_the_smallest_ids_wherever_they_stand(tmp_path: Path) -> None:
    lines = [f"{line} It is said {number} times." for number in range(20) for line in LINES]
    found = []
    for name, order in (("one", lines), ("other", lines[::-1])):
        path = write(tmp_path / name / "a.txt", "\n".join(order))
        outputs, store = ingest(tmp_path / name / "run", **source(path), near_duplicates={"action": "off"})
        page = report(store, read_made(store, outputs.made_corpus))
        assert f"{LOOKED_AT} of corpus." in page
        found.append(language_rows(page))
    assert found[0] == found[1]
    assert sum(count for counts in found[0].values() for count in counts) == LOOKED_AT


def test_of_many_languages_the_rare_ones_are_put_together() -> None:
    letters = ["ஒன்று", "ένα", "ერთი", "מילה", "한국어", "อันนี้", "մեկ", "一个", "ひとつです"]
    found = Languages()
    found.add("corpus", ["corpus"] * 19, [*letters, *letters, "12345"])
    balance = found.balance(None, ["corpus", "train"])
    assert balance is not None
    assert list(balance.counts) == ["corpus"]
    assert list(balance.counts["corpus"].values()) == [2, 2, 2, 2, 2, 2, 2, 2, 2, 1]
    assert list(balance.counts["corpus"])[-2:] == ["others", "unknown"]


def test_what_is_told_with_too_little_confidence_is_unknown() -> None:
    found = Languages()
    found.add("corpus", ["corpus"] * 2, [LINES[0], "This is about the город Москва, isn't it?"])
    for least, counts in ((0.0, {"en": 2}), (0.9, {"en": 1, "unknown": 1})):
        balance = found.balance(Language(keep=["en"], min_confidence=least), ["corpus"])
        assert balance is not None
        assert balance.counts == {"corpus": counts}
