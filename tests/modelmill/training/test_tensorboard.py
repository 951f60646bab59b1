from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from modelmill.errors import Interrupted
from modelmill.training.loop import train
from tests.modelmill.training.bench import SETTINGS, At, Bench


def curve(folder: Path, name: str) -> list[int]:
    read = EventAccumulator(str(folder))
    read.Reload()
    return [point.step for point in read.Scalars(name)]


def test_a_training_that_was_stopped_draws_each_step_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELMILL_TENSORBOARD", str(tmp_path / "board"))
    monkeypatch.setenv("MODELMILL_RUN", "spring")
    bench = Bench(tmp_path)
    step = bench.step()

    def stop() -> None:
        step.stop_signal = 15

    with pytest.raises(Interrupted):
        train(step, SETTINGS, bench.job(At(9, stop)))
    train(bench.step(), SETTINGS, bench.job())
    board = tmp_path / "board" / "spring" / "step"
    assert curve(board, "loss") == list(range(1, 13))
    assert curve(board, "validation_loss") == [4, 8, 12]
    assert step.figures_to is None


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELMILL_TENSORBOARD", raising=False)
    bench = Bench(tmp_path)
    train(bench.step(), SETTINGS, bench.job())
    assert not list(tmp_path.rglob("*tfevents*"))
