"""Every way in which a TrainJob does not train is one sentence that says which node, what, and the way out."""

from typing import Any

import pytest

from modelmill.trainjob.failures import GOES_ON, broken, failure
from modelmill.trainjob.seen import Hindrance, Seen, hindrance
from tests.kubernetes_cluster import Object
from tests.modelmill.trainjob.played import GPUS, asked, condition, ended, node_pod, running, unplaced, waits

JOB = asked(GPUS).name
NO_GPU = (
    "0/5 nodes are available: 2 Insufficient cpu, 5 Insufficient nvidia.com/gpu. preemption: 0/5 nodes are available."
)
LOG = "2026-01-01 00:00:00,000 ERROR modelmill: "


def seen(*pods: Object, status: Object | None = None, suspend: bool = False, events: tuple[Object, ...] = ()) -> Seen:
    job = {"metadata": {"name": JOB}, "spec": {"suspend": suspend}, "status": status or {}}
    return Seen(job=job, pods=pods, events=events)


def hindered(*pods: Object, **more: Any) -> Hindrance:
    found = hindrance(asked(GPUS), seen(*pods, **more))
    assert found is not None
    return found


def told(*pods: Object, status: Object | None = None, **tails: list[str]) -> tuple[str, int]:
    """The sentence, and the exit code; logs are named by the numbers of their nodes."""
    logs = {f"{JOB}-node-0-{name.removeprefix('node')}-abcde": lines for name, lines in tails.items()}
    found = failure(asked(GPUS), seen(*pods, status=status), logs)
    return found.sentence, found.exit_code


@pytest.mark.parametrize(
    ("reason", "message", "words", "seconds"),
    [
        ("ImagePullBackOff", 'Back-off pulling image "some"', "node 2 of 2 cannot pull some: Back-off pulling", 300),
        ("ErrImagePull", "unauthorized", "`image_pull_secrets`", 300),
        ("InvalidImageName", "", "'some' is no name of an image", 0),
        ("CreateContainerConfigError", 'secret "modelmill-s3" not found', 'secret "modelmill-s3" not found', 120),
    ],
)
def test_a_container_that_does_not_start_says_why(reason: str, message: str, words: str, seconds: float) -> None:
    found = hindered(node_pod(JOB, 0, state=running()), node_pod(JOB, 1, state=waits(reason, message)))
    assert words in found.sentence
    assert found.seconds == seconds


def test_a_pod_that_no_machine_takes_says_what_is_short_and_waits_as_long_as_it_may() -> None:
    found = hindered(node_pod(JOB, 0, **unplaced(NO_GPU)))
    assert found.sentence.startswith("node 1 of 2 waits for a machine: too little cpu and nvidia.com/gpu is free (0/5")
    assert found.seconds is None
    other = hindered(
        node_pod(JOB, 0, **unplaced("0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."))
    )
    assert "no node has the labels {'nvidia.com/gpu.product': 'NVIDIA-L4'}" in other.sentence
    tainted = hindered(node_pod(JOB, 0, **unplaced("0/3 nodes are available: 3 node(s) had untolerated taint {a: b}.")))
    assert "taints that the kind does not tolerate" in tainted.sentence
    gated = hindered(node_pod(JOB, 0, **unplaced("gated", "SchedulingGated")))
    assert gated.sentence == "node 1 of 2 waits for its turn in the queue large-gpu"


def test_a_job_in_a_queue_says_in_which() -> None:
    assert hindered(suspend=True).sentence == "waits in the queue large-gpu for its turn"
    assert "does Trainer's controller run?" in hindered().sentence
    assert hindrance(asked(GPUS), seen(*(node_pod(JOB, number, state=running()) for number in (0, 1)))) is None


@pytest.mark.parametrize(("limit", "seconds"), [("4", 0), ("8", None)])
def test_a_quota_that_is_used_up_is_waited_for_and_one_that_is_too_small_is_not(
    limit: str, seconds: float | None
) -> None:
    said = (
        f'Error creating: pods "x" is forbidden: exceeded quota: gpus, requested: requests.memory=64Gi,'
        f"requests.nvidia.com/gpu=8, used: requests.memory=64Gi,requests.nvidia.com/gpu={limit}, "
        f"limited: requests.memory=1Ti,requests.nvidia.com/gpu={limit}"
    )
    found = hindered(events=({"reason": "FailedCreate", "message": said},))
    assert "the namespace's quota refuses its pods" in found.sentence
    assert ("4 requests.nvidia.com/gpu at most, so that it will never do" in found.sentence) == (limit == "4")
    assert found.seconds == seconds


def test_what_trainer_cannot_make_is_told() -> None:
    event = {
        "reason": "TrainJobResourcesCreationFailed",
        "message": "TrainJob resources reconciliation failed: no match",
    }
    assert "Kubeflow Trainer cannot make its JobSet: TrainJob resources" in hindered(events=(event,)).sentence
    event = {"reason": "FailedCreate", "message": 'pods "x" is forbidden: violates PodSecurity "restricted"'}
    assert "its pods cannot be made" in hindered(events=(event,)).sentence


def test_the_node_that_ran_out_of_memory_is_the_cause_and_not_the_one_that_lost_it() -> None:
    lost = node_pod(JOB, 0, state=ended(1, at="2026-01-01T00:00:00Z"))
    killed = node_pod(JOB, 1, state=ended(137, "OOMKilled", at="2026-01-01T00:00:05Z"))
    said = [f"{LOG}pretrain: RuntimeError: [gloo/tcp/pair.cc] Connection closed by peer [10.0.0.3]:1"]
    sentence = "out of memory of the 16Gi that it may have (OOMKilled); raise `memory` of its kind of node"
    assert told(lost, killed, node0=said, node1=[]) == (f"node 2 of 2: {sentence}; {GOES_ON}", 1)


@pytest.mark.parametrize(
    ("code", "words"),
    [(137, "SIGKILL (exit code 137); is the machine's memory full"), (135, "/dev/shm full"), (139, "SIGSEGV")],
)
def test_a_signal_is_told_by_its_name(code: int, words: str) -> None:
    assert words in told(node_pod(JOB, 1, state=ended(code)))[0]


def test_a_container_that_was_started_again_has_failed() -> None:
    again = node_pod(JOB, 1, state=running(), last=ended(137, "OOMKilled"))
    assert broken(seen(node_pod(JOB, 0, state=running()), again)) == [again]
    assert broken(seen(node_pod(JOB, 0, state=ended(0)))) == []


@pytest.mark.parametrize(
    "line",
    [
        "[E ProcessGroupNCCL.cpp:616] [Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=3)",
        f"{LOG}pretrain: RuntimeError: [../gloo/unbound_buffer.cc:81] Timed out waiting 1800000ms for recv",
        "torch.distributed.DistStoreError: Timed out after 901 seconds waiting for clients. 1/2 clients joined.",
    ],
)
def test_processes_that_wait_in_vain_are_told_by_what_the_log_says(line: str) -> None:
    sentence, code = told(node_pod(JOB, 0, state=ended(1)), node0=["before", line, "after"])
    assert code == 1
    assert sentence.startswith(
        "node 1 of 2: waited in vain for the others (a time-out of NCCL, gloo or the rendezvous): "
    )
    assert "NCCL_SOCKET_IFNAME" in sentence


def test_what_the_command_itself_said_is_told_with_its_exit_code() -> None:
    said = [f"{LOG}pretrain: lr: too high", "Traceback of torchrun"]
    assert told(node_pod(JOB, 0, state=ended(2)), node0=said) == ("node 1 of 2: lr: too high", 2)
    assert told(node_pod(JOB, 0, state=ended(1)), node0=said) == ("node 1 of 2: lr: too high", 1)
    assert "ended with exit code 1: last words;" in told(node_pod(JOB, 0, state=ended(1)), node0=["last words"])[0]
    assert "its log is empty" in told(node_pod(JOB, 0, state=ended(1)))[0]


def test_a_node_that_was_asked_to_stop_is_the_cause_where_nothing_else_is() -> None:
    stopped = node_pod(JOB, 0, state=ended(1))
    said = [f"{LOG}pretrain: stopped by SIGTERM; run again to go on"]
    assert told(stopped, node0=said)[0] == "node 1 of 2: stopped by SIGTERM; run again to go on (was its pod deleted?)"
    evicted = node_pod(JOB, 1, phase="Failed", reason="Evicted", message="The node was low on resource: memory.")
    sentence = told(stopped, evicted, node0=said)[0]
    assert sentence.startswith("node 2 of 2: its pod was ended by the cluster (Evicted: The node was low on resource")


def test_a_job_that_took_too_long_or_failed_without_a_pod_says_so() -> None:
    assert (
        "took longer than the time limit of its kind of node, 12h"
        in told(status=condition("Failed", "DeadlineExceeded"))[0]
    )
    assert f"TrainJob {JOB} failed: jobset failed" in told(status=condition("Failed", "FailedJobs", "jobset failed"))[0]
