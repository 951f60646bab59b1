"""Values that helm must refuse, with a sentence that names the key."""

import json
from typing import Any

import pytest
import yaml

from tests.charts.helm import CHART, Helm

MODEL = f"s3://modelmill/store/models/{'a' * 64}"
OTHER = f"s3://modelmill/store/models/{'b' * 64}"
RESOURCES = {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"cpu": 1, "memory": "1Gi"}}


def under(path: str, value: Any) -> dict[str, Any]:
    """Return values that set one key: `a.b` is {a: {b: value}}."""
    for key in reversed(path.split(".")):
        value = {key: value}
    found: dict[str, Any] = value
    return found


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("mlfow", {"enabled": True}, "additional properties 'mlfow' not allowed"),
        ("mlflow.replica", 2, "additional properties 'replica' not allowed"),
        ("serving.canary.share", 10, "additional properties 'share' not allowed"),
        ("mlflow.replicas", "two", "got string, want integer"),
        ("mlflow.replicas", 0, "minimum: got 0, want 1"),
        ("mlflow.enabled", "yes", "got string, want boolean"),
        ("mlflow.backend", "mysql", "value must be one of 'sqlite', 'postgresql'"),
        ("mlflow.image.tag", "latest", "'not' failed"),
        ("mlflow.image.digest", "1234", "does not match pattern"),
        ("mlflow.allowedHosts", "mlflow.example.com", "got string, want array"),
        ("mlflow.allowedHosts", ["a,b"], "does not match pattern"),
        ("mlflow.sqlite.size", "ten", "does not match pattern"),
        ("mlflow.resources", {**RESOURCES, "limits": None}, "missing property 'limits'"),
        ("mlflow.resources.requests.memory", "1 GB", "does not match pattern"),
        ("image.tag", "latest", "'not' failed"),
        ("image.registry", "https://registry", "does not match pattern"),
        ("image.pullPolicy", "Sometimes", "value must be one of"),
        ("image.pullSecrets", ["A_B"], "does not match pattern"),
        ("fullnameOverride", "1st", "does not match pattern"),
        ("fullnameOverride", "a" * 41, "maxLength: got 41, want 40"),
        ("s3.store", "/data/store", "does not match pattern"),
        ("s3.store", "s3://b", "does not match pattern"),
        ("s3.artifacts", "", "does not match pattern"),
        ("secrets.s3.existing", "My_Secret", "does not match pattern"),
        ("secrets.s3.access_key", "x", "additional properties 'access_key' not allowed"),
        ("seaweedfs.buckets", ["Raw"], "does not match pattern"),
        ("retention.schedule", "at night", "does not match pattern"),
        ("retention.schedule", "0 3 * *", "does not match pattern"),
        ("retention.keepVersions", 0, "minimum: got 0, want 1"),
        ("retention.minAge", "1h", "does not match pattern"),
        ("retention.apply", "true", "got string, want boolean"),
        ("serving.mode", "Serverless", "value must be one of 'Knative', 'Standard'"),
        ("serving.canary.percent", 101, "maximum: got 101, want 100"),
        ("serving.canary.percent", -1, "minimum: got -1, want 0"),
        ("serving.canary.percent", 12.5, "got number, want integer"),
        ("serving.model", "movies@champion", "does not match pattern"),
        ("serving.model", "models:/movies/3", "does not match pattern"),
        ("serving.model", "s3://modelmill/store/models/latest", "does not match pattern"),
        ("serving.canary.model", MODEL[:-1], "does not match pattern"),
        ("network.egress.to", [{"cidr": "10.0.0.0/8"}], "additional properties 'cidr' not allowed"),
        ("network.mlflow.from", [{}], "minProperties: got 0, want 1"),
    ],
)
def test_a_wrong_value_is_refused_under_its_key(helm: Helm, key: str, value: Any, said: str) -> None:
    refusal = helm.refusal(under(key, value))
    # An unknown key is named by what is said of the place that it stands in.
    known = key.split(".")[:-1] if key.rpartition(".")[2] in said else key.split(".")
    assert said in refusal
    assert f"at '{''.join(f'/{each}' for each in known)}" in refusal


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"secrets": {"s3": {"existing": "keys", "make": True}}, "seaweedfs": {"enabled": True}},
            "secrets.s3: existing (keys) and make at once; name a Secret, or have one made",
        ),
        ({"secrets": {"s3": {"make": True}}}, "name the Secret with them in secrets.s3.existing"),
        ({"seaweedfs": {"enabled": True}}, "seaweedfs.enabled: it has no keys; set secrets.s3.make=true"),
        (
            {
                "seaweedfs": {"enabled": True}, "secrets": {"s3": {"make": True}},
                "s3": {"endpoint": "https://minio.example.com"},
            },
            "s3.endpoint (https://minio.example.com) and seaweedfs.enabled at once",
        ),
        (
            {"mlflow": {"postgresql": {"secret": "database"}}},
            "mlflow.postgresql.secret (database), but mlflow.backend is sqlite; a server has one database",
        ),
        ({"mlflow": {"backend": "postgresql"}}, "mlflow.postgresql.secret: mlflow.backend is postgresql"),
        ({"mlflow": {"replicas": 2}}, "mlflow.replicas: 2 servers cannot share a SQLite file"),
        ({"mlflow": {"uri": "https://mlflow.example.com"}}, "mlflow.uri (https://mlflow.example.com) is of another"),
        ({"mlflow": {"enabled": False}}, "mlflow.uri: retention must ask MLflow which models are in use"),
        ({"serving": {"enabled": True}}, "serving.model: no address; name the champion's"),
        (
            {"serving": {"enabled": True, "mode": "Standard", "model": MODEL, "canary": {"model": OTHER}}},
            "set serving.mode=Knative",
        ),
        ({"serving": {"enabled": True, "model": MODEL, "canary": {"model": MODEL}}}, "name the challenger's address"),
        (
            {"serving": {"enabled": True, "model": MODEL, "minReplicas": 3}},
            "serving.minReplicas (3) is more than serving.maxReplicas (2)",
        ),
        ({"serviceAccounts": {"steps": {"make": False}}}, "serviceAccounts.steps: neither made nor named"),
        ({"serviceAccounts": {"services": {"name": "modelmill"}}}, "services must not have the steps' rights"),
        (
            {"network": {"enabled": False, "egress": {"enabled": True}}},
            "network.egress.enabled: there are no network policies",
        ),
        ({"network": {"egress": {"enabled": True}}}, "network.egress.to: S3 lies outside the chart"),
    ],
)  # fmt: skip
def test_keys_that_contradict_each_other_are_refused_in_one_sentence(
    helm: Helm, values: dict[str, Any], said: str
) -> None:
    first, *_ = helm.refusal(values).splitlines()
    assert said in first


def test_an_address_with_a_password_is_refused_and_not_repeated(helm: Helm) -> None:
    for key in ("s3.endpoint", "mlflow.uri"):
        refusal = helm.refusal(under(key, "https://me:hunter2@minio.example.com"))
        assert f"{key}: holds a user or a password" in refusal
        assert "hunter2" not in refusal


@pytest.mark.parametrize("release", ["1st", "team.models"])
def test_a_release_whose_name_no_service_may_have_is_refused(helm: Helm, release: str) -> None:
    assert "take another name, or set fullnameOverride" in helm.refusal({}, release=release)
    assert helm.render({"fullnameOverride": "models"}, release=release)


def test_the_schema_knows_every_value_and_no_other(helm: Helm) -> None:
    def keys(values: Any, place: str = "") -> set[str]:
        if not isinstance(values, dict) or place.endswith((".requests", ".limits")):
            return {place}
        return {place}.union(*(keys(value, f"{place}.{key}") for key, value in values.items()))

    schema = json.loads((CHART / "values.schema.json").read_text())

    def known(part: dict[str, Any], place: str = "") -> set[str]:
        if "$ref" in part:
            part = schema["definitions"][part["$ref"].rsplit("/", 1)[1]]
        return {place}.union(*(known(each, f"{place}.{key}") for key, each in part.get("properties", {}).items()))

    assert known(schema) == keys(yaml.safe_load((CHART / "values.yaml").read_text()))
