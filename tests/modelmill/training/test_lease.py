import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelmill.errors import Interrupted, ModelmillError
from modelmill.step import Step
from modelmill.store import Store, open_store
from modelmill.training import lease
from tests import samples

KEY = "c" * 64
# A process that holds the run key until it is killed, or stands still.
PROGRAM = """
import sys, time
from pathlib import Path
from modelmill.store import open_store
from modelmill.training import lease
from tests import samples

folder = Path(sys.argv[1])
with lease.held(samples.step_of(open_store(str(folder / "store")), folder, "other"), "c" * 64, "train"):
    (folder / "held").touch()
    time.sleep(600)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def step(store: Store, tmp_path: Path) -> Step:
    return samples.step_of(store, tmp_path)


def marks(store: Store) -> list[dict[str, Any]]:
    return [store.get_manifest(key) for key in store.keys(f"checkpoints/{KEY}/lease/")]


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def elsewhere(number: int) -> dict[str, Any]:
    """The mark of a holder on another machine."""
    return {"holder": str(number), "pid": 7, "boot": "other", "started": "1", "machine": "node-9"}


def test_a_lease_that_was_given_back_is_given_again(step: Step, store: Store) -> None:
    for _ in range(2):
        with lease.held(step, KEY, "train") as held:
            held.check()
            assert len(marks(store)) == 1
        assert [mark["free"] for mark in marks(store)] == [True]


def test_a_failed_training_gives_its_lease_back(step: Step, store: Store) -> None:
    with pytest.raises(MemoryError), lease.held(step, KEY, "train"):
        raise MemoryError
    assert marks(store)[0]["free"]


def test_a_second_process_is_refused_while_the_first_lives_and_goes_on_when_it_was_killed(
    step: Step, tmp_path: Path
) -> None:
    other = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)])
    try:
        until((tmp_path / "held").exists)
        message = f"train: process {other.pid} on .* is at this very training; wait until it has ended"
        with pytest.raises(ModelmillError, match=message), lease.held(step, KEY, "train"):
            pass
        other.kill()
        # Not even its parent has asked how it ended.
        until(lambda: Path(f"/proc/{other.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
        began = time.monotonic()
        with lease.held(step, KEY, "train"):
            assert time.monotonic() - began < 10
    finally:
        other.kill()
        other.wait()


def test_a_holder_elsewhere_without_a_heartbeat_is_waited_for_and_then_replaced(step: Step, store: Store) -> None:
    store.claim(f"checkpoints/{KEY}/lease/00000004.json", elsewhere(1))
    began = time.monotonic()
    with lease.held(step, KEY, "train", dead=0.5):
        assert 0.5 <= time.monotonic() - began < 10
        assert list(store.keys(f"checkpoints/{KEY}/lease/")) == [f"checkpoints/{KEY}/lease/00000005.json"]


def test_a_holder_elsewhere_whose_heart_beats_is_left_alone(step: Step, store: Store) -> None:
    store.claim(f"checkpoints/{KEY}/lease/00000001.json", elsewhere(1))

    def beat() -> None:
        time.sleep(0.3)
        store.claim(f"checkpoints/{KEY}/lease/00000002.json", elsewhere(2))
        store.delete_checkpoint(f"checkpoints/{KEY}/lease/00000001.json")

    heart = threading.Thread(target=beat)
    heart.start()
    with pytest.raises(ModelmillError, match="process 7 on node-9 is at"), lease.held(step, KEY, "train", dead=30):
        pass
    heart.join()


def test_one_who_waits_can_be_stopped(step: Step, store: Store) -> None:
    store.claim(f"checkpoints/{KEY}/lease/00000001.json", elsewhere(1))
    step.stop_signal = 15
    with pytest.raises(Interrupted), lease.held(step, KEY, "train", dead=30):
        pass


def test_the_heart_beats_and_leaves_one_mark(step: Step, store: Store) -> None:
    with lease.held(step, KEY, "train", beat=0.02) as held:
        until(lambda: held.number > 4)
        held.check()
    (mark,) = marks(store)
    assert mark["free"]


def test_a_holder_that_stood_still_too_long_learns_that_it_was_replaced(step: Step, store: Store) -> None:
    with lease.held(step, KEY, "train", beat=0.05) as held:
        while not store.claim(f"checkpoints/{KEY}/lease/{held.number + 1:08d}.json", elsewhere(2)):
            pass
        until(lambda: not held._thread.is_alive())  # type: ignore[union-attr]
        with pytest.raises(ModelmillError, match="another process took over this training while this one stood still"):
            held.check()
    # Nor does it give back what is another's.
    assert [mark["holder"] for mark in marks(store)][-1] == "2"


def test_of_many_processes_one_gets_the_lease(store: Store, tmp_path: Path) -> None:
    got: list[str] = []
    done = threading.Event()

    def contend(name: str) -> None:
        try:
            with lease.held(samples.step_of(store, tmp_path, name), KEY, "train"):
                got.append(name)
                done.wait(30)
        except ModelmillError:
            got.append("")
        if len(got) == 8:
            done.set()

    rivals = [threading.Thread(target=contend, args=(f"rival-{number}",)) for number in range(8)]
    for rival in rivals:
        rival.start()
    until(lambda: len(got) == 8)
    done.set()
    for rival in rivals:
        rival.join()
    assert len([name for name in got if name]) == 1
