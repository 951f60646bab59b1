"""A step that trains in several processes, started as the graph starts it, killed and asked to stop."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors.torch import load_file

from components.finetune.run import run
from components.finetune.settings import FinetuneSettings
from modelmill.models.folder import fetch_model
from modelmill.store import open_store
from tests import samples

SETTINGS: dict[str, Any] = {
    "task": "text-classification",
    "model": {"layers": 2, "width": 16, "heads": 2},
    "max_tokens": 16,
    "epochs": 6,
    "dropout": 0.0,
    "precision": "fp32",
    "checkpoint_steps": 3,
    "batch_rows": 32,
}


class Started:
    """One run of the step finetune."""

    def __init__(self, folder: Path, labelled: str, name: str, **changes: Any) -> None:
        self.events = folder / f"{name}.jsonl"
        settings = json.dumps({**SETTINGS, **changes})
        # The same name for all: which it is decides nothing.
        told = ["--settings", settings, "--labelled", labelled, "--step", "finetune"]
        environment = {
            **os.environ,
            "MODELMILL_STORE": str(folder / "store"),
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
            "MODELMILL_EVENTS": str(self.events),
        }
        command = [sys.executable, "-m", "components.finetune", *told]
        self.process = subprocess.Popen(
            command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def told(self, kind: str) -> list[dict[str, Any]]:
        lines = self.events.read_text().splitlines() if self.events.exists() else []
        return [event for event in map(json.loads, lines) if event["kind"] == kind]

    def wait_for_step(self, number: int) -> None:
        deadline = time.monotonic() + 240
        while not [event for event in self.told("progress") if event["unit"] == "steps" and event["done"] >= number]:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def children(self) -> dict[int, psutil.Process]:
        """The processes that train, by rank."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        return {int(child.environ()["RANK"]): child for child in found if "RANK" in child.environ()}

    def ended(self) -> tuple[int, str]:
        said, log = self.process.communicate(timeout=240)
        return self.process.returncode, said or log


def learned_alone(folder: Path, labelled: str) -> dict[str, torch.Tensor]:
    """The weights that the step ends with in this process."""
    step = samples.step_of(open_store(str(folder / "store")), folder, "alone")
    made = run(step, FinetuneSettings.model_validate(SETTINGS), labelled, "", "")
    fetch_model(step.store, made.model, folder / "model")
    return dict(load_file(folder / "model" / "model.safetensors"))


def test_processes_that_are_killed_and_stopped_go_on_to_what_one_process_learns(tmp_path: Path) -> None:
    several, alone = tmp_path / "several", tmp_path / "alone"
    labelled = samples.tokens(open_store(str(several / "store")), several).labelled
    assert samples.tokens(open_store(str(alone / "store")), alone).labelled == labelled
    killed = Started(several, labelled, "killed", processes=2, shard=True)
    killed.wait_for_step(8)
    killed.children()[1].send_signal(signal.SIGKILL)
    code, _ = killed.ended()
    assert code == 1
    assert killed.told("failed")[-1]["message"].startswith("finetune: process 2 of 2 was ended by SIGKILL; ")
    stopped = Started(several, labelled, "stopped", processes=2)
    stopped.wait_for_step(16)
    stopped.process.send_signal(signal.SIGTERM)
    assert stopped.ended()[0] == 1
    assert stopped.told("failed")[-1]["interrupted"]
    at = stopped.told("progress")[0]["done"]
    assert at >= 6, "the second run began anew"
    weights = learned_alone(several, labelled)
    assert [len(run.told("done")) for run in (killed, stopped)] == [0, 0]
    assert samples.figures(several / "alone.jsonl")[0]["at"] > 16, "the last run began anew"
    for name, tensor in learned_alone(alone, labelled).items():
        torch.testing.assert_close(weights[name], tensor, atol=1e-4, rtol=1e-3)


def test_what_every_process_refuses_is_the_users_to_mend_and_said_once(tmp_path: Path) -> None:
    labelled = samples.tokens(open_store(str(tmp_path / "store")), tmp_path).labelled
    refused = Started(tmp_path, labelled, "refused", processes=2, best="nothing")
    code, _ = refused.ended()
    assert code == 2
    assert {event["message"] for event in refused.told("failed")} == {
        "best: 'nothing' is no figure of this task's validation; it has loss, accuracy, or write last"
    }
    divided = Started(tmp_path, labelled, "divided", shard=True)
    assert divided.ended()[0] == 2
    assert "there is 1; set processes" in divided.told("failed")[0]["message"]
