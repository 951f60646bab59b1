"""Events: whole lines from several writers, read as they come."""

import json
import subprocess
import threading
from pathlib import Path

import pytest

from modelmill.events import EventReader, Events


def test_a_reader_gets_each_event_once_and_waits_for_the_end_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    reader = EventReader(path)
    assert list(reader.new()) == []
    Events(step="ingest", path=path).emit("started", pid=1)
    with path.open("a") as file:
        file.write('{"step": "ingest", "kind": "do')
    assert [event["kind"] for event in reader.new()] == ["started"]
    assert list(reader.new()) == []
    with path.open("a") as file:
        file.write('ne"}\n')
    assert [event["kind"] for event in reader.new()] == ["done"]


def test_lines_of_several_writers_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"

    def write(name: str) -> None:
        events = Events(step=name, path=path)
        for number in range(200):
            events.emit("figures", values={"x" * 50: number}, at=number)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    read = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted((event["step"], event["at"]) for event in read) == [
        (name, at) for name in "abcd" for at in range(200)
    ]


def test_progress_is_thinned_but_its_first_and_last_line_always_come(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events = Events(step="pretrain", path=path)
    for done in range(1, 1001):
        events.progress("training", done, 1000, "steps")
    events.progress("saving", 0, None, "B")
    read = list(EventReader(path).new())
    assert (read[0]["done"], read[-2]["done"], read[-1]["what"]) == (1, 1000, "saving")
    assert len(read) < 100


def test_without_a_file_nothing_is_written(tmp_path: Path) -> None:
    Events(step="ingest", path=None).emit("started", pid=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.system
def test_a_full_disk_costs_events_and_not_the_work(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = small_disk / "events.jsonl"
    events = Events(step="ingest", path=path)
    events.emit("started", pid=1)
    # More than fits: its line is cut.
    events.emit("figures", values="x" * (2 << 20))
    events.emit("figures", values="lost")
    assert "events.jsonl: event figures is lost: the disk is full (0 bytes free)" in caplog.text
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    events.emit("done", exit_code=0)
    assert [event["kind"] for event in EventReader(path).new()] == ["started", "done"]


def test_why_a_step_failed_is_known_where_no_file_is_and_a_wish_to_stop_is_no_failure() -> None:
    events = Events("finetune", None)
    events.emit("failed", exit_code=1, message="finetune: stopped by SIGTERM", interrupted=True)
    assert events.failure == ""
    events.emit("failed", exit_code=1, message="finetune: the loss is not a number", interrupted=False)
    assert events.failure == "finetune: the loss is not a number"
