"""MLflow runs: one for the pipeline run, a nested one for each step, found again after a restart.

The pipeline's run is the one that `MLFLOW_RUN_ID` names, else the one that carries this run's name as a tag, else a new
one. Figures are never worth a night of training: a server that is gone makes them wait, not fail.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from modelmill.digest import canonical_json, digest, sha256_hex
from modelmill.errors import Interrupted, ModelmillError, without_credentials
from modelmill.home import artifact_location, tracking_uri
from modelmill.step import Step
from modelmill.store import Store
from modelmill.store.epochs import epochs, raised_for
from modelmill.version import git_commit

log = logging.getLogger(__name__)

RUN_VARIABLE = "MODELMILL_RUN"
"""The name of the pipeline run that a step belongs to."""
PIPELINE_VARIABLE = "MODELMILL_PIPELINE"
"""The recipe's name, for people who look at a list of runs."""
EXPERIMENT = "modelmill"
RUN_TAG = "modelmill.run"
STEP_TAG = "modelmill.step"
CACHED_TAG = "modelmill.cached"
# MLflow's own limits for one log_batch call and for a parameter's value.
_BATCH_METRICS = 1000
_PARAMETER_CHARACTERS = 6000


def where(store: Store, sources: str = "") -> str:
    """Return the digest of the places that a run reads and writes; a part of every step's cache key.

    `sources` is what `modelmill.sources.pin` returned: `gc` may have raised the epoch of runs on these alone.
    """
    raised = raised_for(store, sha256_hex(sources)) if sources else 0
    return f"{_where(store, store.epoch())}{f'-{raised}' if raised else ''}"


def is_where(store: Store, told: str) -> bool:
    """Return whether a digest that `where` gave is of these places, in this epoch of the store or an earlier one.

    A run that is under way when `gc` raises the epoch goes on: what it needs was young, or is missing and told so.
    """
    return any(told.partition("-")[0] == _where(store, epoch) for epoch in reversed(epochs(store)))


def _where(store: Store, epoch: str) -> str:
    return digest({"store": store.uri, "mlflow": tracking_uri(), "epoch": epoch})[:16]


def mlflow_client() -> Any:
    """Return a client whose runs and models are both of the MLflow that the environment names.

    MLflow would take the registry from what the process was last told, which may be another server.
    """
    # A dead server is known after seconds, not after MLflow's seven retries of two minutes each.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    # Larger files go straight to the object store that the server keeps artifacts in, by addresses that it signs, and
    # not through the server. MLflow's own limit is 500 MB; a part has 10.
    os.environ.setdefault("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", str(16 << 20))
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=tracking_uri(), registry_uri=tracking_uri())


@dataclass
class Tracking:
    """The client of one MLflow, and the pipeline run in it."""

    client: Any
    experiment: str
    run: str

    @classmethod
    def connect(cls) -> "Tracking":
        """Find or make the pipeline's run.

        Raises:
            ModelmillError: MLflow does not answer, or refuses.
        """
        from mlflow.exceptions import MlflowException

        try:
            client = mlflow_client()
            experiment = _experiment(client)
            return cls(client=client, experiment=experiment, run=_pipeline_run(client, experiment))
        except MlflowException as error:
            said = without_credentials(f"MLflow at {tracking_uri()}: {error.message or error}")
            raise ModelmillError(f"{said}; check MLFLOW_TRACKING_URI") from None

    def find_step(self, name: str) -> Any | None:
        """Return the nested run of a step of this pipeline run, or None."""
        found = self.client.search_runs(
            [self.experiment],
            filter_string=f"tags.`mlflow.parentRunId` = '{self.run}' and tags.`{STEP_TAG}` = '{name}'",
            max_results=1,
        )
        return found[0] if found else None

    def open_step(self, name: str, tags: Mapping[str, str] | None = None) -> str:
        """Return the id of a step's nested run, running: the same one again when the step was started before."""
        found = self.find_step(name)
        if found is not None:
            self.client.update_run(found.info.run_id, status="RUNNING")
            return str(found.info.run_id)
        own = {"mlflow.parentRunId": self.run, STEP_TAG: name, **(tags or {})}
        return str(self.client.create_run(self.experiment, run_name=name, tags=own).info.run_id)


@dataclass
class StepRun:
    """A step's nested MLflow run; each figure is logged once, also when resumed training passes its step again."""

    tracking: Tracking
    run: str
    _waiting: list[Any] = field(default_factory=list, repr=False)
    _last: dict[str, int] = field(default_factory=dict, repr=False)

    def log(self, values: Mapping[str, float], at: int | None) -> None:
        """Record figures by name; what the server does not take now goes with the next ones."""
        import time

        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException

        now = int(time.time() * 1000)
        for name, value in values.items():
            if at is not None and at <= self._last_logged(name):
                continue
            self._waiting.append(Metric(name, float(value), now, at or 0))
        try:
            while self._waiting:
                self.tracking.client.log_batch(self.run, metrics=self._waiting[:_BATCH_METRICS])
                del self._waiting[:_BATCH_METRICS]
        except MlflowException as error:
            said = without_credentials(str(error))
            log.warning("MLflow did not take %d figures, they wait: %s", len(self._waiting), said)

    def _last_logged(self, name: str) -> int:
        if name not in self._last:
            from mlflow.exceptions import MlflowException

            try:
                history = self.tracking.client.get_metric_history(self.run, name)
            except MlflowException:
                history = []
            self._last[name] = max((point.step for point in history), default=-1)
        return self._last[name]

    def end(self, status: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED; a server that is gone is only a warning."""
        from mlflow.exceptions import MlflowException

        try:
            self.log({}, None)
            self.tracking.client.set_terminated(self.run, status)
            if status != "FINISHED":
                self.tracking.client.set_terminated(self.tracking.run, status)
        except MlflowException as error:
            log.warning("MLflow could not be told that the step is %s: %s", status, without_credentials(str(error)))


@contextmanager
def step_run(step: Step, settings: Mapping[str, Any]) -> Iterator[None]:
    """Give a step its nested run while it works, with its settings as parameters.

    `resolve` has none: it runs on every tick, and has nothing to show.
    """
    if step.name == "resolve":
        yield
        return
    tracking = Tracking.connect()
    run = StepRun(tracking=tracking, run=tracking.open_step(step.name))
    _log_settings(run, settings)
    step.figures_to = run
    try:
        yield
    except BaseException as error:
        run.end("KILLED" if isinstance(error, Interrupted) else "FAILED")
        raise
    run.end("FINISHED")


def log_cached_steps(tracking: Tracking, names: Iterable[str]) -> None:
    """Make a finished nested run, tagged as cached, for every step that this pipeline run did not have to run."""
    ran = tracking.client.search_runs(
        [tracking.experiment], filter_string=f"tags.`mlflow.parentRunId` = '{tracking.run}'", max_results=1000
    )
    known = {run.data.tags.get(STEP_TAG) for run in ran}
    for name in names:
        if name not in known and name != "resolve":
            tracking.client.set_terminated(tracking.open_step(name, {CACHED_TAG: "true"}), "FINISHED")


def _log_settings(run: StepRun, settings: Mapping[str, Any]) -> None:
    from mlflow.entities import Param
    from mlflow.exceptions import MlflowException

    parameters = [
        Param(key, (value if isinstance(value, str) else canonical_json(value))[:_PARAMETER_CHARACTERS])
        for key, value in settings.items()
    ]
    try:
        run.tracking.client.log_batch(run.run, params=parameters)
    except MlflowException as error:
        said = without_credentials(f"{error.message or error}")
        raise ModelmillError(f"MLflow refused the step's settings: {said}") from None


def _experiment(client: Any) -> str:
    from mlflow.exceptions import MlflowException

    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    if identifier := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return identifier
    if found := client.get_experiment_by_name(name):
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name, artifact_location=artifact_location()))
    except MlflowException:
        # Another run may have made it between the look and the making.
        if found := client.get_experiment_by_name(name):
            return str(found.experiment_id)
        raise


def _pipeline_run(client: Any, experiment: str) -> str:
    if identifier := os.environ.get("MLFLOW_RUN_ID"):
        return identifier
    name = os.environ.get(RUN_VARIABLE, "")
    if name:
        found = client.search_runs([experiment], filter_string=f"tags.`{RUN_TAG}` = '{name}'", max_results=1)
        if found:
            client.update_run(found[0].info.run_id, status="RUNNING")
            return str(found[0].info.run_id)
    tags = {RUN_TAG: name} if name else {}
    if commit := git_commit():
        tags["mlflow.source.git.commit"] = commit
    run_name = f"{os.environ.get(PIPELINE_VARIABLE, 'step')} {name}".strip()
    return str(client.create_run(experiment, run_name=run_name, tags=tags).info.run_id)
