"""One process of a training by several, for their tests: it trains when it is told to, line by line.

It notes the rows that it learned from and whether it was stopped. Three processes of four have no rows of some batches;
a weight has no use, and so no gradient.
"""

import json
import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor

from modelmill.errors import Interrupted
from modelmill.step import Step
from modelmill.training import distributed
from modelmill.training.checkpoint import Checkpoints, model_tensors
from modelmill.training.data import Batch
from modelmill.training.loop import train
from modelmill.training.objectives import Scored
from tests import samples
from tests.modelmill.training.bench import Bench, batch_of, classify, settings_of


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList([torch.nn.Linear(3, 8), torch.nn.Linear(8, 8)])
        self.head = torch.nn.Linear(8, 2)
        self.unused = torch.nn.Parameter(torch.ones(2, 2))

    def forward(self, x_BD: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x_BD = torch.nn.functional.gelu(layer(x_BD))
        out: torch.Tensor = self.head(x_BD)
        return out


class Batches:
    def batch(self, step: int) -> Batch:
        batch = batch_of(step).rows_between(0, 3 if step % 3 == 0 else 11)
        return replace(batch, tensors={**batch.tensors, "row": torch.arange(batch.rows) + 100 * step})


@dataclass
class Objective:
    step: Step
    stop_at: int
    rank: int
    rows: list[int] = field(default_factory=list)
    divided: bool = False

    def __call__(self, model: Any, batch: Batch) -> Scored:
        self.divided = any(isinstance(weight, DTensor) for weight in model.parameters())
        if model.training:
            self.rows.extend(batch.tensors["row"].tolist())
            if self.rank == 0 and self.rows[-1] >= 100 * self.stop_at:
                self.step.stop_signal = 15
        return classify(model, batch)


def train_once(folder: Path, name: str, stop_at: int, told: dict[str, Any], rank: int) -> dict[str, Any]:
    bench = Bench(folder)
    step = samples.step_of(bench.store, folder, f"{name}-{rank}")
    objective = Objective(step, stop_at, rank)
    settings = settings_of(**told)
    checkpoints = Checkpoints(store=bench.store, run_key="c" * 64, scratch=step.scratch)
    job = bench.job(objective, batches=Batches(), checkpoints=checkpoints)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = Model()
    job = replace(job, model=model, world=distributed.join(shard=settings.training.shard))
    stopped, figures = False, {}
    try:
        figures = train(step, settings, job)
    except Interrupted:
        stopped = True
    save_file(model_tensors(model), folder / f"{name}-{rank}.safetensors")
    return {"rows": objective.rows, "stopped": stopped, "figures": figures, "divided": objective.divided}


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        rank, size, port = (str(asked.pop(key)) for key in ("rank", "size", "port"))
        os.environ |= {"RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        answer = train_once(Path(asked["folder"]), asked["name"], asked["stop_at"], asked["told"], int(rank))
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
