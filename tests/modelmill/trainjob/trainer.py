"""Kubeflow Trainer and a kubelet as a test plays them: the pods of TrainJobs are processes of this machine.

What Trainer's torch policy tells its pods (PET_*), and what becomes of a pod that ends or is deleted, is as in
kubeflow/trainer v2.3 (pkg/runtime/framework/plugins/torch). Every node is this machine.
"""

import base64
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import psutil

from tests.kubernetes_standin import Cluster, Object
from tests.modelmill.trainjob.played import condition, ended, node_pod, running
from tests.servers import free_ports


@dataclass
class Trainer:
    """Runs the pods of the TrainJobs of a cluster."""

    cluster: Cluster
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    """By the name of the pod; those that have ended stay until their pods are removed."""
    _readers: dict[str, threading.Thread] = field(default_factory=dict)
    _begun: set[str] = field(default_factory=set)
    _stopped: set[int] = field(default_factory=set)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Do what there is to do, until it is over."""
        while not self.over.wait(0.05):
            for job in self.cluster.all("trainjobs"):
                if job["metadata"]["uid"] not in self._begun and "deletionTimestamp" not in job["metadata"]:
                    self._begun.add(job["metadata"]["uid"])
                    self._begin(job)
            for pod in self.cluster.all("pods"):
                if pod["metadata"]["name"] in self.processes:
                    self._mind(pod)
            for job in self.cluster.all("trainjobs"):
                self._judge(job)

    def kill(self, number: int) -> None:
        """End a node as a machine's memory that is full does: with all that runs in its container."""
        [name] = [name for name in self.processes if f"-node-0-{number}-" in name]
        first = psutil.Process(self.processes[name].pid)
        for process in (first, *first.children(recursive=True)):
            process.kill()

    def end(self) -> None:
        """Leave no process behind."""
        self.over.set()
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)

    def _begin(self, job: Object) -> None:
        name, trainer = job["metadata"]["name"], job["spec"]["trainer"]
        [port] = free_ports(1)
        for number in range(trainer["numNodes"]):
            told = {
                "PET_NNODES": trainer["numNodes"],
                "PET_NPROC_PER_NODE": trainer["numProcPerNode"],
                "PET_NODE_RANK": number,
                "PET_MASTER_ADDR": "127.0.0.1",
                "PET_MASTER_PORT": port,
            }
            pod = node_pod(name, number, state=running())
            command = [word.replace("$$", "$") for word in trainer["command"]]
            assert command[0] == "python3"
            process = subprocess.Popen(
                [*on_cores(1, number), sys.executable, *command[1:]],
                env={**_own(), **self._environment(trainer["env"]), **{key: str(value) for key, value in told.items()}},
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            made = pod["metadata"]["name"]
            self.processes[made] = process
            self._readers[made] = threading.Thread(target=self._read, args=(made, process))
            self._readers[made].start()
            self.cluster.put("pods", pod)

    def _environment(self, listed: list[Object]) -> dict[str, str]:
        made = {}
        for entry in listed:
            source = entry.get("valueFrom", {}).get("secretKeyRef")
            if source is None:
                made[entry["name"]] = entry["value"]
                continue
            secret = self.cluster.get("secrets", source["name"])
            if secret is not None:
                made[entry["name"]] = base64.b64decode(secret["data"][source["key"]]).decode()
            else:
                assert source.get("optional"), source
        return made

    def _read(self, pod: str, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with process.stdout as said:
            for line in said:
                self.cluster.say(pod, line.rstrip("\n"))
        self.cluster.say(pod, ended=True)

    def _mind(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        process = self.processes[name]
        code = process.poll()
        if code is None:
            if "deletionTimestamp" in pod["metadata"] and process.pid not in self._stopped:
                self._stopped.add(process.pid)
                # To the first process of a container alone.
                process.send_signal(signal.SIGTERM)
            return
        self._readers[name].join()
        status = node_pod("any", 0, state=ended(code if code >= 0 else 128 - code))["status"]
        if "terminated" not in pod["status"]["containerStatuses"][0]["state"]:
            self.cluster.change("pods", name, status=status)
        elif "deletionTimestamp" in pod["metadata"]:
            del self.processes[name]
            self.cluster.remove("pods", name)

    def _judge(self, job: Object) -> None:
        states = [pod["status"]["containerStatuses"][0]["state"] for pod in self.cluster.pods_of(job)]
        codes = [state["terminated"]["exitCode"] for state in states if "terminated" in state]
        if "status" in job or "deletionTimestamp" in job["metadata"]:
            return
        if any(codes):
            said = "jobset failed due to one or more job failures"
            self.cluster.change("trainjobs", job["metadata"]["name"], status=condition("Failed", "FailedJobs", said))
        elif len(codes) == job["spec"]["trainer"]["numNodes"]:
            self.cluster.change("trainjobs", job["metadata"]["name"], status=condition("Complete", "AllJobsCompleted"))


def on_cores(count: int, number: int = 0) -> list[str]:
    """Return what goes before a command that is to have so many cores: sums come out alike on as many threads."""
    cores = sorted(os.sched_getaffinity(0))
    mine = {cores[(number + each) % len(cores)] for each in range(count)}
    return ["taskset", "--cpu-list", ",".join(map(str, sorted(mine)))]


def _own() -> dict[str, str]:
    """The environment of an image."""
    left = ("MODELMILL_", "MLFLOW_", "AWS_", "KUBE", "PET_", "RANK", "WORLD_SIZE", "LOCAL_")
    return {key: value for key, value in os.environ.items() if not key.startswith(left)}


@contextlib.contextmanager
def trainer(cluster: Cluster) -> Iterator[Trainer]:
    """Play Trainer in a cluster while the block lasts."""
    made = Trainer(cluster)
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        yield made
    finally:
        made.over.set()
        thread.join()
        made.end()
        for reader in made._readers.values():
            reader.join()
