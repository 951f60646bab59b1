"""A step ends with the process that started it, where that one's end would be told to nobody.

One of several processes of a step ends with the one that started them all: a killed step leaves none that trains on.

Kubeflow Pipelines starts a step from its launcher, which ends at SIGTERM and passes no signal on
(`backend/src/v2/component/launcher_v2.go` starts the step and waits). Argo Workflows' emissary lets the container end
about a second later. What a step can do in that second it does: it stops waiting for nodes, and takes its TrainJob with
it; a checkpoint that is not done in that time is none, and the one before it stands.
"""

import os
import signal
import threading
import time

POD_VARIABLE = "MODELMILL_POD"
"""The name of the step's pod, which a profile's steps are told."""
_LOOK_SECONDS = 0.1


def end_with_parent() -> None:
    """From now on this process gets SIGTERM when the one that started it is gone, however that ended."""
    threading.Thread(target=_watch, args=(os.getppid(),), name="parent", daemon=True).start()


def _watch(parent: int) -> None:
    # Not by prctl(PR_SET_PDEATHSIG): it tells of the end of the thread that started this process, and a launcher in Go
    # may end one of its threads at any time.
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
