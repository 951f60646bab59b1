"""A step whose starter is gone without a word, as Kubeflow Pipelines' launcher goes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

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


def test_a_training_whose_launcher_is_killed_saves_and_ends(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    corpus = samples.tokens(store, tmp_path).corpus
    # Of itself it would save nothing in this time.
    settings = PretrainSettings(
        model=Architecture(layers=1, width=32, heads=2), steps=100_000, batch_rows=16, max_tokens=16,
        checkpoint_seconds=3600,
    )  # fmt: skip
    said = tmp_path / "events.jsonl"
    env = {
        **os.environ, "PYTHONPATH": str(ROOT), "MODELMILL_STORE": store.uri, "MODELMILL_POD": "a-pod",
        EVENTS_VARIABLE: str(said),
    }  # fmt: skip
    step = [sys.executable, "-m", "components.pretrain", "--settings", settings.model_dump_json(), "--corpus", corpus]
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, *step], env=env, cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    while not any(event.get("done", 0) > 20 for event in events(said)):
        assert launcher.poll() is None
        time.sleep(0.1)
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    assert not checkpoints(store)
    end = time.monotonic() + 60
    while events(said)[-1]["kind"] != "failed":
        assert time.monotonic() < end
        time.sleep(0.1)
    assert events(said)[-1]["interrupted"]
    assert len(checkpoints(store)) == 1
