"""How a step comes to its TrainJob: the one that it made before it was started again, or a new one."""

import logging
import time

from modelmill.errors import ModelmillError
from modelmill.trainjob.client import Object, Refused, install
from modelmill.trainjob.failures import broken
from modelmill.trainjob.job import TrainJob
from modelmill.trainjob.seen import Seen
from modelmill.trainjob.spec import KEY_LABEL, RUN_LABEL, SPEC_ANNOTATION, train_job

log = logging.getLogger(__name__)

# Someone else wrote the object in between; more often than that, it is no coincidence.
_TRIES = 5


def begin(job: TrainJob, pod: Object) -> None:
    """Make a TrainJob for the step in a pod, or take over the one that is there already and does what is asked.

    Raises:
        Interrupted: a signal has come.
        ModelmillError: Trainer or the runtime is not there, the rights are not, the API server does not answer, or
            another run is at this very training.
    """
    body = train_job(job.asked, pod)
    found = job.patiently(job.get)
    if found is not None and not _may_go_on(job, found, body):
        _clear(job)
        found = None
    if found is None:
        _refuse_another_run(job)
    try:
        job.patiently(lambda: _applied(job, body))
    except Refused as refusal:
        # Another release of Trainer, or someone's webhook, takes it for another one: then it is not gone on with.
        if found is None or refusal.code != 422:
            raise
        _clear(job)
        found = None
        job.patiently(lambda: _applied(job, body))
    said = "is made" if found is None else "was made by an earlier start of this step, and goes on"
    log.info("TrainJob %s %s: %d nodes, %d processes each", job.name, said, job.asked.kind.nodes, job.asked.processes)


def _may_go_on(job: TrainJob, found: Object, body: Object) -> bool:
    """Return whether a TrainJob of this name does what is asked, and may still come to a good end."""
    meta = found["metadata"]
    wanted = body["metadata"]["annotations"][SPEC_ANNOTATION]
    if (meta.get("annotations") or {}).get(SPEC_ANNOTATION) != wanted or "deletionTimestamp" in meta:
        return False
    seen = job.patiently(lambda: job.look(found))
    # One that is complete and whose result is not in the store is of no more use than one that failed.
    return not (seen.condition("Failed") or seen.condition("Complete") or broken(seen))


def _clear(job: TrainJob) -> None:
    """Delete the TrainJob of an older attempt, and wait until its nodes are free."""
    log.warning("TrainJob %s is of an older attempt, and is replaced", job.name)
    job.patiently(lambda: job.api.delete("trainjobs", job.name))
    end = time.monotonic() + job.times.gone
    while job.patiently(job.get) is not None:
        if time.monotonic() > end:
            what = f"TrainJob {job.name} of an older attempt is still there after {job.times.gone:.0f} s"
            way_out = f"what holds it? kubectl get trainjob {job.name} -n {job.api.namespace} -o yaml"
            raise ModelmillError(f"{what}; {way_out}")
        job.stop.wait(job.times.poll)


def _refuse_another_run(job: TrainJob) -> None:
    """Raise if another run has nodes at this very training: its lease would refuse ours, once they all stood still."""
    wanted = f"{KEY_LABEL}={job.asked.key[:32]}"
    for other in job.patiently(lambda: job.api.find("trainjobs", labelSelector=wanted)):
        meta, seen = other["metadata"], Seen(job=other, pods=())
        over = seen.condition("Failed") or seen.condition("Complete") or "deletionTimestamp" in meta
        if meta["name"] != job.name and not over:
            run = meta["labels"].get(RUN_LABEL, "another")
            raise ModelmillError(
                f"TrainJob {meta['name']} of run {run} is at this very training; wait until it has ended, and the same "
                "command takes its result, or stop it, and the same command goes on"
            )


def _applied(job: TrainJob, body: Object) -> Object:
    for _ in range(_TRIES):
        try:
            return job.api.apply("trainjobs", body)
        except Refused as refusal:
            if "must be created before the TrainJob" in refusal.said:
                raise ModelmillError(
                    f"the cluster has no ClusterTrainingRuntime {job.asked.kind.runtime!r}; name one as `runtime` of "
                    f"the kind of node, or install Trainer's own: {install('runtimes')}"
                ) from refusal
            if refusal.code != 409:
                raise
            log.warning("TrainJob %s was changed in the same moment; again", job.name)
            job.stop.wait(job.times.poll / 4)
    raise ModelmillError(f"TrainJob {job.name} was changed by someone else each of the {_TRIES} times it was applied")
