"""Whether there are nodes of each kind of a profile, and what of them is free."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelmill.errors import ModelmillError
from modelmill.profile import NodeKind, Profile
from pipelines.doctor.finding import Doctor, Seen
from pipelines.doctor.kubernetes import GROUP, Refused, asked

_TIMEOUT = (10, 60)
_ENDED = ("Succeeded", "Failed")
_QUANTITY = re.compile(r"^([0-9.]+)(m|k|Ki|[MGTPE]i?)?$")
_UNITS = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node as far as a pod has to do with it."""

    name: str
    labels: Mapping[str, str]
    taints: Sequence[Any]
    has: Mapping[str, float]
    """What pods may take of it, by resource."""
    ready: bool


def amount(quantity: str) -> float:
    """Return a quantity of Kubernetes as a number: `500m` is 0.5, `2Gi` 2,147,483,648; 0 for what is none."""
    found = _QUANTITY.match(quantity)
    if found is None:
        return 0.0
    unit = found[2] or ""
    factor = 1024.0 ** ("KMGTPE".index(unit[0].upper()) + 1) if unit.endswith("i") else _UNITS.get(unit, 1.0)
    return float(found[1]) * factor


def look_at_nodes(doctor: Doctor, profile: Profile, core: Any) -> None:
    """Look for nodes of every kind."""
    try:
        with asked("nodes"):
            nodes = [_node(one) for one in core.list_node(_request_timeout=_TIMEOUT).items]
    except Refused as refused:
        told, outcome = str(refused), "unknown" if refused.status == 403 else "missing"
        doctor.look(GROUP, "nodes", lambda: Seen(saw=f"you may not look: {told}", outcome=outcome))  # type: ignore[arg-type]
        return
    except ModelmillError as error:
        said = str(error)
        doctor.look(GROUP, "nodes", lambda: Seen(saw=said, outcome="missing"))
        return
    taken = _taken(core)
    for name, kind in profile.nodes.items():
        doctor.look(GROUP, f"node kind {name}", lambda kind=kind: _kind(kind, nodes, taken))  # type: ignore[misc]


def _node(found: Any) -> Node:
    conditions = {one.type: one.status for one in found.status.conditions or ()}
    return Node(
        name=found.metadata.name,
        labels=found.metadata.labels or {},
        taints=found.spec.taints or (),
        has={resource: amount(str(value)) for resource, value in (found.status.allocatable or {}).items()},
        ready=conditions.get("Ready") == "True" and not found.spec.unschedulable,
    )


def _taken(core: Any) -> dict[str, dict[str, float]] | None:
    """Return what pods have asked for, by node and resource; None where one may not see all pods."""
    try:
        with asked("pods"):
            pods = core.list_pod_for_all_namespaces(_request_timeout=_TIMEOUT).items
    except ModelmillError:
        return None
    taken: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for pod in pods:
        if pod.spec.node_name is None or (pod.status is not None and pod.status.phase in _ENDED):
            continue
        for container in pod.spec.containers:
            asks = (container.resources.requests or container.resources.limits or {}) if container.resources else {}
            for resource, value in asks.items():
                taken[pod.spec.node_name][resource] += amount(str(value))
    return taken


def _kind(kind: NodeKind, nodes: Sequence[Node], taken: Mapping[str, Mapping[str, float]] | None) -> Seen:
    wanted = {"cpu": amount(kind.cpu), "memory": amount(kind.memory)}
    if kind.device is not None:
        wanted[kind.device] = float(kind.count)
    labelled = [node for node in nodes if kind.selector.items() <= node.labels.items()]
    if not labelled:
        pairs = ",".join(f"{key}={value}" for key, value in kind.selector.items())
        return Seen(
            saw=f"none of {len(nodes)} nodes has the labels {pairs}; where an autoscaler adds one, that is no fault",
            outcome="missing",
            mend=f"kubectl get nodes --show-labels  # then correct the kind's selector, or add a node with {pairs}",
        )
    borne = [node for node in labelled if node.ready and not _unborne(kind, node)]
    if not borne:
        return _unfit(kind, labelled)
    large = [node for node in borne if all(node.has.get(what, 0.0) >= count for what, count in wanted.items())]
    if len(large) < kind.nodes:
        return _small(kind, wanted, borne, large)
    if taken is None:
        return Seen(saw=f"{len(large)} nodes; what is free of them is not known, as you may not list all pods")
    free = [node for node in large if all(_free(node, what, taken) >= count for what, count in wanted.items())]
    what = kind.device or "cpu"
    left = sum(max(0.0, _free(node, what, taken)) for node in large)
    said = f"{len(large)} nodes, {left:g} of {sum(node.has.get(what, 0.0) for node in large):g} {what} free"
    if len(free) < kind.nodes:
        return Seen(
            saw=f"{said}; a step takes {wanted[what]:g} of each of {kind.nodes}, and waits until they are free",
            outcome="warned",
            mend="kubectl get pods -A -o wide --field-selector status.phase=Running  # who has them",
        )
    return Seen(saw=said)


def _free(node: Node, what: str, taken: Mapping[str, Mapping[str, float]]) -> float:
    return node.has.get(what, 0.0) - taken.get(node.name, {}).get(what, 0.0)


def _unfit(kind: NodeKind, labelled: Sequence[Node]) -> Seen:
    tainted = next((taint for node in labelled if node.ready for taint in _unborne(kind, node)), None)
    if tainted is None:
        names = " ".join(node.name for node in labelled[:3])
        return Seen(
            saw=f"{len(labelled)} nodes with its labels, and none is ready",
            outcome="missing",
            mend=f"kubectl describe node {names}  # or kubectl uncordon",
        )
    said = f"{tainted.key}{f'={tainted.value}' if tainted.value else ''}:{tainted.effect}"
    entry = f"{{key: {tainted.key}, effect: {tainted.effect}}}"
    return Seen(
        saw=f"{len(labelled)} nodes with its labels, all with the taint {said}, which the kind does not tolerate",
        outcome="missing",
        mend=f"add {entry} to the kind's tolerations",
    )


def _unborne(kind: NodeKind, node: Node) -> list[Any]:
    """Return the taints of a node that keep a kind's pods away."""
    return [
        taint
        for taint in node.taints
        if taint.effect in ("NoSchedule", "NoExecute")
        and not any(
            told.key == taint.key
            and told.effect in (None, taint.effect)
            and (told.operator == "Exists" or told.value == (taint.value or ""))
            for told in kind.tolerations
        )
    ]


def _small(kind: NodeKind, wanted: Mapping[str, float], borne: Sequence[Node], large: Sequence[Node]) -> Seen:
    short = [
        f"{count:g} {what}, and the largest has {most:g}"
        for what, count in wanted.items()
        if (most := max(node.has.get(what, 0.0) for node in borne)) < count
    ]
    if short:
        return Seen(
            saw=f"{len(borne)} nodes, and a step wants {'; '.join(short)}",
            outcome="missing",
            mend="kubectl describe nodes  # see Allocatable; lower the kind's wants, or add a larger node",
        )
    return Seen(
        saw=f"{len(large)} of its {kind.nodes} nodes are there",
        outcome="missing",
        mend=f"add {kind.nodes - len(large)} more, or lower `nodes` of the kind",
    )
