"""What a profile says of a step, put on its task by the setters of kfp and kfp.kubernetes.

What kfp 2.17 cannot say in a pipeline, and who says it instead:

- The service account is of a whole run: whoever submits one names the profile's `service_account`.
- A retry follows a failure of any kind, also a wrong setting, and does not follow a pod that was deleted or whose node
  was lost (Argo Workflows retries failures, not errors): such a run is submitted again, and its steps go on.
- Grace period (30 s), priority class and topology are the cluster's own.
- A pod's labels are known before its run: the run's id is the label `pipeline/runid` that Kubeflow Pipelines sets, and
  MODELMILL_RUN is read from there.

A kind of several nodes is not for the step's own pod: that one starts a TrainJob and watches it, so it is placed on the
light kind, without a queue of its own; it keeps the kind's time limit, retries and variables, and MODELMILL_NODE tells
it the kind that the TrainJob is to have.
"""

import re
from dataclasses import dataclass
from typing import Any

from kfp import kubernetes

from modelmill.digest import canonical_json
from modelmill.images import image, kind_of
from modelmill.profile import SCRATCH, NodeKind, Profile, bytes_of
from pipelines.profile_file import kind_of as node_name
from pipelines.recipe import Recipe

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
PART_LABEL, PIPELINE_LABEL, STEP_LABEL = "app.kubernetes.io/part-of", "modelmill/pipeline", "modelmill/step"
_FIELDS = {
    "MODELMILL_RUN": "metadata.labels['pipeline/runid']",
    "MODELMILL_POD": "metadata.name",
    "MODELMILL_NAMESPACE": "metadata.namespace",
}
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - where every process looks for it
_BACKOFF_SECONDS, _BACKOFF_FACTOR = 30, 2
# Argo Workflows counts the longest time of a backoff from the first start of the step, its work included, and then
# neither starts it again nor lets it run on: kfp's default of one hour would cut off every longer training.
_LONGEST_SECONDS = 30 * 86400


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Puts what a profile says on the tasks of one recipe's pipeline."""

    recipe: Recipe
    profile: Profile

    def kind_of(self, step: str) -> tuple[str, NodeKind]:
        """Return the kind of node of a step, with its name."""
        name = node_name(self.recipe, self.profile, step)
        return name, self.profile.node(name)

    def place(self, task: Any, step: str) -> Any:
        """Put on a task all that the profile says of its step; return the task."""
        _, kind = self.kind_of(step)
        own = kind if kind.nodes == 1 else self.profile.node(self.profile.light)
        self._image(task)
        _resources(task, own)
        _volumes(task, own)
        self._labels(task, step, own)
        self._environment(task, kind, own)
        self._secrets(task)
        if kind.time_limit_seconds is not None:
            kubernetes.set_timeout(task, kind.time_limit_seconds)
        if kind.retries:
            _retry(task, kind)
        return task

    def _image(self, task: Any) -> None:
        kind = kind_of(task.container_spec.image)
        pinned = getattr(self.profile.images, kind)
        task.set_container_image(pinned or image(kind, self.profile.registry))
        if self.profile.image_pull_secrets:
            kubernetes.set_image_pull_secrets(task, list(self.profile.image_pull_secrets))

    def _labels(self, task: Any, step: str, own: NodeKind) -> None:
        labels = {PART_LABEL: "modelmill", PIPELINE_LABEL: self.recipe.name, STEP_LABEL: step}
        if own.queue is not None:
            labels[QUEUE_LABEL] = own.queue
        for name, value in labels.items():
            kubernetes.add_pod_label(task, name, value)

    def _environment(self, task: Any, kind: NodeKind, own: NodeKind) -> None:
        profile = self.profile
        variables = {
            **profile.environment,
            **kind.environment,
            "MODELMILL_STORE": profile.store,
            "MLFLOW_TRACKING_URI": profile.mlflow,
            "MLFLOW_EXPERIMENT_NAME": profile.experiment,
            "MODELMILL_PROFILE": profile.name,
            "MODELMILL_PIPELINE": self.recipe.name,
            "MODELMILL_NODE": canonical_json(kind.model_dump(mode="json")),
        }
        if own.scratch is not None:
            variables["TMPDIR"] = SCRATCH
        for name, value in variables.items():
            task.set_env_variable(name, value)
        for name, path in _FIELDS.items():
            kubernetes.use_field_path_as_env(task, name, path)

    def _secrets(self, task: Any) -> None:
        # One call a variable: kfp takes them by key, and two variables may have the same one.
        for secret in self.profile.secrets:
            for variable, key in secret.keys.items():
                kubernetes.use_secret_as_env(task, secret.name, {key: variable}, optional=secret.optional)
        for held in self.profile.config_maps:
            for variable, key in held.keys.items():
                kubernetes.use_config_map_as_env(task, held.name, {key: variable}, optional=held.optional)


def _resources(task: Any, kind: NodeKind) -> None:
    memory = _for_kfp(kind.memory)
    task.set_cpu_request(kind.cpu).set_cpu_limit(kind.cpu)
    task.set_memory_request(memory).set_memory_limit(memory)
    if kind.device is not None:
        task.set_accelerator_type(kind.device).set_accelerator_limit(kind.count)
    for name, value in kind.selector.items():
        kubernetes.add_node_selector(task, name, value)
    for one in kind.tolerations:
        kubernetes.add_toleration(task, key=one.key, operator=one.operator, value=one.value, effect=one.effect)


def _for_kfp(quantity: str) -> str:
    """Return a quantity as kfp takes it: a whole number, without the unit k."""
    return quantity if re.fullmatch(r"[0-9]+(Ki|[MGT]i?)?", quantity) else str(bytes_of(quantity))


def _volumes(task: Any, kind: NodeKind) -> None:
    if (size := kind.shared_memory) is not None:
        kubernetes.empty_dir_mount(task, "shared-memory", _SHARED_MEMORY, medium="Memory", size_limit=size)
    if (size := kind.scratch) is not None:
        kubernetes.empty_dir_mount(task, "scratch", SCRATCH, size_limit=size)


def _retry(task: Any, kind: NodeKind) -> None:
    attempts, limit = kind.retries + 1, kind.time_limit_seconds
    waits = _BACKOFF_SECONDS * _BACKOFF_FACTOR**attempts
    longest = _LONGEST_SECONDS if limit is None else max(_LONGEST_SECONDS, attempts * limit + waits)
    task.set_retry(
        kind.retries,
        backoff_duration=f"{_BACKOFF_SECONDS}s",
        backoff_factor=float(_BACKOFF_FACTOR),
        backoff_max_duration=f"{longest}s",
    )
