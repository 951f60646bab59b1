"""Steps on two nodes, started as the graph starts them: the pods of their TrainJobs are real processes that train."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelmill.store import open_store
from tests import samples
from tests.kubernetes_standin import Cluster, kubernetes
from tests.modelmill.trainjob.played import step_pod
from tests.modelmill.trainjob.trainer import Trainer, on_cores, trainer

SETTINGS: dict[str, Any] = {
    "task": "text-classification",
    "model": {"layers": 2, "width": 16, "heads": 2},
    "max_tokens": 16,
    "epochs": 3,
    "dropout": 0.0,
    "precision": "fp32",
    "checkpoint_steps": 5,
    "batch_rows": 32,
}
MARKER = "marker-of-a-secret-3f9a"
KIND = {"nodes": 2, "cpu": "1", "memory": "2Gi"}


@dataclass
class Site:
    """A folder with a store and an MLflow, and a cluster whose pods use them."""

    folder: Path
    cluster: Cluster
    trainer: Trainer
    labelled: str

    def start(self, name: str, *, nodes: bool = True, **changes: Any) -> "Started":
        """Start the step finetune, on two nodes or as two processes here."""
        told = {
            "MODELMILL_STORE": str(self.folder / "store"),
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.folder / 'mlflow.db'}",
        }
        settings = json.dumps({**SETTINGS, **changes, **({} if nodes else {"processes": 2})})
        # The same name for all: which of them it is decides nothing.
        command = [*on_cores(2), sys.executable, "-m", "components.finetune", "--settings", settings]
        command += ["--labelled", self.labelled, "--step", "finetune"]
        if nodes:
            pod = f"run-1-{name}"
            told["MODELMILL_NODE"] = json.dumps(KIND)
            self.cluster.put("pods", step_pod(pod, **told))
            kubeconfig = str(self.cluster.kubeconfig(self.folder))
            told |= {"MODELMILL_POD": pod, "MODELMILL_NAMESPACE": self.cluster.namespace, "KUBECONFIG": kubeconfig}
            outputs = {"outputs": {"outputFile": str(self.folder / f"{name}.json"), "artifacts": {}}}
            command += ["--executor-input", json.dumps(outputs)]
        own = {"MODELMILL_RUN": "run-1", "MODELMILL_EVENTS": str(self.folder / f"{name}.jsonl")}
        secret = {"AWS_SECRET_ACCESS_KEY": MARKER}
        environment = {**os.environ, **told, **own, **secret}
        with (self.folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=log)
        return Started(self, name, process)

    def saved(self) -> int:
        """The last step whose checkpoint is in the store."""
        keys = open_store(str(self.folder / "store")).keys("checkpoints/")
        names = [key.rpartition("/step-")[2].removesuffix(".json") for key in keys if "/step-" in key]
        return max(map(int, names), default=0)


@dataclass
class Started:
    """One start of the step."""

    site: Site
    name: str
    process: "subprocess.Popen[str]"

    def log(self) -> str:
        return (self.site.folder / f"{self.name}.log").read_text()

    def wait_for_checkpoint(self, after: int) -> None:
        deadline = time.monotonic() + 240
        while self.site.saved() <= after:
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def ended(self) -> int:
        self.said, _ = self.process.communicate(timeout=240)
        return self.process.returncode

    def told(self, kind: str) -> list[dict[str, Any]]:
        lines = (self.site.folder / f"{self.name}.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["kind"] == kind]


@contextmanager
def a_site(folder: Path) -> Iterator[Site]:
    folder.mkdir()
    labelled = samples.tokens(open_store(str(folder / "store")), folder).labelled
    with kubernetes() as cluster:
        data = {"secret_key": base64.b64encode(MARKER.encode()).decode()}
        cluster.put("secrets", {"metadata": {"name": "modelmill-s3"}, "data": data})
        with trainer(cluster) as playing:
            yield Site(folder, cluster, playing, labelled)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with a_site(tmp_path / "site") as made:
        yield made


@pytest.mark.slow
def test_two_nodes_learn_the_very_model_that_two_processes_of_one_node_do(site: Site, tmp_path: Path) -> None:
    step = site.start("nodes")
    assert step.ended() == 0, step.log()
    made = json.loads(step.said.splitlines()[-1])
    written = json.loads((site.folder / "nodes.json").read_text())["parameterValues"]
    assert written["tuned"] == made["tuned"]
    assert step.told("done")[0]["outputs"] == {"tuned": made["tuned"]}
    assert "checkpoint after step" in step.log(), "the first node's log did not come through"
    requests = json.dumps(site.cluster.requests)
    assert "modelmill-s3" in requests
    assert MARKER not in requests + step.log() + json.dumps(site.cluster.all("trainjobs"))
    with a_site(tmp_path / "other") as other:
        alone = other.start("alone", nodes=False)
        assert alone.ended() == 0, alone.log()
        assert json.loads(alone.said.splitlines()[-1])["tuned"] == made["tuned"]


@pytest.mark.slow
def test_a_training_goes_on_after_a_dead_node_a_dead_step_and_a_wish_to_stop(site: Site) -> None:
    changes: dict[str, Any] = {"epochs": 60, "checkpoint_steps": 10}
    killed = site.start("killed", **changes)
    killed.wait_for_checkpoint(0)
    site.trainer.kill(1)
    assert killed.ended() == 1
    said = killed.told("failed")[-1]["message"]
    assert said.startswith("finetune: node 2 of 2: ended by SIGKILL (exit code 137)"), killed.log()
    assert site.cluster.all("trainjobs") == []
    at = site.saved()
    assert at > 0
    # Its end comes without a word: the TrainJob trains on.
    dead = site.start("dead", **changes)
    dead.wait_for_checkpoint(at)
    [job] = site.cluster.all("trainjobs")
    dead.process.kill()
    dead.process.communicate()
    stopped = site.start("stopped", **changes)
    site.cluster.wait_for(lambda: "goes on: 2 nodes" in stopped.log() or stopped.process.poll() is not None)
    assert [each["metadata"]["uid"] for each in site.cluster.all("trainjobs")] == [job["metadata"]["uid"]]
    stopped.wait_for_checkpoint(site.saved())
    before = time.monotonic()
    stopped.process.send_signal(signal.SIGTERM)
    assert stopped.ended() == 1
    assert time.monotonic() - before < 30
    failed = stopped.told("failed")[-1]
    assert failed["interrupted"]
    assert failed["message"] == "finetune: stopped by SIGTERM; run again to go on"
    assert site.cluster.all("trainjobs") == []
    assert site.trainer.processes == {}
    assert "stopping" in stopped.log(), "the pods were not told to stop"
    at = site.saved()
    last = site.start("last", **changes)
    assert last.ended() == 0, last.log()
    assert f"step {at}" in last.log() or site.saved() > at
    assert json.loads(last.said.splitlines()[-1])["tuned"].startswith("models/")
