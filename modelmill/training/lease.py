"""One training has one process: the one that holds its run key's lease."""

from collections.abc import Iterator
from contextlib import contextmanager

from modelmill import lease
from modelmill.lease import BEAT_SECONDS, DEAD_SECONDS, Lease
from modelmill.step import Step

__all__ = ["Lease", "held"]


@contextmanager
def held(
    step: Step, run_key: str, what: str, beat: float = BEAT_SECONDS, dead: float = DEAD_SECONDS
) -> Iterator[Lease]:
    """Hold a run key; a holder that shows no life is given some time, and then taken for dead.

    Raises:
        ModelmillError: another process is at this training.
        Interrupted: the step was asked to stop while it waited.
    """
    work = lease.Work(
        folder=f"checkpoints/{run_key}",
        what=what,
        busy="is at this very training; wait until it has ended, and the same command takes its result, or stop it, "
        "and the same command goes on",
        lost="another process took over this training while this one stood still; its result is the one that counts, "
        "so this one ends",
    )
    with lease.held(step.store, work, step.check_stop, beat, dead) as held:
        yield held
