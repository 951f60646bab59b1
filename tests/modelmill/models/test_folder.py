import json
from pathlib import Path

import pytest

from modelmill.errors import ModelmillError
from modelmill.models.folder import fetch_model, read_files, save_files, save_model
from modelmill.store import NotFound, Store, open_store

META = {"task": "text-classification", "labels": ["négatif", "positif"], "max_tokens": 64}
SHA = "0" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(range(256)))
    (folder / "tokenizer" / "vocab.txt").write_text("[PAD]\n")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_model_comes_back_file_by_file_with_its_meta(store: Store, model: Path, tmp_path: Path) -> None:
    address = save_model(store, model, META)
    assert fetch_model(store, address, tmp_path / "back") == META
    assert tree(tmp_path / "back") == tree(model)
    assert json.loads((model / "modelmill.json").read_text()) == {**META, "digest": address.removeprefix("models/")}


def test_a_model_has_the_same_address_here_and_on_s3(store: Store, model: Path, tmp_path: Path, s3_uri: str) -> None:
    there = open_store(s3_uri)
    address = save_model(store, model, META)
    assert save_model(there, model, META) == address
    fetch_model(there, address, tmp_path / "back")
    assert tree(tmp_path / "back") == tree(model)


def test_the_address_follows_files_names_and_meta_and_nothing_else(store: Store, model: Path) -> None:
    first = save_model(store, model, META)
    assert save_model(store, model, META) == first
    # Left by a base model, or by hand.
    (model / "modelmill.json").write_text('{"task": "other"}')
    assert save_model(store, model, META) == first
    addresses = {first, save_model(store, model, {**META, "max_tokens": 65})}
    (model / "config.json").write_text("{ }")
    addresses.add(save_model(store, model, META))
    (model / "config.json").rename(model / "configuration.json")
    addresses.add(save_model(store, model, META))
    assert len(addresses) == 4


def test_a_model_without_a_file_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelmillError, match=r"empty: 0 files"):
        save_model(store, tmp_path / "empty", META)


def test_a_file_that_the_store_cannot_name_leaves_nothing_behind(store: Store, model: Path) -> None:
    (model / "zwölf").write_text("")
    with pytest.raises(ModelmillError, match="'zwölf' cannot name a file in the store"):
        save_model(store, model, META)
    assert list(store.keys("")) == []


def test_a_changed_weight_is_named_and_the_model_stays_without_its_mark(
    store: Store, model: Path, tmp_path: Path
) -> None:
    address = save_model(store, model, META)
    weights = store.put_blob_file(model / "model.safetensors").sha256
    Path(store.uri, "blobs", weights).write_bytes(bytes(256))
    (tmp_path / "back").mkdir()
    (tmp_path / "back" / "modelmill.json").write_text("{}")
    with pytest.raises(ModelmillError, match=rf"blobs/{weights}: was changed: should be sha256 {weights}"):
        fetch_model(store, address, tmp_path / "back")
    assert "model.safetensors" not in tree(tmp_path / "back")
    assert "modelmill.json" not in tree(tmp_path / "back")


def test_files_in_memory_and_on_disk_make_the_same_report(store: Store, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("<html>")
    address = save_files(store, "reports", {"report.html": tmp_path / "report.html", "a/report.json": b"{}"}, {"n": 1})
    assert save_files(store, "reports", {"a/report.json": b"{}", "report.html": b"<html>"}, {"n": 1}) == address
    assert address.startswith("reports/")
    assert read_files(store, address) == ({"report.html": b"<html>", "a/report.json": b"{}"}, {"n": 1})


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a/../../up", ""])
def test_a_name_that_leads_elsewhere_is_refused(store: Store, tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelmillError, match="cannot name a file"):
        save_files(store, "models", {name: b""}, {})
    forged = store.put_addressed("models", {"files": {name: {"sha256": SHA, "bytes": 0}}, "meta": {}})
    with pytest.raises(ModelmillError, match="cannot name a file"):
        fetch_model(store, forged, tmp_path / "back")


@pytest.mark.parametrize("address", ["", "models/abc", SHA, f"../models/{SHA}", f"models/{SHA}.json"])
def test_what_is_no_address_is_refused(store: Store, tmp_path: Path, address: str) -> None:
    with pytest.raises(ModelmillError, match="is not an address in the store"):
        fetch_model(store, address, tmp_path / "back")


def test_a_missing_model_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=f"no models/{SHA}.json"):
        fetch_model(store, f"models/{SHA}", tmp_path / "back")
