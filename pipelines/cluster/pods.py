"""What Kubernetes knows of a run's pods: why one waits, and what it says. A cluster that is not reached is no error."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from modelmill import kubeconfig
from modelmill.errors import ModelmillError, without_credentials

T = TypeVar("T")

RUN_LABEL = "pipeline/runid"
"""Kubeflow Pipelines' own, on every pod of a run."""
STEP_LABEL = "modelmill/step"
_QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
_MAIN = "main"
_TIMEOUT = (3.0, 15.0)
# After a call that failed the next one is tried no sooner: a wait for a host that is not there stops the drawing.
_REST_SECONDS = 30.0
_NO_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
# ECMA-48's sequences that begin with ESC, and single control characters.
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_STARTING = frozenset({"ContainerCreating", "PodInitializing"})


@dataclass
class Pods:
    """The pods of one namespace, asked through the kubeconfig of this machine, or the service account of this pod."""

    namespace: str
    why_not: str = ""
    """Why the last call brought nothing, '' where it did."""
    _api: Any = field(default=None, repr=False)
    _rest_until: float = field(default=0.0, repr=False)

    def waiting(self, run: str) -> dict[str, str]:
        """Return why steps of a run wait, by step; those that do not, or only start, are left out."""
        causes = {}
        for pod in self._of(run):
            step = (pod.metadata.labels or {}).get(STEP_LABEL, "")
            if step and pod.status.phase == "Pending" and (why := cause(pod) or self._event(pod)):
                causes[step] = why
        return causes

    def failures(self, run: str) -> dict[str, str]:
        """Return what ended the pods of steps from outside, by step: out of memory, evicted."""
        found = {}
        for pod in self._of(run):
            step = (pod.metadata.labels or {}).get(STEP_LABEL, "")
            if step and (why := _ended(pod)):
                found[step] = why
        return found

    def tail(self, run: str, step: str, lines: int) -> list[str]:
        """Return the last lines that a step's newest pod has said, [] where there is none."""
        pod = self._newest(run, step)
        if pod is None:
            return []
        ask = self._ask(lambda api: self._log(api, pod.metadata.name, tail_lines=lines))
        return [plain(line) for line in (ask or "").splitlines()]

    def follow(self, run: str, step: str) -> Iterator[str]:
        """Yield a step's log from its beginning, as it comes, until its pod ends."""
        pod = self._newest(run, step)
        if pod is None:
            return
        stream = self._ask(lambda api: self._log(api, pod.metadata.name, follow=True, _preload_content=False))
        rest = b""
        for chunk in stream.stream(decode_content=True) if stream is not None else ():
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (plain(line.decode(errors="replace")) for line in whole)
        if rest:
            yield plain(rest.decode(errors="replace"))

    def _log(self, api: Any, name: str, **known: Any) -> Any:
        timeout = (_TIMEOUT[0], None) if known.get("follow") else _TIMEOUT
        return api.read_namespaced_pod_log(name, self.namespace, container=_MAIN, _request_timeout=timeout, **known)

    def _newest(self, run: str, step: str) -> Any | None:
        own = [pod for pod in self._of(run) if (pod.metadata.labels or {}).get(STEP_LABEL) == step]
        return max(own, key=lambda pod: pod.metadata.creation_timestamp, default=None)

    def _of(self, run: str) -> list[Any]:
        found = self._ask(
            lambda api: api.list_namespaced_pod(
                self.namespace, label_selector=f"{RUN_LABEL}={run}", _request_timeout=_TIMEOUT
            )
        )
        return list(found.items) if found is not None else []

    def _event(self, pod: Any) -> str:
        """Return the last warning that was given about a pod."""
        found = self._ask(
            lambda api: api.list_namespaced_event(
                self.namespace, field_selector=f"involvedObject.name={pod.metadata.name}", _request_timeout=_TIMEOUT
            )
        )
        warnings = [one for one in (found.items if found is not None else ()) if one.type == "Warning"]
        return _short(warnings[-1].message or warnings[-1].reason or "") if warnings else ""

    def _ask(self, ask: Callable[[Any], T]) -> T | None:
        if time.monotonic() < self._rest_until:
            return None
        try:
            if self._api is None:
                from kubernetes import client

                self._api = client.CoreV1Api(kubeconfig.client())
            answer = ask(self._api)
        except Exception as error:  # noqa: BLE001 - what the client raises is of many kinds, and none is worth a run
            self.why_not = _why(error)
            self._rest_until = time.monotonic() + _REST_SECONDS
            return None
        self.why_not = ""
        return answer


def cause(pod: Any) -> str:
    """Return why a pod waits, as a sentence's end, '' where it only starts."""
    for condition in pod.status.conditions or ():
        if condition.type == "PodScheduled" and condition.status == "False":
            if condition.reason == "SchedulingGated":
                return f"waits in queue {(pod.metadata.labels or {}).get(_QUEUE_LABEL, '(of a scheduling gate)')}"
            return _unschedulable(condition.message or condition.reason or "")
    for container in (*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())):
        waits = container.state.waiting if container.state is not None else None
        if waits is None or waits.reason in _STARTING:
            continue
        if waits.reason in _NO_IMAGE:
            return f"image {container.image} cannot be pulled ({_short(waits.message or waits.reason)})"
        return _short(f"{waits.reason}: {waits.message or ''}".rstrip(": "))
    return ""


def plain(line: str) -> str:
    """Return a line of a log as a terminal may show it: without what would move its cursor, and without credentials."""
    return without_credentials(_CONTROL.sub("", line.expandtabs()))


def _unschedulable(message: str) -> str:
    lacking = list(dict.fromkeys(re.findall(r"Insufficient ([\w./-]+)", message)))
    counts = re.match(r"(\d+/\d+) nodes are available", message)
    parts = [f"not enough {', '.join(one.rstrip('.') for one in lacking)}"] if lacking else []
    if "node affinity" in message or "node selector" in message:
        parts.append("no node has the labels of its kind")
    if "untolerated taint" in message:
        parts.append("nodes have a taint that its kind does not tolerate")
    said = "; ".join(parts) or _short(message)
    return f"unschedulable: {said}" + (f" ({counts[1]} nodes fit)" if counts and parts else "")


def _ended(pod: Any) -> str:
    if pod.status.reason == "Evicted":
        return f"evicted from its node ({_short(pod.status.message or '')})"
    for container in pod.status.container_statuses or ():
        ended = container.state.terminated if container.state is not None else None
        if ended is not None and ended.reason == "OOMKilled":
            return "killed: out of memory; give its kind of node more, or let the step take less"
    return ""


def _why(error: Exception) -> str:
    status = getattr(error, "status", None)
    if status == 403:
        return "Kubernetes gives no right to read pods here"
    why = error if isinstance(error, ModelmillError) else status or type(error).__name__
    return f"Kubernetes is not reached ({why})"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 160 else f"{line[:160]} …"
