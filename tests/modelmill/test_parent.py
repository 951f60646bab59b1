"""A step whose starter is gone without a word, as Kubeflow Pipelines' launcher goes."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from components.pretrain.settings import PretrainSettings
from modelmill.events import EVENTS_VARIABLE
from modelmill.models.architecture import Architecture
from modelmill.store import Store, open_store
from tests import samples

ROOT = Path(__file__).resolve().parents[2]
# Starts a step as the launcher does, and takes no care of it.
LAUNCHER = "import subprocess, sys; subprocess.run(sys.argv[1:])"


def events(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def checkpoints(store: Store) -> list[str]:
    return [key for key in store.keys("checkpoints/") if "/lease/" not in key]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def started(store: Store, folder: Path, before: list[str], **changes: Any) -> "subprocess.Popen[bytes]":
    """Start a training, and return once it has done some steps; of itself it would save nothing in this time."""
    settings = PretrainSettings(
        model=Architecture(layers=1, width=32, heads=2), steps=100_000, batch_rows=16, max_tokens=16,
        checkpoint_seconds=3600, precision="fp32", **changes,
    )  # fmt: skip
    said = folder / "events.jsonl"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MODELMILL_STORE": store.uri, EVENTS_VARIABLE: str(said)}
    told = ["--settings", settings.model_dump_json(), "--corpus", samples.tokens(store, folder).corpus]
    process = subprocess.Popen(
        [*before, sys.executable, "-m", "components.pretrain", *told], env=env, cwd=folder, stderr=subprocess.DEVNULL
    )
    while not any(event.get("done", 0) > 20 for event in events(said)):
        assert process.poll() is None
        time.sleep(0.1)
    return process


def gone(processes: list[psutil.Process]) -> bool:
    return psutil.wait_procs(processes, timeout=60)[1] == []


def test_a_training_whose_launcher_is_killed_saves_and_ends(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELMILL_POD", "a-pod")
    launcher = started(store, tmp_path, [sys.executable, "-c", LAUNCHER])
    steps = psutil.Process(launcher.pid).children(recursive=True)
    launcher.kill()
    launcher.wait()
    assert not checkpoints(store)
    assert gone(steps)
    last = events(tmp_path / "events.jsonl")[-1]
    assert (last["kind"], last["interrupted"]) == ("failed", True)
    assert len(checkpoints(store)) == 1


def test_the_processes_of_a_killed_step_save_and_end(store: Store, tmp_path: Path) -> None:
    step = started(store, tmp_path, [], processes=2)
    workers = psutil.Process(step.pid).children(recursive=True)
    assert len(workers) >= 2
    step.kill()
    step.wait()
    assert not checkpoints(store)
    assert gone(workers)
    assert len(checkpoints(store)) == 1
