"""What the steps may ask of Kubernetes' API server: these rules, and no other."""

from pathlib import Path
from typing import Any

import pytest

from tests.charts.helm import CI, Helm, Object, of_kind, one

Rule = tuple[str, str, tuple[str, ...], frozenset[str]]

# What Argo's executor, and the driver and the launcher of Kubeflow Pipelines 2.17, ask for.
ENGINE: set[Rule] = {
    ("argoproj.io", "workflowtaskresults", (), frozenset({"create", "patch"})),
    ("", "configmaps", ("kfp-launcher",), frozenset({"get"})),
}
POD: Rule = ("", "pods", (), frozenset({"get"}))
# What a step asks for that makes a TrainJob.
TRAINER: set[Rule] = {
    ("", "pods", (), frozenset({"get", "list", "watch"})),
    ("", "pods/log", (), frozenset({"get"})),
    ("", "events", (), frozenset({"list"})),
    ("trainer.kubeflow.org", "trainjobs", (), frozenset({"create", "get", "list", "watch", "patch", "delete"})),
}


def secret(name: str) -> Rule:
    return ("", "secrets", (name,), frozenset({"get"}))


def rules(objects: list[Object]) -> set[Rule]:
    (role,) = of_kind(objects, "Role")
    found: set[Rule] = set()
    for rule in role["rules"]:
        (group,), (resource,) = rule["apiGroups"], rule["resources"]
        found.add((group, resource, tuple(rule.get("resourceNames", ())), frozenset(rule["verbs"])))
    return found


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ("default", {*ENGINE, POD, secret("mlpipeline-minio-artifact")}),
        ("rights", {*ENGINE, POD, secret("mlpipeline-minio-artifact")}),
        ("identity", {*ENGINE, POD}),
        ("trial", {*ENGINE, *TRAINER, secret("modelmill-s3")}),
        ("production", {*ENGINE, *TRAINER, secret("ml-s3")}),
    ],
)
def test_the_steps_may_do_this_and_nothing_else(helm: Helm, values: str, wanted: set[Rule]) -> None:
    assert rules(helm.render(CI / f"{values}-values.yaml")) == wanted


def test_no_right_reaches_beyond_the_namespace_or_to_anyone_else(helm: Helm, values: Path) -> None:
    objects = helm.render(values)
    assert not of_kind(objects, "ClusterRole") + of_kind(objects, "ClusterRoleBinding")
    (binding,) = of_kind(objects, "RoleBinding")
    assert binding["roleRef"]["name"] == of_kind(objects, "Role")[0]["metadata"]["name"]
    account = {"kind": "ServiceAccount", "name": "modelmill", "namespace": "modelmill"}
    assert binding["subjects"] == [account]


def test_an_account_that_is_there_gets_the_rights(helm: Helm) -> None:
    values: dict[str, Any] = {"serviceAccounts": {"steps": {"make": False, "name": "pipeline-runner"}}}
    objects = helm.render(values)
    assert one(objects, "RoleBinding", "modelmill-steps")["subjects"][0]["name"] == "pipeline-runner"
    assert [each["metadata"]["name"] for each in of_kind(objects, "ServiceAccount")] == ["modelmill-services"]
