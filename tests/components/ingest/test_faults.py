"""The step's process is killed, its store is killed, its disk is full, its source changes: nothing half is left."""

import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingest import write as shards
from components.ingest.run import IngestOutputs, run
from components.ingest.settings import IngestSettings
from modelmill.dataset import open_dataset
from modelmill.errors import ModelmillError
from modelmill.sources import pin
from modelmill.step import Step
from modelmill.store import Store, open_store
from tests import servers
from tests.components.ingest.tools import REVIEWS, csv_of, ingest, make_step, write

ROOT = Path(__file__).resolve().parents[3]
SHARD_ROWS = 100
NEVER = "never"
# `python -m components.ingest` with small shards, which stops itself after a piece of work that it tells of: once that
# is said so often that done reaches the share.
STEP = f"""
import os, runpy, signal, sys
from components.ingest import write
from modelmill.step import Step
what_then, share = sys.argv.pop(1), float(sys.argv.pop(1))
write.SHARD_ROWS = {SHARD_ROWS}
told = Step.progress
def progress(self, what, done, total, unit):
    global what_then
    told(self, what, done, total, unit)
    if what == what_then and done >= share * total:
        what_then = None
        os.kill(os.getpid(), signal.SIGSTOP)
Step.progress = progress
runpy.run_module("components.ingest", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all processes: to make it takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture(autouse=True)
def surroundings(tracking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking)
    monkeypatch.setattr(shards, "SHARD_ROWS", SHARD_ROWS)


@pytest.fixture
def sources(tmp_path: Path) -> str:
    """A folder of three files: while the first ones are read there are others to come."""
    for number in range(3):
        write(tmp_path / "data" / f"{number}.csv", csv_of(REVIEWS[number::3]))
    return str(tmp_path / "data")


def recipe(uri: str) -> dict[str, Any]:
    """Both datasets, so that what is committed first stands while the other one is written."""
    return {"corpus": [{"labelled": "train"}], "labelled": [{"uri": uri}], "max_chars": 100_000}


class Process:
    """The step as a process of its own."""

    def __init__(self, folder: Path, uri: str, store: str, after: str = NEVER, share: float = 0, **env: str) -> None:
        told = {"task": "text-classification", **recipe(uri)}
        command = [sys.executable, "-c", STEP, after, str(share), "--settings", json.dumps(told)]
        command += ["--sources", pin([uri])]
        self.events = folder / f"events-{time.monotonic_ns()}.jsonl"
        own = {"PYTHONPATH": str(ROOT), "MODELMILL_STORE": store, "MODELMILL_EVENTS": str(self.events)}
        # What a killed step has left in its scratch folder goes with the test's own.
        own |= {"TMPDIR": str(folder), **env}
        self._process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **own}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def stopped(self) -> "Process":
        """Wait until it has stopped itself where it was told to."""
        _, status = os.waitpid(self._process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), self._process.communicate()
        return self

    def go_on(self) -> "Process":
        os.kill(self._process.pid, signal.SIGCONT)
        return self

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=60)
        assert self._process.returncode == -signal.SIGKILL

    def ended(self) -> tuple[int, str]:
        """Wait for its end; return exit code and message, '' where all went well. No traceback is in its log."""
        log, _ = self._process.communicate(timeout=120)
        assert "Traceback" not in log, log
        events = [json.loads(line) for line in self.events.read_text().splitlines()]
        assert events[-1]["kind"] in ("done", "failed")
        assert events[-1]["exit_code"] == self._process.returncode
        return self._process.returncode, events[-1].get("message", "")


def addresses(outputs: IngestOutputs) -> tuple[str, ...]:
    return outputs.corpus, outputs.labelled, outputs.made_corpus, outputs.made_labelled


def check_next_run(tmp_path: Path, store: Store, uri: str) -> None:
    """What was broken off left no manifest, and the next run makes what an undisturbed one makes."""
    assert list(store.keys("datasets/")) == []
    again, _ = ingest(tmp_path / "again", store, **recipe(uri))
    whole, _ = ingest(tmp_path / "whole", **recipe(uri))
    assert addresses(again) == addresses(whole)
    dataset = open_dataset(store, again.labelled)
    assert [len(dataset.table(split)) for split in dataset.splits] == [dataset.rows(split) for split in dataset.splits]
    assert list(store.keys("datasets/")) == sorted(f"{address}.json" for address in (again.corpus, again.labelled))


@pytest.mark.parametrize(
    ("after", "share", "has_blobs"),
    [
        ("reading data", 0, False),
        ("sorting", 0, False),
        ("writing train", 0, True),
        ("writing validation", 0, True),
        # The last shard is written, and no manifest.
        ("writing test", 1, True),
    ],
)
def test_a_step_that_is_killed_leaves_no_dataset_and_the_next_one_makes_the_same(
    tmp_path: Path, sources: str, after: str, share: float, has_blobs: bool
) -> None:
    store = open_store(str(tmp_path / "store"))
    Process(tmp_path, sources, store.uri, after, share).stopped().kill()

    assert bool(list(store.keys("blobs/"))) == has_blobs
    check_next_run(tmp_path, store, sources)


@pytest.mark.parametrize(
    ("after", "share"), [("writing train", 0), pytest.param("writing test", 1, marks=pytest.mark.slow)]
)
def test_a_store_that_is_killed_is_named_and_when_it_is_back_the_next_run_makes_the_same(
    tmp_path: Path, sources: str, after: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "seaweedfs"
    folder.mkdir()
    with servers.seaweedfs(folder) as server:
        uri = f"s3://{server.new_bucket()}/store"
        process = Process(tmp_path, sources, uri, after, share, **server.env).stopped()
    begun = time.monotonic()
    code, message = process.go_on().ended()

    assert code == 1
    said = rf"{uri}/\S+: {server.endpoint} cannot be reached \(EndpointConnectionError\); check AWS_ENDPOINT_URL and"
    assert re.match(said, message), message
    assert time.monotonic() - begun < 60
    with servers.seaweedfs(folder, before=server):
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        store = open_store(uri)
        assert list(store.keys("blobs/"))
        check_next_run(tmp_path, store, sources)


def large_texts(path: Path) -> str:
    """Write 2 MB of texts, which nothing makes much smaller."""
    numbers = random.Random(0)
    rows = [(numbers.randbytes(3000).hex(), "good" if number % 3 else "bad") for number in range(350)]
    if path.suffix == ".parquet":
        texts, labels = zip(*rows, strict=True)
        pq.write_table(pa.table({"text": texts, "label": labels}), path)
        return str(path)
    return str(write(path, csv_of(rows)))


@pytest.mark.system
def test_a_store_whose_disk_is_full_is_named_and_with_room_the_next_run_makes_the_same(
    tmp_path: Path, small_disk: Path
) -> None:
    uri = large_texts(tmp_path / "a.csv")
    store = open_store(str(small_disk / "store"))
    code, message = Process(tmp_path, uri, store.uri).ended()

    assert code == 1
    said = (
        rf"{store.uri}: blobs/\w+: the disk is full \([\d,]+ bytes free\); make room or put MODELMILL_STORE elsewhere"
    )
    assert re.fullmatch(said, message), message
    assert list(store.keys("blobs/"))
    assert list((small_disk / "store" / "tmp").iterdir()) == []
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    check_next_run(tmp_path, store, uri)


@pytest.mark.system
@pytest.mark.parametrize("name", ["a.csv", pytest.param("a.parquet", marks=pytest.mark.slow)])
def test_a_scratch_folder_whose_disk_is_full_is_named_and_nothing_is_left_there(
    tmp_path: Path, small_disk: Path, name: str
) -> None:
    uri = large_texts(tmp_path / name)
    store = open_store(str(tmp_path / "store"))
    code, message = Process(tmp_path, uri, store.uri, TMPDIR=str(small_disk)).ended()

    assert code == 1
    said = rf"{small_disk}/modelmill-ingest-\w+: the disk is full \([\d,]+ bytes free\); make room or set TMPDIR to .*"
    assert re.fullmatch(said, message), message
    assert list(small_disk.iterdir()) == []
    assert list(store.keys("")) == []
    check_next_run(tmp_path, store, uri)


def grow(path: Path) -> None:
    with path.open("a") as file:
        file.write("one line more\n")


def shrink(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100_000)


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-100_000, io.SEEK_END)
        file.write(b"another line\n")


def replace(path: Path) -> None:
    write(path.with_name("other.txt"), "another line\n" * 100).replace(path)


def read_while(folder: Path, path: Path, change: Callable[[Path], Any]) -> tuple[IngestOutputs, Store]:
    """Run the step on a file that is changed when its first rows have been read."""
    changed = False

    class Changing(Step):
        def progress(self, what: str, done: int, total: int | None, unit: str) -> None:
            nonlocal changed
            super().progress(what, done, total, unit)
            if not changed:
                assert 0 < done < path.stat().st_size, "not in the middle of the file"
                change(path)
            changed = True

    told = IngestSettings.model_validate(
        {"task": "text-classification", "corpus": [{"uri": str(path)}], "near_duplicates": {"action": "off"}}
    )
    step = make_step(folder)
    changing = Changing(name=step.name, store=step.store, scratch=step.scratch, events=step.events)
    return run(changing, told, pin(told.uris)), step.store


@pytest.fixture
def long_file(tmp_path: Path) -> Path:
    """A file of several batches, longer than what is read ahead."""
    return write(tmp_path / "a.txt", "".join(f"line {number} {'with words ' * 20}\n" for number in range(20_000)))


@pytest.mark.parametrize("change", [grow, shrink, overwrite])
def test_a_source_that_changes_while_it_is_read_is_refused_and_leaves_nothing(
    tmp_path: Path, long_file: Path, change: Callable[[Path], Any]
) -> None:
    with pytest.raises(ModelmillError, match=r"a\.txt: changed while it was read .*; run again when nothing writes"):
        read_while(tmp_path / "run", long_file, change)
    assert not [file for file in (tmp_path / "run" / "store").rglob("*") if file.is_file()]
    assert not list((tmp_path / "run" / "scratch").glob("source*"))


@pytest.mark.parametrize("change", [replace, Path.unlink])
def test_a_source_that_is_replaced_or_removed_while_it_is_read_is_read_as_it_was_pinned(
    tmp_path: Path, long_file: Path, change: Callable[[Path], Any]
) -> None:
    whole, _ = read_while(tmp_path / "whole", long_file, lambda _: None)
    outputs, _ = read_while(tmp_path / "run", long_file, change)
    assert outputs.corpus == whole.corpus


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
