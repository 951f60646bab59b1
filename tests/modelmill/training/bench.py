"""A small model, its batches and a place to train it, for the tests of the loop."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from modelmill.step import Step
from modelmill.store import Store, open_store
from modelmill.training.checkpoint import Checkpoints, model_tensors
from modelmill.training.data import Batch
from modelmill.training.device import prepare
from modelmill.training.loop import train
from modelmill.training.objectives import Objective, Scored
from modelmill.training.settings import Training
from modelmill.training.state import Job, LoopSettings
from tests import samples

CPU = torch.device("cpu")
TRAINING: dict[str, Any] = {
    "lr": 0.05,
    "warmup": 0.2,
    "weight_decay": 0.01,
    "precision": "fp32",
    "checkpoint_seconds": 1e9,
}


def settings_of(
    *, steps: int = 12, batches: int | None = None, keep_best: str | None = "accuracy", **training: Any
) -> LoopSettings:
    told = Training.model_validate({**TRAINING, **training})
    return LoopSettings(training=told, steps=steps, batches=batches, validate_every=4, keep_best=keep_best)


SETTINGS = settings_of()


def batch_of(seed: int, flipped: bool = False) -> Batch:
    """Rows of three numbers; the class is the sign of the first, or its opposite."""
    x_BD = torch.randn((16, 3), generator=torch.Generator().manual_seed(seed))
    labels_B = (x_BD[:, 0] > 0).long()
    return Batch(tensors={"x": x_BD, "labels": 1 - labels_B if flipped else labels_B}, rows=16, tokens=48)


def spoiled(batch: Batch) -> Batch:
    """The same rows with something in them that is no number."""
    return replace(batch, tensors={**batch.tensors, "x": batch.tensors["x"] * float("nan")})


@dataclass
class Numbers:
    """Batches that depend on their step."""

    def batch(self, step: int) -> Batch:
        return batch_of(step)


def classify(model: Any, batch: Batch) -> Scored:
    logits_BC = model(batch.tensors["x"])
    loss = torch.nn.functional.cross_entropy(logits_BC, batch.tensors["labels"], reduction="sum")
    correct = (logits_BC.argmax(1) == batch.tensors["labels"]).sum()
    return Scored(loss=loss, count=batch.rows, sums={"accuracy": correct})


@dataclass
class At:
    """An objective that does something when it is called for the nth time."""

    call: int
    act: Callable[[], None]
    calls: int = 0

    def __call__(self, model: Any, batch: Batch) -> Scored:
        self.calls += 1
        if self.calls == self.call:
            self.act()
        return classify(model, batch)


@dataclass
class Bench:
    """Trains a small model, always the same one, in a folder of its own."""

    folder: Path

    @property
    def store(self) -> Store:
        return open_store(str(self.folder / "store"))

    def step(self) -> Step:
        return samples.step_of(self.store, self.folder)

    def job(self, objective: Objective = classify, **changes: Any) -> Job:
        prepare(0)
        model = torch.nn.Sequential(
            torch.nn.Linear(3, 8), torch.nn.Dropout(0.3), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 2)
        )
        checkpoints = Checkpoints(store=self.store, run_key="c" * 64, scratch=self.folder / "scratch-step")
        made = Job(
            what="train",
            model=model,
            objective=objective,
            batches=Numbers(),
            validation=[batch_of(100), batch_of(101)],
            checkpoints=checkpoints,
            device=CPU,
        )
        return replace(made, **changes)

    def unbroken(self, settings: LoopSettings = SETTINGS) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        job = self.job()
        figures = train(self.step(), settings, job)
        return model_tensors(job.model), figures


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def steady(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in figures.items() if not name.endswith(("_second", "_share", "_utilisation"))}


def validated_at(bench: Bench) -> list[int]:
    told = samples.figures(bench.folder / "step.jsonl")
    return [event["at"] for event in told if "validation_loss" in event["values"]]
