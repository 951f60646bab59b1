"""What a waiting step sees of its TrainJob, and what keeps that from training: no machine, no image, no container."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelmill.profile import bytes_of
from modelmill.trainjob.client import Object
from modelmill.trainjob.spec import CONTAINER, INDEX_LABEL, Asked

_IMAGE = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable"}
_SETUP = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CreatePodSandboxError"}
# A registry that is away for a moment, a Secret that is about to be made: no reason to give up yet.
_IMAGE_SECONDS, _SETUP_SECONDS = 300.0, 120.0
# As a ResourceQuota refuses: `requested: requests.nvidia.com/gpu=8, used: requests.nvidia.com/gpu=8, limited: ...=8`.
_AMOUNT = re.compile(r"([\w./-]+)=([0-9.]+)(m|[KMGT]i?|k)?\b")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A TrainJob, its pods and what was told of them, at one moment."""

    job: Object
    pods: Sequence[Object]
    events: Sequence[Object] = ()
    """Warnings about it and what it made."""

    def condition(self, sort: str) -> Mapping[str, Any] | None:
        """Return a condition of the TrainJob that is met: Complete, Failed, Suspended."""
        return _condition(self.job, sort, "True")

    @property
    def nodes(self) -> dict[int, Object]:
        """The newest pod of each node, by its number from 0."""
        made: dict[int, Object] = {}
        for pod in sorted(self.pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", ""))):
            made[number(pod)] = pod
        return made


@dataclass(frozen=True, kw_only=True)
class Hindrance:
    """Why a TrainJob does not train yet."""

    sort: str
    sentence: str
    seconds: float | None = None
    """How long it may last; None: as long as the TrainJob may, for it may end of itself."""


def number(pod: Mapping[str, Any]) -> int:
    """Return which node a pod is, from 0."""
    meta = pod["metadata"]
    for where in ("annotations", "labels"):
        found = (meta.get(where) or {}).get(INDEX_LABEL)
        if found is not None:
            return int(found)
    return 0


def container(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state of the container that trains; nothing where it has none yet."""
    listed = pod.get("status", {}).get("containerStatuses") or ()
    return next((one for one in listed if one["name"] == CONTAINER), {})


def hindrance(asked: Asked, seen: Seen) -> Hindrance | None:
    """Return what a TrainJob waits for; None where it trains, or where nothing is known yet."""
    return next(_hindrances(asked, seen), None)


def _hindrances(asked: Asked, seen: Seen) -> Iterator[Hindrance]:
    for place, pod in sorted(seen.nodes.items()):
        which = f"node {place + 1} of {asked.kind.nodes}"
        found = _not_started(which, pod) or _not_placed(asked, which, pod)
        if found is not None:
            yield found
    yield from _not_made(asked, seen)
    if seen.job["spec"].get("suspend"):
        queue = f"in the queue {asked.kind.queue} " if asked.kind.queue else ""
        yield Hindrance(sort="queue", sentence=f"waits {queue}for its turn")
    elif not seen.pods:
        sentence = "has no pods yet; does Trainer's controller run? kubectl get pods -n kubeflow-system"
        yield Hindrance(sort="controller", sentence=sentence)


def _not_started(which: str, pod: Mapping[str, Any]) -> Hindrance | None:
    state = container(pod).get("state", {}).get("waiting") or {}
    reason, said = state.get("reason", ""), " ".join(str(state.get("message", "")).split())
    image = container(pod).get("image") or "its image"
    if reason == "InvalidImageName":
        return Hindrance(sort="image", sentence=f"{which}: {image!r} is no name of an image", seconds=0)
    if reason in _IMAGE:
        way_out = "check the profile's `images` or `registry`, and its `image_pull_secrets`"
        sentence = f"{which} cannot pull {image}: {said or reason}; {way_out}"
        return Hindrance(sort="image", sentence=sentence, seconds=_IMAGE_SECONDS)
    if reason in _SETUP:
        way_out = "check the Secrets and ConfigMaps that the profile names, and their keys"
        sentence = f"{which} cannot start its container: {said or reason}; {way_out}"
        return Hindrance(sort="setup", sentence=sentence, seconds=_SETUP_SECONDS)
    return None


def _not_placed(asked: Asked, which: str, pod: Mapping[str, Any]) -> Hindrance | None:
    found = _condition(pod, "PodScheduled", "False")
    if found is None:
        return None
    if found.get("reason") == "SchedulingGated":
        return Hindrance(
            sort="queue", sentence=f"{which} waits for its turn in the queue {asked.kind.queue or ''}".strip()
        )
    said = " ".join(str(found.get("message", "")).split())
    short = sorted(set(re.findall(r"Insufficient ([\w-]+(?:[./][\w-]+)*)", said)))
    why = [f"too little {' and '.join(short)} is free"] if short else []
    if "node affinity/selector" in said or "node selector" in said:
        why.append(f"no node has the labels {dict(asked.kind.selector)}" if asked.kind.selector else "no node fits")
    if "taint" in said:
        why.append("nodes have taints that the kind does not tolerate")
    sentence = f"{which} waits for a machine: {'; '.join(why) or 'none fits'} ({said})"
    return Hindrance(sort="schedule", sentence=sentence)


def _not_made(asked: Asked, seen: Seen) -> Iterator[Hindrance]:
    """Yield why there are fewer pods than nodes."""
    if len(seen.nodes) >= asked.kind.nodes:
        return
    for event in reversed(seen.events):
        said = " ".join(str(event.get("message", "")).split())
        if "exceeded quota" in said:
            never = _too_small(said)
            way_out = f"; the quota gives {never} at most, so that it will never do" if never else ""
            sentence = f"the namespace's quota refuses its pods: {said}{way_out}"
            yield Hindrance(sort="quota", sentence=sentence, seconds=0 if never else None)
        elif event.get("reason") == "TrainJobResourcesCreationFailed":
            sentence = f"Kubeflow Trainer cannot make its JobSet: {said}"
            yield Hindrance(sort="trainer", sentence=sentence, seconds=_SETUP_SECONDS)
        elif event.get("reason") == "FailedCreate":
            yield Hindrance(sort="pods", sentence=f"its pods cannot be made: {said}", seconds=_SETUP_SECONDS)


def _too_small(said: str) -> str:
    """Return what a quota allows in all, where that is less than one pod wants; else ''."""
    found = re.search(r"requested: (.*?), used: .*?limited: (.*)$", said)
    if found is None:
        return ""
    limited = _amounts(found[2])
    less = [name for name, value in _amounts(found[1]).items() if value > limited.get(name, value)]
    return " and ".join(f"{limited[name]:g} {name}" for name in less)


def _amounts(text: str) -> dict[str, float]:
    def value(amount: str, unit: str) -> float:
        return float(amount) / 1000 if unit == "m" else float(amount) * bytes_of(f"1{unit}")

    return {name: value(amount, unit) for name, amount, unit in _AMOUNT.findall(text)}


def _condition(body: Mapping[str, Any], sort: str, status: str) -> Mapping[str, Any] | None:
    listed = body.get("status", {}).get("conditions") or ()
    return next((one for one in listed if one.get("type") == sort and one.get("status") == status), None)
