import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from modelmill.training.data import Batch
from modelmill.training.distributed import ALONE, World


@dataclass
class Pool:
    """Processes that are started once and train together, some of them, as often as they are asked."""

    processes: list[subprocess.Popen[str]]

    def train(self, folder: Path, count: int, name: str, stop_at: int = 10**6, **told: Any) -> list[dict[str, Any]]:
        """What each process says of a training; their weights lie beside it."""
        folder.mkdir(exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        asked = {"folder": str(folder), "name": name, "stop_at": stop_at, "told": told, "size": count, "port": port}
        for rank, process in enumerate(self.processes[:count]):
            assert process.stdin is not None
            process.stdin.write(json.dumps({**asked, "rank": rank}) + "\n")
            process.stdin.flush()
        answers = []
        for process in self.processes[:count]:
            assert process.stdout is not None
            answers.append(json.loads(process.stdout.readline()))
        return answers


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    command = [sys.executable, "-m", "tests.modelmill.training.together"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(4)]
    try:
        yield Pool(processes)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def weights(folder: Path, name: str, rank: int = 0) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(folder / f"{name}-{rank}.safetensors")
    return found


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], atol=1e-5, rtol=1e-4)


def rows_of(steps: int) -> list[int]:
    return [100 * step + row for step in range(steps) for row in range(3 if step % 3 == 0 else 11)]


@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_learn_what_one_does_and_each_row_is_read_by_one(
    processes: int, tmp_path: Path, pool: Pool
) -> None:
    told: dict[str, Any] = {"best": "last", "ema": 0.5, "accumulate": 2}
    (alone,) = pool.train(tmp_path / "one", 1, "alone", **told)
    together = pool.train(tmp_path / "many", processes, "together", **told)
    for rank in range(processes):
        same(weights(tmp_path / "many", "together", rank), weights(tmp_path / "one", "alone"))
    read = [row for process in together for row in process["rows"]]
    assert sorted(read) == sorted(alone["rows"]) == rows_of(24)
    assert all(process["rows"] for process in together)
    for process in together:
        assert process["figures"]["validation_loss"] == pytest.approx(alone["figures"]["validation_loss"], rel=1e-4)
    assert not [path for path in (tmp_path / "many").glob("together-*.jsonl") if path.name != "together-0.jsonl"]


def test_a_training_goes_on_from_one_to_two_to_one_process_and_reads_each_row_once(tmp_path: Path, pool: Pool) -> None:
    pool.train(tmp_path / "whole", 1, "whole")
    runs = [
        pool.train(tmp_path / "turns", processes, f"turn-{turn}", stop_at)
        for turn, (processes, stop_at) in enumerate([(1, 3), (2, 7), (1, 10**6)])
    ]
    assert [[process["stopped"] for process in run] for run in runs] == [[True], [True, True], [False]]
    assert sorted(row for run in runs for process in run for row in process["rows"]) == rows_of(12)
    same(weights(tmp_path / "turns", "turn-2"), weights(tmp_path / "whole", "whole"))


@pytest.mark.parametrize(
    ("processes", "told"),
    [
        (2, {"optimizer": {"name": "adamw"}, "ema": 0.5, "clip": 0.01}),
        (4, {"accumulate": 2, "micro_rows": 2, "l2": 0.1}),
    ],
)
def test_a_divided_model_learns_what_a_whole_one_does(
    processes: int, told: dict[str, Any], tmp_path: Path, pool: Pool
) -> None:
    (alone,) = pool.train(tmp_path / "one", 1, "alone", **told)
    together = pool.train(tmp_path / "many", processes, "together", shard=True, **told)
    assert all(process["divided"] for process in together)
    assert not alone["divided"]
    for rank in range(processes):
        same(weights(tmp_path / "many", "together", rank), weights(tmp_path / "one", "alone"))
    for process in together:
        assert process["figures"]["validation_loss"] == pytest.approx(alone["figures"]["validation_loss"], rel=1e-4)


def test_a_training_goes_on_from_whole_to_divided_to_whole(tmp_path: Path, pool: Pool) -> None:
    pool.train(tmp_path / "whole", 1, "whole")
    turns: list[tuple[int, int, bool]] = [(1, 3, False), (2, 7, True), (4, 9, True), (1, 10**6, False)]
    runs = [
        pool.train(tmp_path / "turns", processes, f"turn-{turn}", stop_at, shard=shard)
        for turn, (processes, stop_at, shard) in enumerate(turns)
    ]
    assert [any(process["stopped"] for process in run) for run in runs] == [True, True, True, False]
    same(weights(tmp_path / "turns", "turn-3"), weights(tmp_path / "whole", "whole"))


def test_the_parts_of_a_batch_are_the_batch() -> None:
    batch = Batch(tensors={"x": torch.arange(10)}, rows=10, tokens=10)
    for size in (1, 2, 3, 10, 13):
        parts = [World(rank=rank, size=size).part(batch) for rank in range(size)]
        rows = [part.tensors["x"].tolist() for part in parts if part is not None]
        assert [row for part in rows for row in part] == list(range(10))
        assert max(map(len, rows)) - min(map(len, rows)) <= 1
    assert ALONE.part(batch) is batch
    assert ALONE.sums([1.0, 2.0]) == [1.0, 2.0]


def test_processes_draw_numbers_of_their_own_at_each_step() -> None:
    drawn = {World(rank=rank, size=2).seed(seed, step) for rank in (0, 1) for seed in (0, 1) for step in range(50)}
    assert len(drawn) == 200
