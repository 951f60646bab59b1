"""Starts a step as several processes that train together: by torchrun's launcher, on several nodes by a TrainJob."""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelmill.digest import digest
from modelmill.errors import UserError
from modelmill.events import EventReader, Events
from modelmill.profile import NodeKind
from modelmill.tracking import RUN_VARIABLE
from modelmill.training.settings import TOGETHER, Training
from modelmill.trainjob.here import Place, node_kind, place
from modelmill.trainjob.spec import Asked
from modelmill.trainjob.wait import train_on_nodes
from modelmill.version import code_digest

if TYPE_CHECKING:
    from modelmill.command import Result

log = logging.getLogger(__name__)

# Where a machine with GPUs has something: to ask torch takes seconds.
_GPUS = (Path("/dev/nvidiactl"), Path("/dev/kfd"))


def launch(stage: str, settings: Training, arguments: Sequence[str], events: Events) -> "int | Result | None":
    """Run a step in as many processes as its settings, its kind of node or this machine's GPUs want.

    Returns the exit code of processes on this node. Where the kind has several nodes, a TrainJob runs the step on them,
    and its result is returned; in each of the TrainJob's pods the step comes here again. Returns None, and does
    nothing, where one process is enough, and inside one of several.

    Raises:
        UserError: there are fewer GPUs than processes, or than the kind of node promises; or one process, and shard.
        ModelmillError: the TrainJob failed, or could not begin.
    """
    if "RANK" in os.environ:
        return None
    kind, here = node_kind(), place()
    if kind is not None and kind.nodes > 1 and here is None:
        return train_on_nodes(_asked(stage, settings, arguments, events.step, kind))
    count = _processes(settings, kind, here)
    if here is None and count == 1:
        return None
    return _together(f"components.{stage}", arguments, count, events, here)


def _asked(stage: str, settings: Training, arguments: Sequence[str], step: str, kind: NodeKind) -> Asked:
    """Return what a TrainJob is asked for: this very command."""
    # Where KFP's outputs go is known to this pod alone.
    told = _without(arguments, "executor-input")
    key = {
        "stage": stage,
        "settings": settings.model_dump(mode="json", exclude=TOGETHER),
        "inputs": _without(told, "settings", "step", "where"),
        "code": code_digest(),
    }
    return Asked(
        step=step,
        run=os.environ.get(RUN_VARIABLE, ""),
        key=digest(key),
        command=("python3", "-m", f"components.{stage}", *told),
        kind=kind,
        processes=settings.processes or kind.count,
    )


def _without(arguments: Sequence[str], *names: str) -> list[str]:
    """Return a command line without some of its options, each `--name value` or `--name=value`."""
    left: list[str] = []
    options = {f"--{name}" for name in names}
    told = iter(arguments)
    for word in told:
        if word in options:
            next(told, None)
        elif word.partition("=")[0] not in options:
            left.append(word)
    return left


def _processes(settings: Training, kind: NodeKind | None, here: Place | None) -> int:
    """Return how many processes are to train together on this node."""
    gpus = _gpus()
    promised = kind.count if kind is not None and kind.device is not None else 0
    if kind is not None and gpus < promised:
        raise UserError(
            f"this pod has {gpus} GPUs, and its kind of node promises {promised} of {kind.device}; look for the driver "
            "and for CUDA in the image, or lower `count` in the profile"
        )
    wanted = here.processes if here is not None else settings.processes or promised or max(gpus, 1)
    if gpus and wanted > gpus:
        raise UserError(f"processes: {wanted} are wanted and this machine has {gpus} GPUs; lower it, or leave it out")
    if settings.shard and wanted == 1 and here is None:
        raise UserError("shard: divides the model over processes, and there is 1; set processes, or leave shard out")
    return wanted


def _together(module: str, arguments: Sequence[str], count: int, events: Events, here: Place | None) -> int:
    """Run `python -m module` with arguments in so many processes; return the exit code of the first that failed, or 0.

    SIGTERM goes to all of them. What the first process says stands in the events; why another one failed is added.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # Nodes are numbered by Trainer, and so, by the static rendezvous, are their processes.
    meeting: dict[str, Any] = (
        {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0", "local_addr": "localhost"}
        if here is None
        else {"rdzv_backend": "static", "rdzv_endpoint": here.meets, "rdzv_configs": {"rank": here.number}}
    )
    nodes = 1 if here is None else here.nodes
    config = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex if here is None else here.job,
        max_restarts=0,
        monitor_interval=0.1,
        **meeting,
    )
    log.info("%d processes train together", nodes * count)
    try:
        elastic_launch(config, sys.executable)(*("-m", module, *arguments))
    except SignalException:
        return 1
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        return _told(events, rank, nodes * count, failure.exitcode)
    return 0


def _told(events: Events, rank: int, count: int, code: int) -> int:
    """Say why a process failed, where it could not be heard; return the step's exit code."""
    if code < 0:
        ended = f"{events.step}: process {rank + 1} of {count} was ended by {signal.Signals(-code).name}"
        message = f"{ended}; is the memory full? the same command goes on from the last checkpoint"
        log.error("%s", message)
        events.emit("failed", exit_code=1, message=message, interrupted=False)
        return 1
    beside = events.beside(rank).path
    if rank and beside is not None:
        for event in [event for event in EventReader(beside).new() if event["kind"] == "failed"][-1:]:
            events.emit("failed", **{key: event[key] for key in ("exit_code", "message", "interrupted")})
    return code


def _gpus() -> int:
    if not any(map(Path.exists, _GPUS)):
        return 0
    import torch

    return torch.cuda.device_count()
