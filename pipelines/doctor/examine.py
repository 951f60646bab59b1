"""All that a run needs, looked at one after the other: of this machine, or of a profile's servers."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

from modelmill.home import TRACKING_VARIABLE
from modelmill.profile import Profile
from pipelines.doctor.finding import Doctor, Finding

_MISSING = 1


def examine(profile: Profile | None, tell: Callable[[Finding], None]) -> list[Finding]:
    """Look at every need and tell each finding as it comes; what is written on the way is taken away again.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM came; nothing is left behind.
    """
    doctor = Doctor(tell=tell)
    with _ended_by_signals():
        if profile is None:
            from pipelines.doctor.machine import look_at_machine

            look_at_machine(doctor)
        else:
            with _environment(profile):
                _of_a_profile(doctor, profile)
    return doctor.findings


def exit_code(findings: list[Finding]) -> int:
    """Return 0 where nothing is missing, else 1; a profile that is wrong is never looked with."""
    return _MISSING if any(finding.outcome == "missing" for finding in findings) else 0


def as_data(findings: list[Finding], profile: Profile | None) -> dict[str, Any]:
    """Return the object that `doctor --json` prints.

    Of each finding: group, need, outcome (`right`, `missing`, `unknown`: could not be looked at or is not needed,
    `warned`), saw, mend (the command that mends it, '' for none), seconds.
    """
    return {
        "profile": None if profile is None else profile.name,
        "right": exit_code(findings) == 0,
        "findings": [{**vars(finding), "seconds": round(finding.seconds, 3)} for finding in findings],
    }


def _of_a_profile(doctor: Doctor, profile: Profile) -> None:
    from pipelines.doctor.clock import look_at_clocks
    from pipelines.doctor.images import look_at_images
    from pipelines.doctor.kfp import look_at_kfp
    from pipelines.doctor.kubernetes import look_at_kubernetes
    from pipelines.doctor.mlflow import look_at_mlflow
    from pipelines.doctor.store import look_at_store

    look_at_store(doctor, profile.store)
    mlflow = os.environ.get(TRACKING_VARIABLE) or profile.mlflow
    look_at_mlflow(doctor, mlflow)
    look_at_kfp(doctor, profile)
    look_at_kubernetes(doctor, profile)
    look_at_images(doctor, profile)
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "https://s3.amazonaws.com"
    look_at_clocks(doctor, {"store": endpoint, "mlflow": mlflow, "kfp": profile.kfp.host})


@contextlib.contextmanager
def _environment(profile: Profile) -> Iterator[None]:
    """Let this process have the profile's variables while the block lasts; what a person has set stays.

    So a store or an MLflow that has another address from outside of the cluster is named, as for `submit`, by
    AWS_ENDPOINT_URL and MLFLOW_TRACKING_URI.
    """
    new = [name for name in profile.environment if name not in os.environ]
    os.environ.update({name: profile.environment[name] for name in new})
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that what was written is taken away."""

    def end(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
