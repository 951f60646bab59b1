"""The chart as a package, and the names that it shares with profiles, images and locks."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import modelmill
from modelmill.images import image
from modelmill.profile import Profile
from pipelines.profile_file import load
from tests.charts.helm import CHART, CI, Helm, containers, environment, of_kind, one

ROOT = Path(__file__).parents[2]


def test_the_chart_is_of_the_packages_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == modelmill.__version__


def test_the_chart_is_packed_and_read_again_without_a_network(helm: Helm, tmp_path: Path) -> None:
    assert "dependencies" not in yaml.safe_load((CHART / "Chart.yaml").read_text())
    done = helm.run("package", str(CHART), "--destination", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (packed,) = tmp_path.iterdir()
    trial = CI / "canary-values.yaml"
    kinds = [sorted(each["kind"] for each in helm.render(trial, chart=chart)) for chart in (packed, CHART)]
    assert kinds[0] == kinds[1]


def test_images_have_the_names_that_the_module_of_images_gives_them(
    helm: Helm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MODELMILL_REGISTRY", raising=False)
    found = {container["image"] for _, container in containers(helm.render(CI / "canary-values.yaml"))}
    # The chart's tag is the version alone; that of a pipeline's image goes on with a digest of the code.
    for kind in ("data", "train"):
        name, _, digest = image(kind).rpartition("-")
        assert digest
        assert name in found


def test_mlflows_server_is_of_the_version_that_the_steps_speak_to() -> None:
    (locked,) = re.findall(r"^mlflow-skinny==(\S+)", (ROOT / "images" / "data.lock").read_text(), re.MULTILINE)
    assert yaml.safe_load((CHART / "values.yaml").read_text())["mlflow"]["image"]["tag"] == f"v{locked}-full"


def test_the_profile_that_is_there_to_copy_has_the_charts_names(helm: Helm) -> None:
    profile = load(ROOT / "pipelines" / "profiles" / "cluster.yaml")
    objects = helm.render(CI / "trial-values.yaml", namespace=profile.kfp.namespace)
    assert one(objects, "ServiceAccount", profile.service_account)
    env = environment(
        one(objects, "CronJob", "modelmill-retention")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][
            0
        ]
    )
    assert env["MODELMILL_STORE"] == profile.store
    assert env["MLFLOW_TRACKING_URI"] == profile.mlflow
    for variable, value in profile.environment.items():
        assert env[variable] == value
    (keys,) = [secret for secret in profile.secrets if "AWS_ACCESS_KEY_ID" in secret.keys]
    assert one(objects, "Secret", keys.name)["data"].keys() == set(keys.keys.values())


def test_the_notes_say_a_profile(helm: Helm, values: Path) -> None:
    notes = helm.installed(values).split("NOTES:\n", 1)[1]
    said = re.split(r"^  (?=store:)", notes, flags=re.MULTILINE)[1].split("`modelmill doctor")[0]
    told = yaml.safe_load(f"  {said}".replace("<address of Kubeflow Pipelines>", "http://ml-pipeline.kubeflow:8888"))
    told.setdefault("mlflow", "http://mlflow.example.com")
    profile = Profile.model_validate_json(
        json.dumps({**told, "name": "notes", "nodes": {"light": {}}, "default_node": "light"})
    )
    objects = helm.render(values)
    assert profile.service_account in {each["metadata"]["name"] for each in of_kind(objects, "ServiceAccount")}


def test_notes_tell_of_a_dry_run_until_retention_is_let_loose(helm: Helm) -> None:
    assert "set retention.apply=true" in helm.installed({})
    assert "retention.apply" not in helm.installed({"retention": {"apply": True}})


def test_retention_only_reports_until_it_is_told_to_remove(helm: Helm) -> None:
    for values, wanted in (
        ("default", ["--keep-versions=5", "--min-age=7d"]),
        ("production", ["--keep-versions=10", "--min-age=30d", "--deleted=old model", "--apply"]),
    ):
        objects = helm.render(CI / f"{values}-values.yaml")
        job = one(objects, "CronJob", "modelmill-retention")["spec"]
        (container,) = job["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        assert container["command"] == ["python3", "-m", "modelmill.retention"]
        assert container["args"] == wanted
        assert job["concurrencyPolicy"] == "Forbid"
        assert "modelmill-data:" in container["image"]


@pytest.mark.parametrize("values", [pytest.param("default", marks=pytest.mark.slow), "production"])
def test_retention_takes_what_the_chart_tells_it(helm: Helm, tmp_path: Path, values: str) -> None:
    job = one(helm.render(CI / f"{values}-values.yaml"), "CronJob", "modelmill-retention")["spec"]
    (container,) = job["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    (tmp_path / "store").mkdir()
    env = {name: value for name, value in environment(container).items() if isinstance(value, str)}
    env = {**os.environ, **env, "MODELMILL_STORE": str(tmp_path / "store"), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, *container["command"][1:], *container["args"]],
        env={**env, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_launcher_of_kubeflow_pipelines_finds_the_store(helm: Helm) -> None:
    def told(values: str) -> dict[str, object]:
        data = one(helm.render(CI / f"{values}-values.yaml"), "ConfigMap", "kfp-launcher")["data"]
        found: dict[str, object] = yaml.safe_load(data["providers"])["s3"]["default"]
        return {**found, "root": data["defaultPipelineRoot"]}

    def keys(name: str) -> dict[str, object]:
        return {
            "fromEnv": False,
            "secretRef": {"secretName": name, "accessKeyKey": "access_key", "secretKeyKey": "secret_key"},
        }

    assert told("trial") == {
        "root": "s3://kfp/artifacts", "endpoint": "http://modelmill-seaweedfs.modelmill:8333", "region": "us-east-1",
        "disableSSL": True, "forcePathStyle": True, "credentials": keys("modelmill-s3"),
    }  # fmt: skip
    assert told("production") == {
        "root": "s3://ml-artifacts/kfp", "endpoint": "https://minio.example.com:9000", "region": "eu-central-1",
        "disableSSL": False, "forcePathStyle": True, "credentials": keys("ml-s3"),
    }  # fmt: skip
    assert not of_kind(helm.render({}), "ConfigMap")
