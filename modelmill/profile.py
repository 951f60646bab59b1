"""The profile: where things run. A recipe says what is learned and names no host; a profile says where, and no more.

Secrets are named, never held: a profile has the name of a Kubernetes Secret and of its keys, so that it may lie in a
repository beside the recipes.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from modelmill.settings import Section

# RFC 1123 names, as Kubernetes' API wants them.
_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_QUANTITY = r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$"
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# What the environment's names give away; such a value belongs into a Secret.
_SECRET_WORDS = re.compile(r"SECRET|PASSWORD|TOKEN|CREDENTIAL|ACCESS_KEY|API_KEY|PRIVATE", re.IGNORECASE)

Label = Annotated[str, Field(pattern=_LABEL, max_length=63)]
Name = Annotated[str, Field(pattern=_NAME, max_length=253)]
Variable = Annotated[str, Field(pattern=_VARIABLE)]
Quantity = Annotated[str, Field(pattern=_QUANTITY)]
"""Bytes, as Kubernetes writes them: `512Mi`, `80Gi`."""
Cores = Annotated[str, Field(pattern=r"^([0-9]+(\.[0-9]+)?|[0-9]+m)$")]
"""Processor cores, as Kubernetes writes them: `4`, `0.5`, `500m`."""
Duration = Annotated[str, Field(pattern=r"^[1-9][0-9]*[smhd]$")]
"""A time: `90s`, `30m`, `12h`, `2d`."""


class FromSecret(Section):
    """Environment variables whose values are keys of a Kubernetes Secret."""

    name: Name
    """Of the Secret, in the namespace of the run."""
    keys: Mapping[Variable, str] = Field(min_length=1)
    """Key of the Secret by environment variable."""
    optional: bool = False
    """Whether a step starts where the Secret or the key is not there."""


class FromConfigMap(Section):
    """Environment variables whose values are keys of a Kubernetes ConfigMap."""

    name: Name
    """Of the ConfigMap, in the namespace of the run."""
    keys: Mapping[Variable, str] = Field(min_length=1)
    """Key of the ConfigMap by environment variable."""
    optional: bool = False
    """Whether a step starts where the ConfigMap or the key is not there."""


class Toleration(Section):
    """A taint that a step's pod puts up with."""

    key: str
    """Of the taint."""
    operator: Literal["Equal", "Exists"] = "Exists"
    """Whether the taint's value must be `value`, or may be any."""
    value: str | None = None
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
    device: str | None = Field(default=None, pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")
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
    selector: Mapping[str, str] = Field(default_factory=dict)
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
    environment: Mapping[Variable, str] = Field(default_factory=dict)
    """Variables of the steps on this kind, such as NCCL_SOCKET_IFNAME."""
    price_per_hour: float | None = Field(default=None, ge=0)
    """What one such node costs an hour, in the profile's currency."""

    @model_validator(mode="after")
    def _device_words_need_a_device(self) -> Self:
        stray = [word for word in ("count", "device_memory", "device_tflops") if word in self.model_fields_set]
        if self.device is None and stray:
            raise ValueError(f"{', '.join(stray)}: there is no `device` that this is of, such as nvidia.com/gpu")
        return self

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

    host: str = Field(pattern=r"^https?://[^\s@]+$")
    """Address of its API, without user and password."""
    namespace: Label = "kubeflow"
    """Where runs belong, and their pods."""
    token_variable: Variable = "KFP_TOKEN"  # noqa: S105 - its name
    """Variable of the submitting person's environment that holds a bearer token; no token is sent where it is unset."""
    ca_file: str | None = None
    """Certificates that the server's is checked against; left out, the system's."""
    ui: str | None = None
    """Address of its pages for people, where it is another."""


class Images(Section):
    """Names of the images, with their digests; left out, the names that this version gives them."""

    data: str | None = Field(default=None, pattern=r"^\S+@sha256:[0-9a-f]{64}$")
    """Runs resolve, ingest, preprocess and register."""
    train: str | None = Field(default=None, pattern=r"^\S+@sha256:[0-9a-f]{64}$")
    """Runs pretrain, finetune and evaluate."""


class Profile(Section):
    """Where things run: store, MLflow, Kubeflow Pipelines, image registry, and kinds of nodes by name."""

    version: Literal[1] = 1
    """Version of this format."""
    name: Label
    """For people."""
    store: str = Field(pattern=r"^s3://[^\s/]+(/\S*)?$")
    """Where datasets, models and checkpoints are: `s3://bucket/prefix`."""
    mlflow: str = Field(pattern=r"^https?://[^\s@]+$")
    """Address of MLflow's server, without user and password."""
    experiment: str = "modelmill"
    """MLflow's experiment that runs go to."""
    kfp: Kfp
    """Where runs are submitted."""
    registry: str = Field(default="localhost", pattern=r"^[a-z0-9][a-zA-Z0-9.:/_-]*$")
    """Container registry, with its path, that the images are pulled from."""
    images: Images = Images()
    """Pinned images."""
    image_pull_secrets: tuple[Name, ...] = ()
    """Secrets of the namespace with which images are pulled."""
    service_account: Name = "modelmill"
    """Of all steps of a run."""
    environment: Mapping[Variable, str] = Field(default_factory=dict)
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
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    """Of the prices (ISO 4217)."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        for key in ("default_node", "light_node"):
            named = getattr(self, key)
            if named is not None and named not in self.nodes:
                raise ValueError(f"{key} {named!r} is none of the kinds of `nodes`: {', '.join(self.nodes)}")
        said: dict[str, str] = {}
        told = [("environment", self.environment), *((f"secret {one.name}", one.keys) for one in self.secrets)]
        for place, variables in [*told, *((f"config map {one.name}", one.keys) for one in self.config_maps)]:
            for variable in variables:
                if variable in said:
                    raise ValueError(f"{variable} is set twice: by {said[variable]} and by {place}")
                said[variable] = place
        for place, variables in {"environment": self.environment, **self._environments()}.items():
            for variable in variables:
                if _SECRET_WORDS.search(variable):
                    raise ValueError(f"{place}.{variable}: a secret does not belong here; name it under `secrets`")
        return self

    def _environments(self) -> dict[str, Mapping[str, str]]:
        return {f"nodes.{name}.environment": kind.environment for name, kind in self.nodes.items()}

    def node(self, name: str | None) -> NodeKind:
        """Return a kind of node by its name, or the default one.

        Raises:
            KeyError: there is no such kind; whoever reads a recipe checks it first.
        """
        return self.nodes[self.default_node if name is None else name]


def bytes_of(quantity: str) -> int:
    """Return the bytes of a quantity as Kubernetes writes it: `1.5Gi` is 1,610,612,736."""
    found = re.match(r"^([0-9.]+)([A-Za-z]*)$", quantity)
    assert found is not None, quantity
    return int(float(found[1]) * _UNITS[found[2]])


def seconds_of(duration: str) -> int:
    """Return the seconds of a duration: `12h` is 43,200."""
    return int(duration[:-1]) * _SECONDS[duration[-1]]
