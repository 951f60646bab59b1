import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from modelmill.errors import Interrupted, ModelmillError
from modelmill.store import Store, open_store
from modelmill.store.backend import Backend
from modelmill.store.local import LocalBackend
from modelmill.training.checkpoint import Checkpoints
from modelmill.training.loop import train
from modelmill.training.writer import Writer
from tests.modelmill.training.bench import At, Bench, settings_of

KEY = "a" * 64


class Gate:
    """A place for bytes that is asked for a checkpoint, and answers only when it may; a real one behind it."""

    def __init__(self, behind: Backend) -> None:
        self.behind = behind
        self.open = threading.Event()
        self.waiting = threading.Event()

    def exists(self, key: str) -> bool:
        if key.startswith("checkpoints/"):
            self.waiting.set()
            assert self.open.wait(60)
        return self.behind.exists(key)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    made = Gate(LocalBackend(tmp_path / "store"))
    yield made
    made.open.set()


@pytest.fixture
def checkpoints(gate: Gate, tmp_path: Path) -> Checkpoints:
    (tmp_path / "scratch").mkdir()
    return Checkpoints(store=Store(str(tmp_path / "store"), gate), run_key=KEY, scratch=tmp_path / "scratch")


def tensors(number: float) -> dict[str, dict[str, torch.Tensor]]:
    return {"model": {"w": torch.full((3,), number)}, "random": {"cpu": torch.zeros(2, dtype=torch.uint8)}}


def found(checkpoints: Checkpoints, step: int) -> Mapping[str, torch.Tensor]:
    return checkpoints.load(step).tensors["model"]


def test_what_is_written_is_the_state_at_the_call_though_training_goes_on(checkpoints: Checkpoints, gate: Gate) -> None:
    writer = Writer(checkpoints=checkpoints, newest=3, every=None)
    state = tensors(1.0)
    writer.save(1, {}, state)
    assert gate.waiting.wait(30)
    busy = [writer.busy]
    state["model"]["w"].fill_(2.0)
    assert checkpoints.steps() == []
    gate.open.set()
    writer.wait()
    assert [*busy, writer.busy] == [True, False]
    assert found(checkpoints, 1)["w"].tolist() == [1.0, 1.0, 1.0]


def test_the_newest_checkpoints_stay_and_one_to_go_back_to(checkpoints: Checkpoints, gate: Gate) -> None:
    gate.open.set()
    writer = Writer(checkpoints=checkpoints, newest=2, every=10)
    for step in (0, 5, 10, 12, 13, 14):
        writer.save(step, {"at": step}, tensors(float(step)))
        writer.wait()
    assert checkpoints.steps() == [14, 13, 10]
    # One part is the same in all of them, and stays with the last that names it.
    assert len(list(checkpoints.store.keys("blobs/"))) == 4
    assert [found(checkpoints, step)["w"][0].item() for step in (10, 13, 14)] == [10.0, 13.0, 14.0]


def test_a_part_with_a_number_is_written_once_until_its_number_changes(checkpoints: Checkpoints, gate: Gate) -> None:
    gate.open.set()
    writer = Writer(checkpoints=checkpoints, newest=5, every=None)
    for step, best in ((1, 1), (2, 1), (3, 3)):
        # What changes under the same number shows that it was not read again.
        writer.save(step, {}, {**tensors(0.0), "best": {"w": torch.full((2,), float(step))}}, best=best)
        writer.wait()
    kept = [checkpoints.load(step).tensors["best"]["w"][0].item() for step in (1, 2, 3)]
    assert kept == [1.0, 1.0, 3.0]


def test_an_error_of_the_writer_comes_to_light_at_the_next_wait(tmp_path: Path) -> None:
    class Full(LocalBackend):
        def put_if_absent(self, key: str, data: bytes | Path) -> bool:  # noqa: ARG002
            raise ModelmillError(f"{key}: the disk is full")

    store = Store(str(tmp_path / "store"), Full(tmp_path / "store"))
    writer = Writer(checkpoints=Checkpoints(store=store, run_key=KEY, scratch=tmp_path), newest=2, every=None)
    writer.save(1, {}, tensors(1.0))
    with pytest.raises(ModelmillError, match="the disk is full"):
        writer.wait()
    writer.wait()


def test_training_goes_on_while_a_checkpoint_is_written_and_waits_for_it_when_it_is_stopped(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    gate = Gate(LocalBackend(tmp_path / "store"))
    step = bench.step()
    step.store = Store(str(tmp_path / "store"), gate)
    calls = 0

    def stop() -> None:
        nonlocal calls
        calls = breaking.calls
        # The first checkpoint still waits at the gate; that of the stop is behind it.
        assert gate.waiting.is_set()
        assert bench.job().checkpoints.steps() == []
        threading.Timer(0.3, gate.open.set).start()
        step.stop_signal = 15

    breaking = At(9, stop)
    checkpoints = Checkpoints(store=step.store, run_key="c" * 64, scratch=tmp_path / "scratch-step")
    with pytest.raises(Interrupted):
        train(step, settings_of(checkpoint_seconds=0.0), bench.job(breaking, checkpoints=checkpoints))
    assert calls == 9
    # Calls 5 and 6 were validation.
    assert bench.job().checkpoints.steps() == [7, 0]


def test_a_finished_training_has_waited_for_its_checkpoints(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    train(bench.step(), settings_of(checkpoint_steps=3, keep_checkpoints=2), bench.job())
    assert bench.job().checkpoints.steps() == [9, 6]
    assert open_store(str(tmp_path / "store")).has_manifest(f"checkpoints/{'c' * 64}/step-00000009.json")
