"""What retention keeps and what it removes, one case at a time."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from modelmill.dataset import open_dataset
from modelmill.digest import canonical_json, sha256_hex
from modelmill.registry.files import check_works
from modelmill.registry.lineage import verify
from modelmill.retention.run import collect
from modelmill.store import open_store
from modelmill.store.epochs import raise_epoch
from modelmill.store.removal import clock, entries, unfinished
from modelmill.store.use import in_use
from modelmill.tracking import is_where, mlflow_client, where
from modelmill.training import lease as training_lease
from tests import samples
from tests.modelmill.registry.loadable import loadable_version
from tests.modelmill.registry.made import promotions
from tests.modelmill.retention.graphs import SOURCES, Grown, keys, registered, settings

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")
RUN = "c" * 64


def kind(result: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [one for one in result["kinds"] if one["kind"] == name]
    return dict(found)


def test_versions_say_why_they_stay(client: Any, grown: Grown) -> None:
    model = registered(client, grown)
    data = grown.dataset([grown.blob()])
    for _ in range(6):
        model.add(grown, grown.model([grown.blob()], data))
    for version in ("1", "3"):
        model.of.promote(version, who="ann", force=True, reason="to see")
    client.set_registered_model_alias(model.of.registry.name, "shadow", "2")
    grown.settle()
    result = collect(grown.store, client, settings())
    assert {one["version"]: one["because"] for one in result["versions"]} == {
        "1": ["champion before"],
        "2": ["shadow"],
        "3": ["champion"],
        "5": ["one of the last 2"],
        "6": ["one of the last 2"],
    }
    models = kind(result, "models")
    assert (models["kept"], models["removed"]) == (5, 1)
    assert {why: one["count"] for why, one in models["why"].items()} == {"champion": 1, "version": 4}
    assert result["missing"] == []


def test_what_is_put_again_although_it_is_there_is_young(client: Any, grown: Grown) -> None:
    shards, lost = [grown.blob("a"), grown.blob("b")], grown.blob("c")
    address = grown.dataset(shards)
    content = grown.store.get_addressed(address)
    grown.settle()
    assert grown.store.put_blob(b"a").sha256 == shards[0]
    grown.store.put_addressed("datasets", content)
    result = collect(grown.store, client, settings(min_age="5000s"))
    assert kind(result, "datasets")["removed"] == 0
    assert all(grown.store.has_blob(sha256) for sha256 in shards)
    assert not grown.store.has_blob(lost)


def test_a_manifest_that_comes_while_others_are_removed_keeps_its_old_blobs(client: Any, grown: Grown) -> None:
    sha256, lost = grown.blob("shared"), grown.blob("lost")
    old = grown.dataset([sha256])
    grown.settle()
    came: list[str] = []

    def watch(what: str, _count: int) -> None:
        if what == "schemas" or (what == "datasets" and not came):
            grown.count += 1
            came.append(
                grown.store.put_addressed("datasets", {"number": grown.count, "a": {"sha256": sha256, "bytes": 6}})
            )

    collect(grown.store, client, settings(), watch)
    assert came
    assert grown.store.has_blob(sha256)
    assert not grown.store.has_blob(lost)
    assert not grown.store.has_manifest(f"{old}.json")


def test_what_a_step_reads_stays_while_it_runs_however_old_it_is(client: Any, grown: Grown) -> None:
    read, other = grown.dataset([grown.blob()]), grown.dataset([grown.blob()])
    base = grown.model([grown.blob()], other)
    grown.settle()
    arguments = {"labelled": read, "base": json.dumps({"uri": "models:/m/1", "fingerprint": base}), "settings": "{}"}
    with in_use(grown.store, arguments):
        result = collect(grown.store, client, settings(min_age="5000s"))
    assert result["total"]["removed"] == 0


def test_what_a_long_step_reads_is_kept_young_as_it_goes(grown: Grown) -> None:
    address = grown.dataset([grown.blob()])
    file = Path(grown.store.uri) / f"{address}.json"
    with in_use(grown.store, {"labelled": address}, every=0.01):
        grown.settle()
        deadline = time.monotonic() + 60
        while file.stat().st_mtime < time.time() - 5000:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_checkpoints_stay_while_their_training_is_at_work_and_go_with_their_blobs_after(
    client: Any, grown: Grown, tmp_path: Path
) -> None:
    blobs = [grown.blob(), grown.blob()]
    grown.checkpoint(RUN, 1, blobs[:1])
    step = samples.step_of(grown.store, tmp_path)
    with training_lease.held(step, RUN, "train"):
        grown.checkpoint(RUN, 2, blobs)
        grown.settle()
        (mark,) = grown.store.keys(f"checkpoints/{RUN}/lease/")
        # Old by the settings of this test, and a heartbeat nevertheless.
        grown.let_be(mark, time.time() - 30)
        result = collect(grown.store, client, settings())
        assert kind(result, "checkpoints")["why"]["running"]["count"] == 3
        assert all(map(grown.store.has_blob, blobs))
    grown.settle()
    result = collect(grown.store, client, settings())
    assert kind(result, "checkpoints")["removed"] == 3
    assert not result["epoch_raised"]
    assert keys(grown.store) == []


def test_what_was_measured_goes_with_its_report_and_does_not_keep_it(client: Any, grown: Grown) -> None:
    model = registered(client, grown)
    data = grown.dataset([])
    told = grown.model([], data)
    needed, lost = grown.evaluation([grown.blob()], told, data), grown.evaluation([grown.blob()], told, data)
    model.add(grown, told, needed)
    measured = {one: grown.measured(one) for one in (needed, lost)}
    grown.settle()
    collect(grown.store, client, settings())
    assert grown.store.has_manifest(measured[needed])
    assert not grown.store.has_manifest(measured[lost])
    assert not grown.store.has_manifest(f"{lost}.json")


def test_writing_that_was_never_finished_goes_when_it_is_old(client: Any, grown: Grown) -> None:
    folder = Path(grown.store.uri) / "tmp"
    folder.mkdir(exist_ok=True)
    for name in ("old", "new"):
        (folder / name).write_bytes(b"half")
    grown.let_be("tmp/old", time.time() - 10000)
    result = collect(grown.store, client, settings(min_age="5000s"))
    assert kind(result, "unfinished")["removed"] == 1
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_what_is_of_no_kind_that_is_known_is_left(client: Any, grown: Grown) -> None:
    for key in ("datasets/notes.txt", "blobs/readme", "models/x/y.json", "elsewhere/z"):
        path = Path(grown.store.uri) / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a person's")
    grown.settle()
    result = collect(grown.store, client, settings())
    assert result["total"]["removed"] == 0
    assert kind(result, "blobs")["why"] == {"unknown": {"count": 1, "bytes": 10}}
    assert len(keys(grown.store)) == 4


def test_a_source_that_lies_in_the_store_itself_stays_with_what_was_made_of_it(client: Any, grown: Grown) -> None:
    uploaded, model = grown.blob("x,y\n"), registered(client, grown)
    data = grown.dataset([])
    inputs = {f"{grown.store.uri}/blobs/{uploaded}": "f" * 64}
    grown.manifest(f"made/{data.partition('/')[2]}", {"inputs": inputs}, [])
    model.add(grown, grown.model([], data))
    grown.settle()
    assert kind(collect(grown.store, client, settings()), "blobs")["removed"] == 0
    assert grown.store.has_blob(uploaded)


def test_a_run_under_way_goes_on_in_its_epoch_and_a_new_one_is_answered_from_no_cache(grown: Grown) -> None:
    before = where(grown.store)
    for _ in range(2):
        raise_epoch(grown.store, "gc")
    assert where(grown.store) != before
    assert is_where(grown.store, before)
    assert is_where(grown.store, where(grown.store))
    assert not is_where(grown.store, "0" * 16)


def test_only_runs_on_the_raw_files_that_something_came_from_are_no_longer_answered_from_a_cache(
    client: Any, grown: Grown
) -> None:
    mine, others = canonical_json(SOURCES), canonical_json({"package://x/other.csv": "e" * 64})
    grown.model([], grown.dataset([], grown.dataset([])))
    grown.settle()
    before = {pins: where(grown.store, pins) for pins in (mine, others)}
    assert collect(grown.store, client, settings())["epoch_raised"]
    assert where(grown.store, mine) != before[mine]
    assert where(grown.store, others) == before[others]
    assert is_where(grown.store, where(grown.store, mine))
    # Nobody knows where this one comes from.
    grown.model([], "")
    grown.settle()
    collect(grown.store, client, settings())
    assert where(grown.store, others) != before[others]


def test_kept_versions_are_verified_and_a_rollback_works_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / ".modelmill").mkdir()
    store = open_store()
    store.epoch()
    client = mlflow_client()
    client.create_registered_model("areas")
    of = promotions(client, store, "areas")
    for number in range(4):
        version = loadable_version(of, tmp_path / f"model-{number}")
        of.promote(version, who="ann", force=True, reason="to see") if number < 2 else None
    grown = Grown(store=store)
    lost = grown.dataset([grown.blob()])
    grown.settle()
    result = collect(store, client, settings(keep_versions=1))
    assert [one["version"] for one in result["versions"]] == ["2", "1", "4"]
    assert not store.has_manifest(f"{lost}.json")
    walk = verify(of.registry, store, ["1", "2", "4"], tmp_path / "verify")
    assert walk.faults == []
    assert of.rollback(who="ann", check=check_works(of.registry, store, tmp_path / "back")).entry.to_version == "1"


def test_a_process_that_is_killed_is_followed_by_one_that_finishes_at_once(
    client: Any, grown: Grown, mlflow_file: Path
) -> None:
    # So many that on a busy machine this process has its turn before the other has removed them.
    model, many = registered(client, grown), 40_000
    model.add(grown, grown.model([grown.blob()], grown.dataset([grown.blob()])))
    folder = Path(grown.store.uri) / "blobs"
    for number in range(many):
        (folder / sha256_hex(f"of nobody {number}")).touch()
    grown.settle()
    mlflow = f"sqlite:///{mlflow_file / 'mlflow.db'}"
    env = {**os.environ, "MODELMILL_STORE": grown.store.uri, "MLFLOW_TRACKING_URI": mlflow}
    command = [sys.executable, "-m", "modelmill.retention", "--apply", "--min-age", "0s", "--idle"]
    before = folder.stat().st_mtime_ns
    process = subprocess.Popen(command, env=env, cwd=mlflow_file, stdout=subprocess.DEVNULL)
    try:
        # A folder's own time tells of the first file that goes.
        while folder.stat().st_mtime_ns == before:
            assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    left = len(list(folder.iterdir()))
    assert left > 4
    began = time.monotonic()
    # Of blobs: the other one may have left things of other kinds.
    removed = {one["kind"]: one["removed"] for one in collect(grown.store, client, settings())["kinds"]}
    assert removed["blobs"] == left - 4
    # It does not wait for a sign of life from a process that it can see is gone.
    assert time.monotonic() - began < 50
    assert len(list(folder.iterdir())) == 4


def test_in_a_bucket_what_is_needed_stays_and_the_rest_goes(
    client: Any, s3_uri: str, mlflow_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{mlflow_file / 'mlflow.db'}")
    store = open_store(s3_uri)
    store.epoch()
    grown = Grown(store=store)
    model = registered(client, grown)
    data = samples.write_labelled(store, {"train": samples.reviews(20)})
    lost = samples.write_labelled(store, {"train": samples.reviews(30, 1)})
    model.add(grown, grown.model([grown.blob()], data))
    model.of.promote("1", who="ann", force=True, reason="to see")
    # Left by a writer that was killed.
    bucket = s3_uri.removeprefix("s3://").partition("/")[0]
    store._backend._call("create_multipart_upload", "blobs/x")  # type: ignore[attr-defined]
    newest = max(entry.modified for each in (entries(store, ""), unfinished(store)) for entry in each)
    while clock(store) <= newest:
        time.sleep(0.1)
    shown = collect(store, client, settings(apply=False))
    done = collect(store, client, settings())
    assert all(shown["total"][name] == done["total"][name] for name in ("removed", "removed_bytes"))
    assert {one["kind"]: one["removed"] for one in done["kinds"] if one["removed"]} == {
        "blobs": 1, "datasets": 1, "unfinished": 1
    }  # fmt: skip
    assert open_dataset(store, data).table("train").num_rows == 20
    assert not store.has_manifest(f"{lost}.json")
    assert done["epoch_raised"]
    uploads = store._backend._client().list_multipart_uploads(Bucket=bucket)  # type: ignore[attr-defined]
    assert "Uploads" not in uploads
