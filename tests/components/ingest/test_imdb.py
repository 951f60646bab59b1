"""IMDB's reviews as their owners ship them: an archive, or the folder that it unpacks to."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from components.ingest import imdb
from components.ingest.run import IngestOutputs
from modelmill.dataset import open_dataset
from modelmill.errors import UserError
from modelmill.store import Store
from tests.components.ingest.tools import ingest, write

FILES = {
    f"aclImdb/{split}/{label}/{number}_{9 if label == 'pos' else 2}.txt": f"{label} review {number} of {split}<br />end"
    for split in ("train", "test")
    for label in ("pos", "neg")
    for number in range(30)
} | {f"aclImdb/train/unsup/{number}_0.txt": f"nobody said what to think of {number}" for number in range(20)}
OTHERS = {"aclImdb/README": "Large Movie Review Dataset", "aclImdb/train/urls_pos.txt": "http://www.imdb.com/x\n" * 3}


def archive(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return path


def rows(outputs: IngestOutputs, store: Store) -> set[tuple[str, str]]:
    dataset = open_dataset(store, outputs.labelled)
    labels = dataset.meta["labels"]
    return {(row["text"], labels[row["label"]]) for split in dataset.splits for row in dataset.table(split).to_pylist()}


def test_the_archive_and_the_folder_are_the_same_reviews(tmp_path: Path) -> None:
    path = archive(tmp_path / "aclImdb_v1.tar.gz", {**OTHERS, **FILES})
    for name, text in {**OTHERS, **FILES}.items():
        write(tmp_path / "unpacked" / name, text)
    packed, store = ingest(tmp_path / "a", labelled=[{"uri": str(path), "format": "imdb"}])
    folder = {"uri": str(tmp_path / "unpacked" / "aclImdb"), "format": "imdb"}
    unpacked, _ = ingest(tmp_path / "b", labelled=[folder])
    assert packed.labelled == unpacked.labelled
    found = rows(packed, store)
    assert len(found) == 120
    assert {label for _, label in found} == {"pos", "neg"}
    assert all(text.startswith(label) for text, label in found)
    assert packed.summary["labelled_read"] == 120


def test_reviews_without_a_label_are_for_a_corpus(tmp_path: Path) -> None:
    path = archive(tmp_path / "aclImdb_v1.tar.gz", FILES)
    told: dict[str, Any] = {"corpus": [{"uri": str(path), "format": "imdb"}], "near_duplicates": {"action": "keep"}}
    outputs, store = ingest(tmp_path / "a", task="masked-lm", **told)
    dataset = open_dataset(store, outputs.corpus)
    texts = [text for split in dataset.splits for text in dataset.table(split)["text"].to_pylist()]
    assert len([text for text in texts if text.startswith("nobody")]) == 20


def test_an_archive_that_was_cut_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "aclImdb_v1.tar.gz", FILES)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"aclImdb_v1\.tar\.gz: truncated gzip"):
        ingest(tmp_path / "a", labelled=[{"uri": str(path), "format": "imdb"}])


def test_a_file_far_too_long_for_a_review_is_refused_and_not_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imdb, "_BYTES", 100)
    for name, text in FILES.items():
        write(tmp_path / name, text)
    write(tmp_path / "aclImdb/train/pos/7_9.txt", "long " * 30)
    with pytest.raises(UserError, match=r"pos/7_9\.txt: more than 100 bytes"):
        ingest(tmp_path / "a", labelled=[{"uri": str(tmp_path / "aclImdb"), "format": "imdb"}])
