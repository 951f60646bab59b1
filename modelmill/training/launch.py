"""Starts a step again as several processes that train together, by torchrun's own launcher."""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from modelmill.errors import UserError
from modelmill.events import EventReader, Events
from modelmill.training.settings import Training

log = logging.getLogger(__name__)

# Where a machine with GPUs has something: to ask torch takes seconds.
_GPUS = (Path("/dev/nvidiactl"), Path("/dev/kfd"))


def launch(stage: str, settings: Training, arguments: Sequence[str], events: Events) -> int | None:
    """Run a step in as many processes as its settings or this machine's GPUs want; return its exit code.

    Returns None, and does nothing, where one process is enough, and inside one of several.

    Raises:
        UserError: there are GPUs, and fewer than processes; or one process, and shard.
    """
    count = 1 if "RANK" in os.environ else _processes(settings)
    return None if count == 1 else _together(f"components.{stage}", arguments, count, events)


def _processes(settings: Training) -> int:
    """Return how many processes are to train together on this machine."""
    gpus = _gpus()
    wanted = settings.processes or max(gpus, 1)
    if gpus and wanted > gpus:
        raise UserError(f"processes: {wanted} are wanted and this machine has {gpus} GPUs; lower it, or leave it out")
    if settings.shard and wanted == 1:
        raise UserError("shard: divides the model over processes, and there is 1; set processes, or leave shard out")
    return wanted


def _together(module: str, arguments: Sequence[str], count: int, events: Events) -> int:
    """Run `python -m module` with arguments in so many processes; return the exit code of the first that failed, or 0.

    SIGTERM goes to all of them. What the first process says stands in the events; why another one failed is added.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        monitor_interval=0.1,
    )
    log.info("%d processes train together", count)
    try:
        elastic_launch(config, sys.executable)(*("-m", module, *arguments))
    except SignalException:
        return 1
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        return _told(events, rank, count, failure.exitcode)
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
