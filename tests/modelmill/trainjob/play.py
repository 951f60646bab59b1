"""A cluster that a test plays, and the steps that wait in it."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from modelmill.command import Result
from modelmill.errors import ModelmillError
from modelmill.store import Store
from modelmill.trainjob.client import Api
from modelmill.trainjob.job import Stop, Times, TrainJob
from modelmill.trainjob.spec import Asked
from modelmill.trainjob.wait import Wait
from tests.kubernetes_standin import Cluster, Object
from tests.modelmill.trainjob.played import asked, node_pod, running

QUICK = Times(poll=0.05, away=2, gone=2, leave=2, settle=0.2, result=0.3, log=1, hurry=0.1, quiet=0.05)
MADE = Result(outputs={"model": "models/some.json"}, summary={"loss": 1.5}, metadata={"model": {"loss": 1.5}})


@dataclass
class Play:
    """A cluster, and steps that wait in it."""

    cluster: Cluster
    store: Store
    threads: ThreadPoolExecutor
    stop: Stop = field(default_factory=Stop)

    def wait(self, wanted: Asked | None = None, times: Times = QUICK) -> "Future[Result]":
        """Start a step that waits, in a thread."""
        api = Api(client=self.cluster.client(), namespace=self.cluster.namespace)
        job = TrainJob(api=api, asked=wanted or asked(), stop=self.stop, times=times)
        pod = self.cluster.get("pods", "run-1-pretrain")
        assert pod is not None
        return self.threads.submit(Wait(job=job, store=self.store).run, pod)

    def job(self, name: str = "") -> Object:
        """The TrainJob, once it is there."""
        name = name or asked().name
        self.cluster.wait_for(lambda: self.cluster.get("trainjobs", name))
        found = self.cluster.get("trainjobs", name)
        assert found is not None
        return found

    def nodes(self, **second: Any) -> None:
        """Let both nodes run; the second may be otherwise."""
        self.job()
        self.cluster.put("pods", node_pod(asked().name, 0, state=running()))
        self.cluster.put("pods", node_pod(asked().name, 1, **(second or {"state": running()})))

    def clear(self) -> None:
        """End the pods of a TrainJob that is being deleted."""
        name = asked().name
        self.cluster.wait_for(lambda: "deletionTimestamp" in self.job()["metadata"])
        for pod in self.cluster.pods_of(self.job()):
            self.cluster.remove("pods", pod["metadata"]["name"])
        self.cluster.wait_for(lambda: self.cluster.get("trainjobs", name) is None)

    def asked_for(self, method: str, word: str) -> int:
        return sum(1 for sort, path, _ in self.cluster.requests if sort == method and word in path)


def refused(future: "Future[Result]") -> str:
    """The sentence that a step failed with."""
    with pytest.raises(ModelmillError) as error:
        future.result(60)
    return str(error.value)
