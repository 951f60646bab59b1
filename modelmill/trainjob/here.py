"""Where a step runs: the kind of node that its profile gave it, its own pod, and its place within a TrainJob."""

import os
from dataclasses import dataclass

from pydantic import ValidationError

from modelmill.errors import ModelmillError, UserError
from modelmill.parent import POD_VARIABLE
from modelmill.profile import NodeKind
from modelmill.trainjob.client import Api, Object
from modelmill.trainjob.spec import JOB_VARIABLE

NODE_VARIABLE = "MODELMILL_NODE"
"""The step's kind of node, as JSON."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """One node of a TrainJob, as Trainer tells its pod (the torch policy of the runtime sets PET_*)."""

    job: str
    nodes: int
    processes: int
    """On each node."""
    number: int
    """Which node this is, from 0."""
    meets: str
    """Where the processes meet: `host:port` of the first node."""


def node_kind() -> NodeKind | None:
    """Return the kind of node that the profile gave this step; None where no profile did.

    Raises:
        UserError: what the environment says is none.
    """
    told = os.environ.get(NODE_VARIABLE)
    if not told:
        return None
    try:
        return NodeKind.model_validate_json(told)
    except ValidationError as error:
        raise UserError(f"{NODE_VARIABLE} is no kind of node: {error}; submit again with this version") from error


def place() -> Place | None:
    """Return which node of a TrainJob this is; None anywhere else.

    Raises:
        ModelmillError: the TrainJob's runtime is not one for torch.
    """
    job = os.environ.get(JOB_VARIABLE)
    if not job:
        return None
    try:
        told = {name: os.environ[f"PET_{name}"] for name in ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")}
        nodes, each, number = (int(os.environ[f"PET_{name}"]) for name in ("NNODES", "NPROC_PER_NODE", "NODE_RANK"))
    except (KeyError, ValueError) as error:
        raise ModelmillError(
            f"TrainJob {job}: its runtime does not tell its pods how to meet ({error} of PET_*); the `runtime` of the "
            "kind of node must be one with mlPolicy torch, such as torch-distributed"
        ) from error
    meets = f"{told['MASTER_ADDR']}:{told['MASTER_PORT']}"
    return Place(job=job, nodes=nodes, processes=each, number=number, meets=meets)


def own_pod(api: Api) -> Object:
    """Return the pod that this process runs in.

    Raises:
        ModelmillError: there is none of that name, or it may not be read.
        Away: the API server does not answer.
    """
    # By default a pod's host name is its own.
    name = os.environ.get(POD_VARIABLE) or os.environ.get("HOSTNAME", "")
    pod = api.get("pods", name) if name else None
    if pod is None:
        raise ModelmillError(
            f"there is no pod {name!r} in the namespace {api.namespace}; a step on several nodes takes its image and "
            f"environment from its own pod, which {POD_VARIABLE} and MODELMILL_NAMESPACE name"
        )
    return pod
