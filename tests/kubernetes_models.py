"""Kubernetes objects held against what their makers publish: the schemas of 1.36, and Kubeflow Trainer's models."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from referencing import Registry, Resource

VERSION = "1.36"
# What Trainer's webhook keeps for itself (pkg/constants of kubeflow/trainer).
_RESERVED = {"PET_NNODES", "PET_NPROC_PER_NODE", "PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT"}
_TRAINER = "trainer.kubeflow.org/v1alpha1"


def problem(body: Mapping[str, Any]) -> str:
    """Return what is wrong with an object, in one line; '' where its maker takes it."""
    if body.get("apiVersion") == _TRAINER:
        return _trainer_problem(body)
    try:
        check(body)
    except ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    except FileNotFoundError:
        # Objects of others' kinds, such as Kueue's: there is nothing on PyPI to hold them against.
        api = str(body.get("apiVersion", ""))
        return "" if "." in api.partition("/")[0] else f"Kubernetes {VERSION} has no {body.get('kind')} in {api!r}"
    return ""


def check(body: Mapping[str, Any]) -> None:
    """Hold an object against Kubernetes' strict schemas, which kubernetes-validate brings.

    Its own function reads all of them for each object.

    Raises:
        ValidationError: the object is not as the schema says.
        FileNotFoundError: Kubernetes has no such kind.
    """
    _validator(str(body.get("kind")), str(body.get("apiVersion"))).validate(dict(body))


@cache
def _validator(kind: str, version: str) -> Draft202012Validator:
    # networking.k8s.io/v1 is in the schemas' names networking-v1.
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", version)
    schema = _schema(f"{kind.lower()}-{group}.json")
    registry: Registry[Any] = schema @ (_schema("_definitions.json") @ Registry())
    return Draft202012Validator(schema.contents, registry=registry)


@cache
def _schema(name: str) -> "Resource[Any]":
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{VERSION}.0-local-strict"
    return Resource.from_contents(json.loads((folder / name).read_text()))


def _trainer_problem(body: Mapping[str, Any]) -> str:
    from kubeflow_trainer_api import models
    from pydantic import ValidationError

    kinds: Mapping[str, Callable[[Any], Any]] = {
        "TrainJob": models.TrainerV1alpha1TrainJob.from_dict,
        "ClusterTrainingRuntime": models.TrainerV1alpha1ClusterTrainingRuntime.from_dict,
    }
    try:
        known = kinds[body["kind"]](json.loads(json.dumps(body))).to_dict()
    except (KeyError, ValueError, ValidationError) as error:
        return f"{body.get('kind')}: {error}"
    unknown = list(_unknown(body, known, ""))
    if unknown:
        return f"unknown field {', '.join(unknown)}"
    return _rule(body) if body["kind"] == "TrainJob" else ""


def _unknown(said: Any, known: Any, place: str) -> Iterator[str]:
    """Yield the fields that a model left out of what it was given."""
    if isinstance(said, Mapping) and isinstance(known, Mapping):
        for key, value in said.items():
            if key not in known:
                if value is not None:
                    yield f"{place}.{key}".lstrip(".")
            else:
                yield from _unknown(value, known[key], f"{place}.{key}")
    elif isinstance(said, list) and isinstance(known, list):
        for number, (one, other) in enumerate(zip(said, known, strict=True)):
            yield from _unknown(one, other, f"{place}[{number}]")


def _rule(body: Mapping[str, Any]) -> str:
    """Return which of the rules that stand in the TrainJob's CRD and webhook is broken, beyond types."""
    name, spec = body["metadata"]["name"], body["spec"]
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name) or len(name) > 63:
        return f"metadata.name: {name!r} must match RFC 1035 DNS label format"
    taken = [one["name"] for one in spec.get("trainer", {}).get("env", []) if one["name"] in _RESERVED]
    if taken:
        return f"spec.trainer.env: must not have reserved envs, invalid envs configured: {taken}"
    names = [one["name"] for one in spec.get("trainer", {}).get("env", [])]
    if len(names) != len(set(names)) or len(names) > 128:
        return f"spec.trainer.env: names must be unique and at most 128, got {len(names)}"
    for patch in spec.get("runtimePatches", []):
        if not re.fullmatch(r"[a-z0-9][-a-z0-9.]*/[-A-Za-z0-9_.]+", patch["manager"]):
            return f"spec.runtimePatches: manager {patch['manager']!r} must be a domain-prefixed path (such as x.io/y)"
        wrong = _patch_rule(patch.get("trainingRuntimeSpec", {}).get("template", {}).get("spec", {}))
        if wrong:
            return f"spec.runtimePatches: {wrong}"
    return ""


def _patch_rule(patch: Mapping[str, Any]) -> str:
    for job in patch.get("replicatedJobs", []):
        pod = job.get("template", {}).get("spec", {}).get("template", {}).get("spec", {})
        for container in pod.get("containers", []):
            if job["name"] != "node" or container["name"] != "node":
                return (
                    f"must not have container {container['name']} that doesn't exist in the runtime job {job['name']}"
                )
            if container.get("env"):
                return "must not have envs for the node container"
    return ""
