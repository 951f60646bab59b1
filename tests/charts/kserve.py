"""What KServe publishes of an InferenceService, as far as the chart uses it: no package on PyPI has its schema.

Written down from the CustomResourceDefinition of KServe 0.20 (kserve/kserve,
config/crd/full/serving.kserve.io_inferenceservices.yaml), and strict: a field that is not here is refused. A predictor
is those fields beside the ones of a pod, which are held against Kubernetes' own schema.
"""

from typing import Any

import jsonschema

from tests.kubernetes_models import check

_INTEGER = {"type": "integer"}
_STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
_PREDICTOR = {
    "labels": _STRINGS,
    "annotations": _STRINGS,
    "minReplicas": _INTEGER,
    "maxReplicas": _INTEGER,
    "timeout": _INTEGER,
    # The share of the newest revision; the rest is that of the one that had all last.
    "canaryTrafficPercent": {"type": "integer", "minimum": 0, "maximum": 100},
}
_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "serving.kserve.io/v1beta1"},
        "kind": {"const": "InferenceService"},
        "metadata": {
            "type": "object",
            "required": ["name"],
            # KServe's webhook: [a-z]([-a-z0-9]*[a-z0-9])?
            "properties": {
                "name": {"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"},
                "annotations": {
                    "type": "object",
                    "properties": {"serving.kserve.io/deploymentMode": {"enum": ["Knative", "Standard"]}},
                },
            },
        },
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["predictor"],
            "properties": {
                "predictor": {"type": "object", "additionalProperties": False, "properties": _PREDICTOR},
            },
        },
    },
}

# What Knative Serving takes of a pod and of a container, with the flags that are on by default (knative/serving,
# pkg/apis/serving/fieldmask.go and pkg/apis/config/features.go). It refuses everything else.
KNATIVE_POD = {
    "automountServiceAccountToken", "containers", "enableServiceLinks", "imagePullSecrets", "serviceAccountName",
    "volumes",
}  # fmt: skip
KNATIVE_CONTAINER = {
    "args", "command", "env", "envFrom", "image", "imagePullPolicy", "livenessProbe", "name", "ports", "readinessProbe",
    "resources", "securityContext", "startupProbe", "volumeMounts", "workingDir",
}  # fmt: skip


def validate(service: dict[str, Any]) -> None:
    """Hold an InferenceService against what is published.

    Raises:
        jsonschema.ValidationError: it is not one.
    """
    predictor = service["spec"]["predictor"]
    own = {name: value for name, value in predictor.items() if name in _PREDICTOR}
    jsonschema.validate({**service, "spec": {**service["spec"], "predictor": own}}, _SCHEMA)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "predictor"}, "spec": pod_of(predictor)}
    check(pod)


def pod_of(predictor: dict[str, Any]) -> dict[str, Any]:
    """Return what a predictor says of its pod."""
    return {name: value for name, value in predictor.items() if name not in _PREDICTOR}
