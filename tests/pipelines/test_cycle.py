"""Train, promote, train a better one, promote it, take it back: on real data, with MLflow's server and S3."""

import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.test_models import models
from tests.pipelines.test_run import RECIPES, run


@dataclass(frozen=True, kw_only=True)
class Cycle:
    """A recipe, and what makes its model good or bad."""

    recipe: str
    both: tuple[str, ...]
    weak: tuple[str, ...]
    better: tuple[str, ...] = ()


CYCLES = {
    "table": Cycle(
        recipe="wine_tiny",
        # With half the bottles there are too few test rows to decide on.
        both=("ingest.labelled.0.sample=1", "finetune.folds=null", "evaluate.robustness=[]", "evaluate.explain=0"),
        weak=("finetune.epochs=1", "finetune.lr=0.003"),
    ),
    "image": Cycle(recipe="mnist_tiny", both=("evaluate.thresholds.accuracy.min=0.05",), weak=("finetune.epochs=1",)),
    "text": Cycle(
        recipe="chinese_reviews_tiny",
        both=(
            "ingest.labelled.0.sample=0.2",
            "ingest.labelled.1.sample=0.2",
        ),
        # It has learned more than nothing, and so little that the few test rows show the other one to be better.
        weak=("finetune.epochs=1", "finetune.lr=2e-4"),
        better=("finetune.epochs=8", "finetune.lr=3e-3"),
    ),
}
WHERE = [
    pytest.param("table", "postgresql", marks=pytest.mark.system),
    pytest.param("text", "postgresql", marks=[pytest.mark.system, pytest.mark.slow]),
    pytest.param("image", "sqlite", marks=pytest.mark.slow),
]
BY_COMMAND = ("register.approval=required", "register.promote=by_command")
BY_VERDICT = ("register.approval=none", "register.promote=by_verdict")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One cycle's recipe in a folder, with the servers that it goes to."""

    cycle: Cycle
    folder: Path
    env: dict[str, str]
    promote: tuple[str, ...]
    """Settings of who promotes."""
    name: str = field(default_factory=lambda: f"cycle-{uuid.uuid4().hex[:8]}")
    """Of the registered model: the server is that of other cycles, too."""

    def train(self, quality: str) -> dict[str, Any]:
        told = (*self.cycle.both, *getattr(self.cycle, quality), *self.promote, f"register.name={self.name}")
        arguments = [word for one in told for word in ("--set", one)]
        return run(RECIPES / f"{self.cycle.recipe}.yaml", *arguments, cwd=self.folder, env=self.env)

    def models(self, *arguments: str) -> dict[str, Any]:
        return models(self.folder, *arguments, env=self.env)

    def moves(self) -> list[tuple[str, str]]:
        told = self.models("history", self.name)
        assert told["champion"] == told["alias"] == told["entries"][-1]["to_version"]
        return [(entry["action"], entry["to_version"]) for entry in told["entries"]]


def told(result: dict[str, Any]) -> tuple[str, str, list[str]]:
    return result["verdict"], result["model"]["version"], result["model"]["aliases"]


@pytest.mark.parametrize(("task", "mlflow_on"), WHERE, indirect=["mlflow_on"])
def test_a_better_model_is_promoted_and_taken_back_by_commands(
    task: str, mlflow_on: dict[str, str], tmp_path: Path
) -> None:
    line = Line(cycle=CYCLES[task], folder=tmp_path, env=mlflow_on, promote=BY_COMMAND)
    assert told(line.train("weak")) == ("promote", "1", ["challenger"])
    assert line.models("approve", line.name, "1")["verdict"] == "promote"
    assert line.models("promote", line.name, "1")["champion"] == "1"
    assert told(line.train("better")) == ("promote", "2", ["challenger"])
    line.models("approve", line.name, "challenger")
    moved = line.models("promote", line.name, "challenger", "--expect", "1")
    assert (moved["champion"], moved["entry"]["approvals"][0]["who"]) == ("2", "ann")
    assert line.models("rollback", line.name, "--reason", "a customer complained")["champion"] == "1"
    assert line.moves() == [("first", "1"), ("promote", "2"), ("rollback", "1")]
    verified = line.models("verify", line.name)
    assert (verified["versions"], verified["faults"]) == (["1", "2"], [])
    assert not (tmp_path / ".modelmill" / "store").exists()
    assert not (tmp_path / ".modelmill" / "mlflow.db").exists()


@pytest.mark.slow
# Three whole runs.
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("task", "mlflow_on"), WHERE, indirect=["mlflow_on"])
def test_a_better_model_is_promoted_by_the_pipeline_and_once_taken_back_stays_so(
    task: str, mlflow_on: dict[str, str], tmp_path: Path
) -> None:
    line = Line(cycle=CYCLES[task], folder=tmp_path, env=mlflow_on, promote=BY_VERDICT)
    assert told(line.train("weak")) == ("promote", "1", ["challenger", "champion"])
    assert told(line.train("better")) == ("promote", "2", ["challenger", "champion"])
    assert line.models("rollback", line.name)["champion"] == "1"
    assert told(line.train("better")) == ("promote", "2", ["challenger"])
    assert line.moves() == [("first", "1"), ("promote", "2"), ("rollback", "1")]
    assert line.models("verify", line.name)["faults"] == []
