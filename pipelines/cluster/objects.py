"""What lies in a Kubeflow Pipelines server by name: pipelines, their versions, experiments, runs.

Each is looked up first and made only then. Where making it was answered by a 409, or by nothing, it is looked up again:
of two that submit at once the loser takes what the winner made, and an answer that was lost makes nothing twice.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from modelmill.errors import ModelmillError
from pipelines.cluster.connection import Connection, Lost, Refused

T = TypeVar("T")

# A request that a gateway gave up may still be under way: looked for so often before it is sent again.
_LOOKS = (0.0, 1.0, 3.0)
_PAGE = 100


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a pipeline, as a run refers to it."""

    pipeline: str
    """Id of the pipeline."""
    version: str
    """Id of the version."""
    name: str
    """Digest of its content."""
    reused: bool
    """Whether it was there before."""

    @property
    def reference(self) -> Any:
        """Return it as the API wants it."""
        from kfp_server_api import V2beta1PipelineVersionReference

        return V2beta1PipelineVersionReference(pipeline_id=self.pipeline, pipeline_version_id=self.version)


def named(key: str, value: str) -> str:
    """Return the API's filter for objects whose key has a value."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": key, "string_value": value}]})


def pages(connection: Connection, doing: str, ask: Callable[..., Any], key: str, **known: Any) -> Iterator[Any]:
    """Yield all that a list of the API holds, page by page."""
    token = ""
    while True:
        page = connection.read(doing, ask, page_size=_PAGE, page_token=token, **known)
        yield from getattr(page, key) or ()
        token = page.next_page_token or ""
        if not token:
            return


def find_or_make(
    connection: Connection, what: str, find: Callable[[], T | None], make: Callable[[], T], *, look_first: bool = True
) -> tuple[T, bool]:
    """Return an object and whether it was there before; it is made at most once.

    Raises:
        ModelmillError: the server is away for longer than the connection's patience, or refuses.
    """
    if look_first and (found := find()) is not None:
        return found, True
    deadline = time.monotonic() + connection.patience
    while True:
        try:
            return make(), False
        except Refused as refused:
            if refused.status != 409:
                raise
            if (found := find()) is not None:
                return found, True
            raise
        except Lost as lost:
            for pause in _LOOKS:
                connection.sleep(pause)
                if (found := find()) is not None:
                    return found, False
            if time.monotonic() >= deadline:
                raise ModelmillError(f"{what} could not be made: {lost}") from lost


def ensure_version(connection: Connection, name: str, content: str, digest: str) -> Version:
    """Return the version of a pipeline that is named by its content's digest; it is uploaded where it is not there.

    Raises:
        ModelmillError: the server does not answer, or refuses.
    """
    from kfp_server_api import V2beta1Pipeline

    api = connection.api("Pipeline")

    def find_pipeline() -> Any | None:
        ask = api.pipeline_service_get_pipeline_by_name
        try:
            return connection.read(f"pipeline {name}", ask, name, namespace=connection.namespace)
        except Refused as refused:
            if refused.status != 404:
                raise
            return None

    body = V2beta1Pipeline(name=name, display_name=name, namespace=connection.namespace)
    doing = f"making pipeline {name}"
    pipeline, _ = find_or_make(
        connection,
        f"pipeline {name}",
        find_pipeline,
        lambda: connection.act(doing, api.pipeline_service_create_pipeline, pipeline=body),
    )
    return _ensure_version(connection, pipeline.pipeline_id, name, content, digest)


def _ensure_version(connection: Connection, pipeline: str, name: str, content: str, digest: str) -> Version:
    what = f"version {digest[:12]} of pipeline {name}"
    listing = connection.api("Pipeline").pipeline_service_list_pipeline_versions
    upload = connection.api("PipelineUpload").upload_pipeline_version

    def find() -> Any | None:
        found = pages(
            connection, what, listing, "pipeline_versions", pipeline_id=pipeline, filter=named("name", digest)
        )
        return next((one for one in found if one.name == digest), None)

    with tempfile.TemporaryDirectory(prefix="modelmill-submit-") as folder:
        path = Path(folder) / "pipeline.yaml"
        path.write_text(content)
        version, reused = find_or_make(
            connection,
            what,
            find,
            lambda: connection.act(
                f"uploading {what}", upload, str(path), name=digest, display_name=digest[:12], pipelineid=pipeline
            ),
        )
    return Version(pipeline=pipeline, version=version.pipeline_version_id, name=digest, reused=reused)


def ensure_experiment(connection: Connection) -> str:
    """Return the id of the profile's experiment, made where it is not there."""
    from kfp_server_api import V2beta1Experiment

    api, name = connection.api("Experiment"), connection.profile.experiment
    known = {"namespace": connection.namespace, "filter": named("display_name", name)}

    def find() -> Any | None:
        found = pages(connection, f"experiment {name}", api.experiment_service_list_experiments, "experiments", **known)
        return next((one for one in found if one.display_name == name), None)

    body = V2beta1Experiment(display_name=name, namespace=connection.namespace, description="Recipes of modelmill.")
    doing = f"making experiment {name}"
    experiment, _ = find_or_make(
        connection,
        f"experiment {name}",
        find,
        lambda: connection.act(doing, api.experiment_service_create_experiment, experiment=body),
    )
    return str(experiment.experiment_id)


def start_run(connection: Connection, name: str, description: str, version: Version, experiment: str) -> Any:
    """Start a run, once: its name is its own, and it is looked for by it where the server's answer was lost."""
    from kfp_server_api import V2beta1Run

    api = connection.api("Run")

    def find() -> Any | None:
        known = {"namespace": connection.namespace, "filter": named("display_name", name)}
        return next(pages(connection, f"run {name}", api.run_service_list_runs, "runs", **known), None)

    body = V2beta1Run(
        display_name=name,
        description=description,
        experiment_id=experiment,
        pipeline_version_reference=version.reference,
        service_account=connection.profile.service_account,
    )
    doing = f"starting run {name}"
    run, _ = find_or_make(
        connection,
        f"run {name}",
        find,
        lambda: connection.act(doing, api.run_service_create_run, run=body),
        look_first=False,
    )
    return run


def spec_of(connection: Connection, reference: Any) -> Mapping[str, Any]:
    """Return the pipeline that a run runs, as it was uploaded; {} where the version is gone."""
    if reference is None or not reference.pipeline_version_id:
        return {}
    ask = connection.api("Pipeline").pipeline_service_get_pipeline_version
    try:
        version = connection.read("a pipeline's version", ask, reference.pipeline_id, reference.pipeline_version_id)
    except Refused as refused:
        if refused.status != 404:
            raise
        return {}
    spec: Mapping[str, Any] = version.pipeline_spec or {}
    # With Kubernetes' settings in it, the server gives both documents of the file under these names.
    inner: Mapping[str, Any] = spec.get("pipeline_spec", spec)
    return inner
