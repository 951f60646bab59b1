import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from modelmill.training.data import Batch
from modelmill.training.distributed import ALONE, World

# One process of a training: it notes the rows that it learned from and whether it was stopped. Three processes of four
# have no rows of some batches; a weight has no use, and so no gradient.
PROGRAM = """
import json, os, sys
from dataclasses import replace
from pathlib import Path
import torch
from safetensors.torch import save_file
from modelmill.errors import Interrupted
from modelmill.training import distributed
from modelmill.training.checkpoint import Checkpoints, model_tensors
from modelmill.training.data import Batch
from modelmill.training.loop import train
from tests import samples
from tests.modelmill.training.bench import CPU, Bench, batch_of, classify, settings_of

folder, name, stop_at, told = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
rank = int(os.environ.get("RANK", "0"))
torch.set_num_threads(1)
bench = Bench(folder)
step = samples.step_of(bench.store, folder, f"{name}-{rank}")
rows = []

class Batches:
    def batch(self, step):
        batch = batch_of(step).rows_between(0, 3 if step % 3 == 0 else 11)
        return replace(batch, tensors={**batch.tensors, "row": torch.arange(batch.rows) + 100 * step})

def objective(model, batch):
    if model.training:
        rows.extend(batch.tensors["row"].tolist())
        if rank == 0 and rows[-1] >= 100 * stop_at:
            step.stop_signal = 15
    return classify(model, batch)

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.GELU(), torch.nn.Linear(8, 2))
model.unused = torch.nn.Parameter(torch.ones(2, 2))
model.forward = lambda x: model[2](model[1](model[0](x)))
checkpoints = Checkpoints(store=bench.store, run_key="c" * 64, scratch=step.scratch)
job = replace(
    bench.job(objective, model=model, batches=Batches(), checkpoints=checkpoints), world=distributed.join()
)
stopped = False
try:
    figures = train(step, settings_of(**told), job)
except Interrupted:
    stopped, figures = True, {}
(folder / f"{name}-{rank}.json").write_text(json.dumps({"rows": rows, "stopped": stopped, "figures": figures}))
save_file(model_tensors(model), folder / f"{name}-{rank}.safetensors")
if torch.distributed.is_initialized():
    torch.distributed.destroy_process_group()
"""


def trained(folder: Path, processes: int, name: str, stop_at: int = 10**6, **told: Any) -> list[dict[str, Any]]:
    """What each process says of a training; their weights lie beside it."""
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", PROGRAM, str(folder), name, str(stop_at), json.dumps(told)]
    shared = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    running = [subprocess.Popen(command, env={**os.environ, **shared, "RANK": str(rank)}) for rank in range(processes)]
    try:
        assert [process.wait(240) for process in running] == [0] * processes
    finally:
        for process in running:
            process.kill()
    return [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in range(processes)]


def weights(folder: Path, name: str, rank: int = 0) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(folder / f"{name}-{rank}.safetensors")
    return found


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], atol=1e-5, rtol=1e-4)


def rows_of(steps: int) -> list[int]:
    return [100 * step + row for step in range(steps) for row in range(3 if step % 3 == 0 else 11)]


@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_learn_what_one_does_and_each_row_is_read_by_one(processes: int, tmp_path: Path) -> None:
    told: dict[str, Any] = {"best": "last", "ema": 0.5, "accumulate": 2}
    (alone,) = trained(tmp_path / "one", 1, "alone", **told)
    together = trained(tmp_path / "many", processes, "together", **told)
    for rank in range(processes):
        same(weights(tmp_path / "many", "together", rank), weights(tmp_path / "one", "alone"))
    read = [row for process in together for row in process["rows"]]
    assert sorted(read) == sorted(alone["rows"]) == rows_of(24)
    assert all(process["rows"] for process in together)
    for process in together:
        assert process["figures"]["validation_loss"] == pytest.approx(alone["figures"]["validation_loss"], rel=1e-4)
    assert not [path for path in (tmp_path / "many").glob("together-*.jsonl") if path.name != "together-0.jsonl"]


def test_a_training_goes_on_from_one_to_two_to_one_process_and_reads_each_row_once(tmp_path: Path) -> None:
    trained(tmp_path / "whole", 1, "whole")
    runs = [
        trained(tmp_path / "turns", processes, f"turn-{turn}", stop_at)
        for turn, (processes, stop_at) in enumerate([(1, 3), (2, 7), (1, 10**6)])
    ]
    assert [[process["stopped"] for process in run] for run in runs] == [[True], [True, True], [False]]
    assert sorted(row for run in runs for process in run for row in process["rows"]) == rows_of(12)
    same(weights(tmp_path / "turns", "turn-2"), weights(tmp_path / "whole", "whole"))


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
