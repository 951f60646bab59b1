"""Why a TrainJob failed, in one sentence: of all its nodes the one that failed first, not those that lost it."""

import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelmill.trainjob.client import Object
from modelmill.trainjob.seen import Seen, container, number
from modelmill.trainjob.spec import CONTAINER, Asked

GOES_ON = "the same command goes on from the last checkpoint"
# What a step's own command says last (modelmill.command).
_OWN = re.compile(r" ERROR modelmill: (.+)$")
# What NCCL, gloo and torch's rendezvous say of a process that does not answer, and of one that is gone.
_TIMED_OUT = re.compile(
    r"collective operation timeout|Watchdog caught|NCCL.*tim(ed|e)[ -]?out|gloo.*tim(ed|e)[ -]?out"
    r"|Timed out waiting \d+ ?ms|waiting for clients|RendezvousTimeoutError|Socket Timeout|DistNetworkError",
    re.IGNORECASE,
)
_LOST = re.compile(
    r"Connection (closed|reset|refused) by peer|Broken pipe|nccl(Remote|System|Internal|UnhandledCuda)Error"
    r"|NCCL (error|communicator was aborted)|DistStoreError|DistBackendError|Application timeout caused pair closure",
    re.IGNORECASE,
)
_LINE_CHARACTERS = 300


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What a person is told."""

    sentence: str
    exit_code: int


@dataclass(frozen=True, kw_only=True, order=True)
class _Cause:
    """Why one node failed; the least is the one that made the others fail."""

    rank: int
    at: str
    sentence: str
    exit_code: int = 1


def broken(seen: Seen) -> list[Object]:
    """Return the pods that have failed; also one whose container was started again, for its training was lost."""
    return [pod for pod in seen.pods if _ended(pod) or pod.get("status", {}).get("phase") == "Failed"]


def failure(asked: Asked, seen: Seen, tails: Mapping[str, Sequence[str]]) -> Failure:
    """Return why a TrainJob failed; `tails` are the last lines of its broken pods' logs, by name."""
    over = seen.condition("Failed") or {}
    if over.get("reason") == "DeadlineExceeded":
        limit = f"took longer than the time limit of its kind of node, {asked.kind.time_limit}"
        return Failure(sentence=f"TrainJob {asked.name} {limit}; {GOES_ON}", exit_code=1)
    causes = [_cause(asked, pod, tails.get(pod["metadata"]["name"], ())) for pod in broken(seen)]
    if causes:
        least = min(causes)
        return Failure(sentence=least.sentence, exit_code=least.exit_code)
    said = over.get("message") or over.get("reason") or "nothing is known of its pods"
    return Failure(sentence=f"TrainJob {asked.name} failed: {said}; {GOES_ON}", exit_code=1)


def ended_at(pod: Mapping[str, Any]) -> str:
    """Return when a pod failed, as Kubernetes writes it; one that is not known to have comes after all others."""
    return str(_ended(pod).get("finishedAt") or "~")


def _ended(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how a container failed, now or before it was started again; nothing where it did not."""
    for when in ("state", "lastState"):
        found: Mapping[str, Any] = container(pod).get(when, {}).get("terminated") or {}
        if found.get("exitCode"):
            return found
    return {}


def _cause(asked: Asked, pod: Mapping[str, Any], tail: Sequence[str]) -> _Cause:
    ended = _ended(pod)
    own = next((found[1] for line in reversed(tail) if (found := _OWN.search(line))), "")
    own = own.removeprefix(f"{asked.step}: ")
    refused = ended.get("exitCode") == 2 and own != ""
    rank, sentence = (1, own) if refused else _told_by_kubernetes(pod, ended) or _told_by_log(own, tail, ended)
    return _Cause(
        rank=rank,
        at=ended_at(pod),
        sentence=f"node {number(pod) + 1} of {asked.kind.nodes}: {sentence}",
        exit_code=2 if refused else 1,
    )


def _told_by_kubernetes(pod: Mapping[str, Any], ended: Mapping[str, Any]) -> tuple[int, str] | None:
    """Return what a pod's status says of its end, and how far that is a cause."""
    status, code = pod.get("status", {}), int(ended.get("exitCode") or 0)
    if ended.get("reason") == "OOMKilled":
        limit = _memory(pod)
        most = f" of the {limit} that it may have" if limit else ""
        return 0, f"out of memory{most} (OOMKilled); raise `memory` of its kind of node; {GOES_ON}"
    if status.get("reason"):
        said = f"{status['reason']}: {status.get('message', '')}".strip(": ")
        return 2, f"its pod was ended by the cluster ({said}); {GOES_ON}"
    if code == 128 + signal.SIGBUS:
        return 2, f"ended by SIGBUS: is /dev/shm full? raise `shared_memory` of its kind of node; {GOES_ON}"
    if code in {128 + signal.SIGKILL, 128 + signal.SIGSEGV}:
        word = signal.Signals(code - 128).name
        return 2, f"ended by {word} (exit code {code}); is the machine's memory full? {GOES_ON}"
    return None


def _told_by_log(own: str, tail: Sequence[str], ended: Mapping[str, Any]) -> tuple[int, str]:
    """Return what a log says of a pod's end, and how far that is a cause; `own` is our command's last word."""
    if "stopped by SIG" in own:
        return 5, f"{own} (was its pod deleted?)"
    way_out = "may the pods reach each other, and is NCCL_SOCKET_IFNAME of the kind's `environment` right?"
    for rank, words, what in (
        (6, _TIMED_OUT, "waited in vain for the others (a time-out of NCCL, gloo or the rendezvous)"),
        (7, _LOST, "lost its connection to another node"),
    ):
        found = next((line for line in (own, *reversed(tail)) if words.search(line)), "")
        if found:
            return rank, f"{what}: {found.strip()[:_LINE_CHARACTERS]}; {way_out} {GOES_ON}"
    if own:
        return 3, own
    last = next((line.strip() for line in reversed(tail) if line.strip()), "its log is empty")
    return 4, f"ended with exit code {ended.get('exitCode', 1)}: {last[:_LINE_CHARACTERS]}; {GOES_ON}"


def _memory(pod: Mapping[str, Any]) -> str:
    for one in pod["spec"]["containers"]:
        if one["name"] == CONTAINER:
            return str(one.get("resources", {}).get("limits", {}).get("memory", ""))
    return ""
