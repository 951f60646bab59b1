"""What a step makes of its kind of node: processes here, nodes elsewhere, or a sentence where there is less."""

import json
from pathlib import Path

import pytest

from components.finetune.settings import FinetuneSettings
from modelmill.errors import ModelmillError, UserError
from modelmill.events import Events
from modelmill.profile import NodeKind
from modelmill.training.launch import _asked, launch
from modelmill.trainjob.here import place

SETTINGS = FinetuneSettings.model_validate({"task": "text-classification"})
EVENTS = Events(step="finetune", path=None)
COMMAND = ["--settings", "{}", "--labelled", "datasets/a.json", "--executor-input={}", "--where", "x", "--step", "tune"]


def test_a_pod_with_fewer_devices_than_its_kind_promises_is_told_with_both_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # More than any machine that runs this has.
    kind = {"device": "nvidia.com/gpu", "count": 64}
    monkeypatch.setenv("MODELMILL_NODE", json.dumps(kind))
    with pytest.raises(UserError, match=r"this pod has \d+ GPUs, and its kind of node promises 64 of nvidia.com/gpu"):
        launch("finetune", SETTINGS, [], EVENTS)


def test_a_kind_without_devices_trains_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELMILL_NODE", json.dumps({"cpu": "2"}))
    if not Path("/dev/nvidiactl").exists():
        assert launch("finetune", SETTINGS, [], EVENTS) is None
    monkeypatch.setenv("MODELMILL_NODE", '{"cpus": 2}')
    with pytest.raises(UserError, match="MODELMILL_NODE is no kind of node"):
        launch("finetune", SETTINGS, [], EVENTS)


def test_a_step_outside_of_a_cluster_says_that_nodes_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELMILL_NODE", json.dumps({"nodes": 2}))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ModelmillError, match=r"^finetune: Kubernetes cannot be asked for nodes: .* in a cluster"):
        launch("finetune", SETTINGS, COMMAND, EVENTS)


def test_a_runtime_that_is_not_for_torch_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place() is None
    monkeypatch.setenv("MODELMILL_TRAINJOB", "some")
    with pytest.raises(ModelmillError, match="TrainJob some: its runtime does not tell its pods how to meet"):
        place()
    for name, value in {"NNODES": "2", "NPROC_PER_NODE": "4", "NODE_RANK": "1"}.items():
        monkeypatch.setenv(f"PET_{name}", value)
    monkeypatch.setenv("PET_MASTER_ADDR", "some-node-0-0.some")
    monkeypatch.setenv("PET_MASTER_PORT", "29500")
    found = place()
    assert found is not None
    assert (found.nodes, found.processes, found.number, found.meets) == (2, 4, 1, "some-node-0-0.some:29500")


def test_a_job_runs_this_very_command_and_is_told_apart_by_what_decides_its_outcome() -> None:
    kind = NodeKind.model_validate({"nodes": 2})
    made = _asked("finetune", SETTINGS, COMMAND, "tune", kind)
    told = ["--settings", "{}", "--labelled", "datasets/a.json", "--where", "x", "--step", "tune"]
    assert made.command == ("python3", "-m", "components.finetune", *told)
    assert made.processes == 1
    shared = FinetuneSettings.model_validate({"task": "text-classification", "processes": 3, "shard": True})
    other = _asked("finetune", shared, [*COMMAND[:-1], "other"], "other", kind)
    assert (other.key, other.processes) == (made.key, 3)
    assert _asked("finetune", SETTINGS, ["--labelled", "datasets/b.json"], "tune", kind).key != made.key
