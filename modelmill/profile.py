"""The profile: where things run. A recipe says what is learned and names no host; a profile says where, and no more.

Secrets are named, never held: a profile has the name of a Kubernetes Secret and of its keys, so that it may lie in a
repository beside the recipes.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from modelmill.errors import is_secret, without_credentials
from modelmill.quantities import (
    Cores,
    Duration,
    Key,
    Label,
    LabelName,
    LabelValue,
    Name,
    Quantity,
    Resource,
    Value,
    Variable,
    Written,
    bytes_of,
    seconds_of,
)
from modelmill.settings import Section
from modelmill.sources import nearest

__all__ = [
    "OWN_VARIABLES",
    "SCRATCH",
    "FromConfigMap",
    "FromSecret",
    "Images",
    "Kfp",
    "NodeKind",
    "Profile",
    "Toleration",
    "bytes_of",
    "seconds_of",
]

# Variables of a step that say what another key of the profile says, or what only its pod knows.
OWN_VARIABLES = {
    "MODELMILL_STORE": "`store` says it",
    "MLFLOW_TRACKING_URI": "`mlflow` says it",
    "MLFLOW_EXPERIMENT_NAME": "`experiment` says it",
    "MODELMILL_PROFILE": "`name` says it",
    "MODELMILL_NODE": "`nodes` says it",
    "MODELMILL_PIPELINE": "the recipe's name is it",
    "MODELMILL_RUN": "the run's id is it",
    "MODELMILL_POD": "the pod's name is it",
    "MODELMILL_NAMESPACE": "the pod's namespace is it",
    "TMPDIR": "`scratch` of a kind of node says it",
}
Address = Annotated[str, Written(r"https?://[^\s@]+", "an address http(s)://host, without user and password")]
PinnedImage = Annotated[str, Written(r"[^\s@]+@sha256:[0-9a-f]{64}", "an image with its digest, NAME@sha256:…")]
Registry = Annotated[
    str, Written(r"[a-z0-9][a-zA-Z0-9.:/_-]*", "a registry and a path, such as registry.example.com/ml")
]
SCRATCH = "/scratch"
"""Where a step's scratch folder is mounted, and what its TMPDIR is."""


class FromSecret(Section):
    """Environment variables whose values are keys of a Kubernetes Secret."""

    name: Name
    """Of the Secret, in the namespace of the run."""
    keys: Mapping[Variable, Key] = Field(min_length=1)
    """Key of the Secret by environment variable."""
    optional: bool = False
    """Whether a step starts where the Secret or the key is not there."""


class FromConfigMap(Section):
    """Environment variables whose values are keys of a Kubernetes ConfigMap."""

    name: Name
    """Of the ConfigMap, in the namespace of the run."""
    keys: Mapping[Variable, Key] = Field(min_length=1)
    """Key of the ConfigMap by environment variable."""
    optional: bool = False
    """Whether a step starts where the ConfigMap or the key is not there."""


class Toleration(Section):
    """A taint that a step's pod puts up with."""

    key: LabelName
    """Of the taint."""
    operator: Literal["Equal", "Exists"] = "Exists"
    """Whether the taint's value must be `value`, or may be any."""
    value: LabelValue | None = None
    """Of the taint, for Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Of the taint; left out, any."""

    @model_validator(mode="after")
    def _value_goes_with_equal(self) -> Self:
        if (self.operator == "Equal") != (self.value is not None):
            raise ValueError(f"toleration of {self.key!r}: `value` goes with operator Equal, and only with it")
        return self


class NodeKind(Section):
    """One kind of node, and what a step takes of it."""

    cpu: Cores = "2"
    """Cores that a step asks for and gets."""
    memory: Quantity = "8Gi"
    """Memory that a step asks for, and the most that it may use."""
    device: Resource | None = None
    """Kubernetes resource of an accelerator, such as `nvidia.com/gpu`."""
    count: int = Field(default=1, ge=1, le=64)
    """Accelerators of a node that a step takes; one process trains on each."""
    device_memory: Quantity | None = None
    """Memory of one accelerator; `plan` refuses what does not fit."""
    device_tflops: float | None = Field(default=None, gt=0)
    """What one accelerator computes at best in bf16, in 10^12 operations a second; `plan` counts hours by it."""
    nodes: int = Field(default=1, ge=1, le=1024)
    """Nodes that train one model together; more than one through a TrainJob of Kubeflow Trainer."""
    runtime: Name = "torch-distributed"
    """ClusterTrainingRuntime of the TrainJob, where there are several nodes."""
    selector: Mapping[LabelName, LabelValue] = Field(default_factory=dict)
    """Labels that a node must have."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints that a node may have."""
    shared_memory: Quantity | None = None
    """Size of /dev/shm, through which processes of a node speak; left out, the container runtime's (64 MiB)."""
    scratch: Quantity | None = None
    """Size of the step's scratch folder on the node's disk; left out, what the node gives."""
    time_limit: Duration | None = None
    """A step that takes longer is stopped."""
    retries: int = Field(default=0, ge=0, le=20)
    """How often a failed step is started again; it goes on from its checkpoint."""
    queue: Label | None = None
    """Kueue's LocalQueue, in which the step's pod waits for its turn."""
    environment: Mapping[Variable, Value] = Field(default_factory=dict)
    """Variables of the steps on this kind, such as NCCL_SOCKET_IFNAME."""
    price_per_hour: float | None = Field(default=None, ge=0)
    """What one such node costs an hour, in the profile's currency."""

    @model_validator(mode="after")
    def _device_words_need_a_device(self) -> Self:
        told = {"count": self.count != 1, "device_memory": self.device_memory, "device_tflops": self.device_tflops}
        stray = [word for word, value in told.items() if value]
        if self.device is None and stray:
            raise ValueError(f"{', '.join(stray)}: there is no `device` that this is of, such as nvidia.com/gpu")
        return self

    @model_validator(mode="after")
    def _shared_memory_is_memory(self) -> Self:
        # Files in memory count against the container's limit: at that size the step would be killed, not refused.
        if self.shared_memory is not None and bytes_of(self.shared_memory) >= bytes_of(self.memory):
            raise ValueError(f"shared_memory: {self.shared_memory} is a part of memory, which is {self.memory} in all")
        return self

    def price(self, seconds: float) -> float | None:
        """Return what a step of so many seconds costs on all its nodes, None where no price is known."""
        return None if self.price_per_hour is None else self.price_per_hour * self.nodes * seconds / 3600

    @property
    def devices(self) -> int:
        """Accelerators that a step has on all its nodes."""
        return self.count * self.nodes if self.device is not None else 0

    @property
    def time_limit_seconds(self) -> int | None:
        """The time limit in seconds."""
        return None if self.time_limit is None else seconds_of(self.time_limit)


class Kfp(Section):
    """The Kubeflow Pipelines server that runs are submitted to."""

    host: Address
    """Address of its API, without user and password."""
    namespace: Label = "kubeflow"
    """Where runs belong, and their pods."""
    token_variable: Variable = "KFP_TOKEN"  # noqa: S105 - its name
    """Variable of the submitting person's environment that holds a bearer token; no token is sent where it is unset."""
    ca_file: str | None = None
    """Certificates that the server's is checked against; left out, the system's."""
    ui: Address | None = None
    """Address of its pages for people, where it is another."""


class Images(Section):
    """Names of the images, with their digests; left out, the names that this version gives them."""

    data: PinnedImage | None = None
    """Runs resolve, ingest, preprocess and register."""
    train: PinnedImage | None = None
    """Runs pretrain, finetune and evaluate."""


class Profile(Section):
    """Where things run: store, MLflow, Kubeflow Pipelines, image registry, and kinds of nodes by name."""

    version: Literal[1] = 1
    """Version of this format."""
    name: Label
    """For people."""
    store: Annotated[str, Written(r"s3://[^\s/@:]+(/[^\s@]*)?", "an address s3://bucket/prefix, without credentials")]
    """Where datasets, models and checkpoints are: `s3://bucket/prefix`."""
    mlflow: Address
    """Address of MLflow's server, without user and password."""
    experiment: str = "modelmill"
    """MLflow's experiment that runs go to."""
    kfp: Kfp
    """Where runs are submitted."""
    registry: Registry = "localhost"
    """Container registry, with its path, that the images are pulled from."""
    images: Images = Images()
    """Pinned images."""
    image_pull_secrets: tuple[Name, ...] = ()
    """Secrets of the namespace with which images are pulled."""
    service_account: Name = "modelmill"
    """Of all steps of a run."""
    environment: Mapping[Variable, Value] = Field(default_factory=dict)
    """Variables of every step that are no secrets, such as AWS_ENDPOINT_URL and AWS_DEFAULT_REGION."""
    secrets: tuple[FromSecret, ...] = ()
    """Variables of every step that are, such as AWS_SECRET_ACCESS_KEY and MODELMILL_NOTIFY."""
    config_maps: tuple[FromConfigMap, ...] = ()
    """Variables of every step that a ConfigMap of the namespace holds."""
    nodes: Mapping[Label, NodeKind] = Field(min_length=1)
    """Kinds of nodes by the names that recipes use under `resources`."""
    default_node: Label
    """Kind of the stages that a recipe says nothing about."""
    light_node: Label | None = None
    """Kind of resolve, register and the notification, which take seconds; left out, `default_node`."""
    currency: Annotated[str, Written(r"[A-Z]{3}", "a currency's three letters, such as USD")] = "USD"
    """Of the prices (ISO 4217)."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        for complaint in chain(self._about_kinds(), self._about_variables()):
            raise ValueError(complaint)
        return self

    def _about_kinds(self) -> Iterator[str]:
        for key in ("default_node", "light_node"):
            named = getattr(self, key)
            if named is not None and named not in self.nodes:
                kinds = nearest(named, tuple(self.nodes)) or f"; there are {', '.join(self.nodes)}"
                yield f"{key}: there is no kind of node {named!r}{kinds}"
                return
        if (count := self.nodes[self.light].nodes) > 1:
            yield f"light_node: {self.light!r} is {count} nodes; name a kind of one, for what takes seconds"

    def _about_variables(self) -> Iterator[str]:
        held = {variable: one.name for one in (*self.secrets, *self.config_maps) for variable in one.keys}
        for place, variables in self._said():
            for variable, value in variables.items():
                if variable in OWN_VARIABLES:
                    yield f"{place}.{variable}: leave it out; {OWN_VARIABLES[variable]}"
                if not place.endswith("environment"):
                    continue
                if is_secret(variable):
                    yield f"{place}.{variable}: a secret does not belong here; name it under `secrets`"
                if without_credentials(value) != value:
                    yield f"{place}.{variable}: holds a user or a password; name it under `secrets`"
                if variable in held:
                    yield f"{place}.{variable}: set twice: here, and from {held[variable]!r}"
        seen: dict[str, str] = {}
        for place, variables in self._said():
            for variable in () if place.endswith("environment") else variables:
                if variable in seen:
                    yield f"{place}.{variable}: set twice: here, and at {seen[variable]}"
                seen[variable] = place

    def _said(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Every set of variables of the profile by the key that it is said under."""
        yield "environment", self.environment
        for name, kind in self.nodes.items():
            yield f"nodes.{name}.environment", kind.environment
        for word, many in (("secrets", self.secrets), ("config_maps", self.config_maps)):
            for position, one in enumerate(many):
                yield f"{word}.{position}.keys", one.keys

    @property
    def light(self) -> str:
        """The kind of resolve, register, the notification, and of a step that only watches over others."""
        return self.light_node or self.default_node

    def node(self, name: str | None) -> NodeKind:
        """Return a kind of node by its name, or the default one.

        Raises:
            KeyError: there is no such kind; whoever reads a recipe checks it first.
        """
        return self.nodes[self.default_node if name is None else name]
