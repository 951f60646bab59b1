"""The servers of the chart, run here with the arguments and variables that the chart gives them."""

import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import servers
from tests.charts.helm import CI, Helm, Object, environment, of_kind, one

KEYS = {"AWS_ACCESS_KEY_ID": "an-access-key-of-the-secret", "AWS_SECRET_ACCESS_KEY": 'with "quotes" and \\'}


def container(objects: list[Object], kind: str, name: str) -> Object:
    found: Object = one(objects, kind, name)["spec"]["template"]["spec"]["containers"][0]
    return found


def answer(url: str, *, host: str = "", body: bytes | None = None) -> int:
    """Return the status of what a server says, asked under a host's name."""
    request = urllib.request.Request(url, data=body, method="GET" if body is None else "PUT")
    if host:
        request.add_header("Host", host)
    try:
        with urllib.request.urlopen(request, timeout=30) as said:
            return int(said.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@dataclass(frozen=True, kw_only=True)
class Weed:
    """SeaweedFS as the chart starts it."""

    ports: list[int]
    folder: Path
    job: Object

    def made(self, **keys: str) -> subprocess.CompletedProcess[str]:
        """Run what the Job of the buckets runs."""
        env = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.ports[0]}",
            "AWS_DEFAULT_REGION": "us-east-1",
            **KEYS,
            **keys,
        }
        (python, flag) = self.job["command"]
        assert python == "python3"
        return subprocess.run(
            [sys.executable, flag, *self.job["args"]],
            env=env, cwd=self.folder, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    def client(self, **options: Any) -> Any:
        import boto3

        keys = {"aws_access_key_id": KEYS["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": KEYS["AWS_SECRET_ACCESS_KEY"]}
        return boto3.session.Session().client(
            "s3", endpoint_url=f"http://127.0.0.1:{self.ports[0]}", region_name="us-east-1", **{**keys, **options}
        )


@pytest.fixture(scope="module")
def weed(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weed]:
    """SeaweedFS with the chart's arguments; only its folder and its ports are others."""
    folder = tmp_path_factory.mktemp("weed")
    objects = helm.render(CI / "trial-values.yaml")
    given = container(objects, "StatefulSet", "modelmill-seaweedfs")
    assert given["command"] == ["/usr/bin/weed"]
    kinds = ("s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc")
    ports = servers.free_ports(8)
    elsewhere = [f"-{kind}={port}" for kind, port in zip((*kinds, "filer.port", "filer.port.grpc"), ports, strict=True)]
    arguments = [each for each in given["args"] if not each.startswith(("-dir=", "-s3.port="))]
    command = [str(servers.BIN / "weed"), *arguments, f"-dir={folder}", *elsewhere]
    assert given["readinessProbe"]["httpGet"]["path"] == "/status"
    status = f"http://127.0.0.1:{ports[0]}/status"
    with servers.running("SeaweedFS", command, folder, ready=lambda: answer(status) == 200, env=KEYS):
        yield Weed(ports=ports, folder=folder, job=container(objects, "Job", "modelmill-buckets"))


def test_the_buckets_are_made_once(weed: Weed) -> None:
    first, second = weed.made(), weed.made()
    assert (first.returncode, first.stderr) == (0, ""), first.stderr
    assert first.stdout.split("\n")[:-1] == ["kfp: made", "modelmill: made", "raw-data: made"]
    assert second.stdout.split("\n")[:-1] == ["kfp: is there", "modelmill: is there", "raw-data: is there"]
    assert {bucket["Name"] for bucket in weed.client().list_buckets()["Buckets"]} == {"kfp", "modelmill", "raw-data"}


def test_other_keys_are_refused_and_not_waited_for(weed: Weed) -> None:
    for keys in ({"AWS_SECRET_ACCESS_KEY": "wrong-key"}, {"AWS_ACCESS_KEY_ID": "wrong-key"}):
        done = weed.made(**keys)
        assert done.returncode == 1
        assert "the server does not take the keys of the Secret" in done.stderr
        assert "wrong-key" not in done.stderr + done.stdout


def test_whoever_has_no_keys_reads_and_writes_nothing(weed: Weed) -> None:
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.exceptions import ClientError

    weed.client().create_bucket(Bucket="closed")
    weed.client().put_object(Bucket="closed", Key="object", Body=b"bytes")
    stranger = weed.client(config=Config(signature_version=UNSIGNED))
    for act in (
        lambda: stranger.put_object(Bucket="closed", Key="other", Body=b""),
        lambda: stranger.get_object(Bucket="closed", Key="object"),
        stranger.list_buckets,
    ):
        with pytest.raises(ClientError, match=r"AccessDenied|Forbidden"):
            act()
    assert weed.client().get_object(Bucket="closed", Key="object")["Body"].read() == b"bytes"


def test_a_bucket_that_nobody_made_takes_no_objects(weed: Weed) -> None:
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError, match="NoSuchBucket"):
        weed.client().put_object(Bucket="never-made", Key="object", Body=b"")


def test_only_s3_listens_to_others(weed: Weed) -> None:
    s3, _, *inner = weed.ports
    heard: dict[int, set[str]] = {}
    for each in psutil.net_connections("tcp"):
        if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port in weed.ports:
            heard.setdefault(each.laddr.port, set()).add(each.laddr.ip)
    assert heard[s3] & {"0.0.0.0", "::"}
    assert {ip for port in inner for ip in heard[port]} == {"127.0.0.1"}


def test_a_server_that_is_not_there_is_told_in_a_sentence(weed: Weed) -> None:
    # The waiting is cut short: what is tried is what is said at its end.
    script, *buckets = weed.job["args"]
    port = servers.free_ports(1)[0]
    env = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_DEFAULT_REGION": "us-east-1", **KEYS}
    done = subprocess.run(
        [sys.executable, "-c", script.replace("SECONDS = 600", "SECONDS = 0"), *buckets],
        env=env, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert "kfp: not made within 0 s: Could not connect to the endpoint URL" in done.stderr


@pytest.fixture(scope="module")
def mlflow(
    helm: Helm, tmp_path_factory: pytest.TempPathFactory, s3: servers.S3Server
) -> Iterator[tuple[str, str, Path]]:
    """MLflow's server with the chart's arguments: its address, the bucket of its artifacts, and where it runs."""
    folder, scratch = tmp_path_factory.mktemp("mlflow"), tmp_path_factory.mktemp("scratch")
    bucket, port = s3.new_bucket(), servers.free_ports(1)[0]
    values = {
        "s3": {"artifacts": f"s3://{bucket}/mlflow"},
        "mlflow": {"workers": 1, "allowedHosts": ["ml.example.com"]},
    }
    given = container(helm.render(values), "Deployment", "modelmill-mlflow")
    assert given["command"] == ["mlflow", "server"]
    arguments = [each for each in given["args"] if not each.startswith(("--host=", "--port="))]
    command = [str(servers.BIN / "mlflow"), "server", *arguments, "--host=127.0.0.1", f"--port={port}"]
    env = {name: value for name, value in environment(given).items() if isinstance(value, str)}
    assert env.pop("MLFLOW_BACKEND_STORE_URI") == "sqlite:////mlflow/mlflow.db"
    env |= {**s3.env, "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{scratch}/mlflow.db", "HOME": str(scratch)}
    address, path = f"http://127.0.0.1:{port}", given["readinessProbe"]["httpGet"]["path"]
    with servers.running("MLflow", command, folder, ready=lambda: answer(f"{address}{path}") == 200, env=env):
        yield address, bucket, folder


def test_mlflow_answers_under_the_services_names_and_no_other(mlflow: tuple[str, str, Path]) -> None:
    address, _, _ = mlflow
    asked = f"{address}/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"
    name = "modelmill-mlflow"
    for host in (
        f"{name}:5000", f"{name}.modelmill:5000", f"{name}.modelmill.svc:5000",
        f"{name}.modelmill.svc.cluster.local:5000", "localhost:8080", "ml.example.com",
    ):  # fmt: skip
        assert answer(asked, host=host) == 200, host
    for host in ("elsewhere.example.com", f"{name}.other:5000", "10.1.2.3:5000"):
        assert answer(asked, host=host) == 403, host
    # The kubelet asks by the pod's address.
    assert answer(f"{address}/health", host="10.1.2.3:5000") == 200


def test_mlflow_keeps_artifacts_in_the_bucket_and_writes_nothing_beside_its_scratch(
    mlflow: tuple[str, str, Path], s3: servers.S3Server
) -> None:
    address, bucket, folder = mlflow
    assert answer(f"{address}/api/2.0/mlflow-artifacts/artifacts/notes.txt", body=b"kept") == 200
    assert s3.client().get_object(Bucket=bucket, Key="mlflow/notes.txt")["Body"].read() == b"kept"
    assert {path.name for path in folder.iterdir()} == {"server.log"}


def test_mlflow_speaks_to_postgresql_by_a_secret_that_no_argument_holds(helm: Helm) -> None:
    objects = helm.render(CI / "production-values.yaml")
    given = container(objects, "Deployment", "modelmill-mlflow")
    reference = {"secretKeyRef": {"name": "ml-postgresql", "key": "mlflow-uri"}}
    assert environment(given)["MLFLOW_BACKEND_STORE_URI"] == reference
    assert not [each for each in given["args"] if "backend" in each]
    assert not of_kind(objects, "PersistentVolumeClaim")
    spec = one(objects, "Deployment", "modelmill-mlflow")["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (3, "RollingUpdate")
    assert one(objects, "PodDisruptionBudget", "modelmill-mlflow")["spec"]["maxUnavailable"] == 1


def test_one_server_at_a_time_has_the_sqlite_file_open(helm: Helm) -> None:
    objects = helm.render({})
    spec = one(objects, "Deployment", "modelmill-mlflow")["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    assert one(objects, "PersistentVolumeClaim", "modelmill-mlflow")["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert not of_kind(objects, "PodDisruptionBudget")
