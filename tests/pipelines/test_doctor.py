"""`modelmill doctor`: what is missing is one line with what mends it, and of what it tries nothing stays behind."""

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import time
from typing import Any

import pytest
import yaml

from modelmill.images import image
from modelmill.store.local import LocalBackend
from pipelines.doctor.finding import Doctor
from pipelines.doctor.images import Name
from pipelines.doctor.nodes import amount
from pipelines.doctor.store import probe
from pipelines.profile_file import load
from tests.commands import BIN, clean_environment, modelmill
from tests.kfp_standin import KfpStandIn, kfp_server
from tests.kubernetes_standin import Cluster, kubernetes
from tests.registry_standin import Registry, registry
from tests.servers import MlflowServer, S3Server, free_ports
from tests.way import Way, way_to

MARKER = "nobody-should-ever-read-this"
GPU = "nvidia.com/gpu"
SECRETS = {"modelmill-s3": ("access_key", "secret_key"), "modelmill-notify": ("addresses",)}


@dataclass
class Servers:
    """All that a profile names, and the profile."""

    folder: Path
    s3: S3Server
    bucket: str
    mlflow: str
    kfp: KfpStandIn
    cluster: Cluster
    registry: Registry
    changes: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)

    def profile(self) -> Path:
        told = {
            "name": "trial",
            "store": f"s3://{self.bucket}/store",
            "mlflow": self.mlflow,
            "kfp": {"host": self.kfp.host, "namespace": "modelmill"},
            "registry": f"{self.registry.host}/ml",
            "image_pull_secrets": ["registry"],
            "environment": {"AWS_ENDPOINT_URL": self.s3.endpoint, "AWS_DEFAULT_REGION": "us-east-1"},
            "secrets": [
                {"name": "modelmill-s3", "keys": {"AWS_ACCESS_KEY_ID": "access_key"}},
                {"name": "modelmill-notify", "keys": {"MODELMILL_NOTIFY": "addresses"}, "optional": True},
            ],
            "nodes": {
                "standard": {"cpu": "2", "memory": "4Gi"},
                "gpu": {
                    "device": GPU,
                    "count": 4,
                    "nodes": 2,
                    "selector": {"gpu": "large"},
                    "tolerations": [{"key": GPU, "effect": "NoSchedule"}],
                    "queue": "large",
                },
            },
            "default_node": "standard",
            **self.changes,
        }
        path = self.folder / "profile.yaml"
        path.write_text(yaml.safe_dump(told))
        return path

    def environment(self) -> dict[str, str]:
        credentials = {"AWS_ACCESS_KEY_ID": self.s3.access_key, "AWS_SECRET_ACCESS_KEY": self.s3.secret_key}
        known = {"KUBECONFIG": str(self.cluster.kubeconfig(self.folder)), "KFP_TOKEN": MARKER}
        return {**credentials, **known, **self.env}

    def doctor(self, code: int) -> list[dict[str, Any]]:
        """Look at everything, as the command does, and check its exit code."""
        from pipelines.doctor.examine import as_data, examine, exit_code

        profile = load(self.profile())
        before = dict(os.environ)
        for name in [name for name in before if name.startswith(("AWS_", "MLFLOW_", "MODELMILL_", "KUBE"))]:
            del os.environ[name]
        os.environ.update({**self.environment(), "MLFLOW_DISABLE_TELEMETRY": "true"})
        try:
            findings = examine(profile, lambda _: None)
        finally:
            os.environ.clear()
            os.environ.update(before)
        told = as_data(findings, profile)
        assert MARKER not in json.dumps(told)
        assert exit_code(findings) == code, told
        found: list[dict[str, Any]] = told["findings"]
        return found


def node(name: str, labels: dict[str, str], gpus: int, tainted: bool) -> dict[str, Any]:
    has = {"cpu": "64", "memory": "256Gi", "pods": "110", **({GPU: str(gpus)} if gpus else {})}
    taints = [{"key": GPU, "effect": "NoSchedule"}] if tainted else []
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints},
        "status": {"allocatable": has, "conditions": [{"type": "Ready", "status": "True"}]},
    }


def pod(name: str, on: str, gpus: int) -> dict[str, Any]:
    asks = {GPU: str(gpus)}
    container = {"name": "main", "image": "some", "resources": {"requests": asks, "limits": asks}}
    return {
        "metadata": {"name": name},
        "spec": {"nodeName": on, "containers": [container]},
        "status": {"phase": "Running"},
    }


def furnish(cluster: Cluster) -> None:
    """Put into a cluster all that the profile wants of it."""
    cluster.put("serviceaccounts", {"metadata": {"name": "modelmill"}})
    for name, keys in SECRETS.items():
        data = dict.fromkeys(keys, "bm9ib2R5LXNob3VsZC1ldmVyLXJlYWQtdGhpcw==")
        cluster.put("secrets", {"metadata": {"name": name}, "type": "Opaque", "data": data})
    kind = "kubernetes.io/dockerconfigjson"
    cluster.put("secrets", {"metadata": {"name": "registry"}, "type": kind, "data": {".dockerconfigjson": "e30="}})
    for number in range(2):
        cluster.put("nodes", node(f"gpu-{number}", {"gpu": "large"}, 8, tainted=True))
    cluster.put("nodes", node("plain", {}, 0, tainted=False))
    cluster.put("localqueues", {"metadata": {"name": "large"}, "spec": {"clusterQueue": "all"}})


@pytest.fixture
def servers(tmp_path: Path, s3: S3Server, mlflow_server: MlflowServer) -> Iterator[Servers]:
    with kfp_server(token=MARKER) as kfp, kubernetes() as cluster, registry() as images:
        furnish(cluster)
        images.open |= {f"ml/{image(kind).rpartition('/')[2]}" for kind in ("data", "train")}
        yield Servers(
            folder=tmp_path, s3=s3, bucket=s3.new_bucket(), mlflow=mlflow_server.uri, kfp=kfp, cluster=cluster,
            registry=images,
        )  # fmt: skip


def leftovers(servers: Servers) -> list[str]:
    """What a look has left behind."""
    from mlflow.tracking import MlflowClient

    objects = servers.s3.client().list_objects_v2(Bucket=servers.bucket).get("Contents", [])
    client = MlflowClient(tracking_uri=servers.mlflow, registry_uri=servers.mlflow)
    experiments = [one for one in client.search_experiments() if "doctor" in one.name]
    found = [one["Key"] for one in objects] + [one.name for one in experiments]
    deleted = client.get_experiment_by_name("modelmill-doctor")
    if deleted is not None:
        found += [run.info.run_id for run in client.search_runs([deleted.experiment_id])]
    return found


def test_where_all_is_there_every_line_is_right_and_nothing_stays_behind(servers: Servers) -> None:
    path, env = str(servers.profile()), servers.environment()
    done = modelmill("doctor", "--profile", path, "--json", cwd=servers.folder, env=env)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert MARKER not in done.stdout + done.stderr
    findings = json.loads(done.stdout)["findings"]
    assert {one["need"] for one in findings if one["outcome"] not in ("right",)} == {"InferenceServices"}
    needs = {(one["group"], one["need"]) for one in findings}
    assert {
        ("store", "put"), ("store", "conditional put"), ("store", "read"), ("store", "delete"), ("mlflow", "write"),
        ("mlflow", "artifact"), ("kfp", "health"), ("kfp", "rights: runs"), ("kubernetes", "secret modelmill-s3"),
        ("kubernetes", "node kind gpu"), ("kubernetes", "TrainJobs"), ("kubernetes", "queue large"),
        ("kubernetes", "training runtime torch-distributed"), ("images", "train"), ("clock", "kfp"),
    } <= needs  # fmt: skip
    seen = {one["need"]: one["saw"] for one in findings}
    assert seen["node kind gpu"] == f"2 nodes, 16 of 16 {GPU} free"
    assert seen["secret modelmill-s3"] == "has access_key"
    assert leftovers(servers) == []
    # And again: what MLflow keeps under the name of a deleted experiment is no hindrance.
    assert [one["outcome"] for one in servers.doctor(0)] == [one["outcome"] for one in findings]
    assert all(method in ("GET", "POST") for method, _, _ in servers.cluster.requests)
    assert all("subjectaccessreviews" in path for method, path, _ in servers.cluster.requests if method == "POST")
    assert not servers.kfp.lines("POST") + servers.kfp.lines("DELETE")


@contextlib.contextmanager
def answering(status: int, texts: dict[str, str], ahead: float = 0.0) -> Iterator[str]:
    """Run a server that answers GETs by path, else with a status, its clock so many seconds ahead."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = texts.get(self.path, "no").encode()
            self.send_response(200 if self.path in texts else status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_POST = do_GET

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate((timestamp or time()) + ahead, usegmt=True)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def nowhere() -> str:
    return f"http://127.0.0.1:{free_ports(1)[0]}"


def wants(servers: Servers, **kind: Any) -> None:
    """Change the kind of node `gpu`."""
    profile = yaml.safe_load(servers.profile().read_text())
    servers.changes["nodes"] = {**profile["nodes"], "gpu": {**profile["nodes"]["gpu"], **kind}}


def _s3_away(servers: Servers) -> None:
    servers.env["AWS_ENDPOINT_URL"] = nowhere()


def _s3_refuses(servers: Servers) -> None:
    servers.env |= {
        "AWS_ACCESS_KEY_ID": servers.s3.reader_access_key,
        "AWS_SECRET_ACCESS_KEY": servers.s3.reader_secret_key,
    }


def _no_bucket(servers: Servers) -> None:
    servers.bucket = "no-such-bucket"


def _mlflow_away(servers: Servers) -> None:
    servers.mlflow = nowhere()


def _mlflow_is_another(servers: Servers) -> None:
    servers.mlflow = servers.kfp.host


def _kfp_away(servers: Servers) -> None:
    servers.kfp.away(3600)


def _kfp_old(servers: Servers) -> None:
    servers.kfp.version = "2.5.0"


def _kfp_refuses(servers: Servers) -> None:
    servers.kfp.namespaces = ("another",)


def _kfp_without_token(servers: Servers) -> None:
    servers.env["KFP_TOKEN"] = ""


def _kubernetes_away(servers: Servers) -> None:
    servers.cluster.away = True


def _no_account(servers: Servers) -> None:
    servers.cluster.remove("serviceaccounts", "modelmill")


def _no_right(servers: Servers) -> None:
    servers.cluster.denied.add(("delete", "trainjobs"))


def _no_secret(servers: Servers) -> None:
    servers.cluster.remove("secrets", "modelmill-s3")


def _no_key(servers: Servers) -> None:
    servers.cluster.change("secrets", "modelmill-s3", data={"secret_key": "eA=="})


def _wrong_pull_secret(servers: Servers) -> None:
    servers.cluster.change("secrets", "registry", type="Opaque")


def _no_map(servers: Servers) -> None:
    servers.changes["config_maps"] = [{"name": "places", "keys": {"PLACE": "place"}}]


def _no_queue(servers: Servers) -> None:
    servers.cluster.remove("localqueues", "large")


def _no_trainer(servers: Servers) -> None:
    servers.cluster.missing_groups.add("trainer.kubeflow.org")


def _no_runtime(servers: Servers) -> None:
    wants(servers, runtime="torch-other")


def _no_node(servers: Servers) -> None:
    wants(servers, selector={"gpu": "huge"})


def _taint(servers: Servers) -> None:
    wants(servers, tolerations=[])


def _few_nodes(servers: Servers) -> None:
    wants(servers, nodes=3)


def _few_devices(servers: Servers) -> None:
    wants(servers, count=16)


def _not_ready(servers: Servers) -> None:
    for number in range(2):
        kept = node(f"gpu-{number}", {"gpu": "large"}, 8, tainted=True)
        kept["spec"]["unschedulable"] = True
        servers.cluster.put("nodes", kept)


def _not_pushed(servers: Servers) -> None:
    servers.registry.open.clear()


def _registry_away(servers: Servers) -> None:
    servers.changes["registry"] = nowhere().removeprefix("http://") + "/ml"


def _login_without_secret(servers: Servers) -> None:
    servers.registry.closed |= servers.registry.open
    servers.changes["image_pull_secrets"] = []


FAULTS: list[tuple[Callable[[Servers], None], str, str, str]] = [
    (_s3_away, "put", "cannot be reached", "export AWS_ENDPOINT_URL="),
    (_s3_refuses, "put", "was refused", "AWS_ACCESS_KEY_ID"),
    (_no_bucket, "put", "no bucket 'no-such-bucket'", "aws s3 mb s3://no-such-bucket"),
    (_mlflow_away, "health", "cannot be reached", "port-forward"),
    (_mlflow_is_another, "health", "not allowed (401)", "port-forward"),
    (_kfp_away, "health", "the server cannot be reached", "kubectl port-forward"),
    (_kfp_old, "health", "2.5.0 is too old; 2.15 or later", "kubectl apply -k"),
    (_kfp_refuses, "rights: runs", "no rights in namespace modelmill", "export KFP_TOKEN="),
    (_kfp_without_token, "health", "not signed in (401)", "export KFP_TOKEN="),
    (_kubernetes_away, "API server", "does not answer", "kubectl cluster-info"),
    (_no_account, "service account modelmill", "not found (404)", "helm upgrade --install modelmill"),
    (_no_right, "modelmill may create/get/list/watch/patch/delete trainjobs", "may not delete", "helm upgrade"),
    (_no_secret, "secret modelmill-s3", "not found (404)", "kubectl create secret generic modelmill-s3 -n modelmill"),
    (
        _no_key,
        "secret modelmill-s3",
        "has no key access_key; it has secret_key",
        "kubectl patch secret modelmill-s3 -n modelmill --type merge",
    ),
    (_wrong_pull_secret, "pull secret registry", "is of type Opaque", "kubectl create secret docker-registry registry"),
    (_no_map, "config map places", "not found (404)", "kubectl create configmap places -n modelmill"),
    (_no_queue, "queue large", "not found (404)", "LocalQueue large"),
    (_no_trainer, "TrainJobs", "has no such kind of object", "kubectl apply --server-side"),
    (_no_runtime, "training runtime torch-other", "not found (404)", "kubectl apply --server-side"),
    (_no_node, "node kind gpu", "none of 3 nodes has the labels gpu=huge", "kubectl get nodes --show-labels"),
    (_taint, "node kind gpu", f"the taint {GPU}:NoSchedule", "to the kind's tolerations"),
    (_few_nodes, "node kind gpu", "2 of its 3 nodes are there", "add 1 more"),
    (_few_devices, "node kind gpu", f"wants 16 {GPU}, and the largest has 8", "kubectl describe nodes"),
    (_not_ready, "node kind gpu", "none is ready", "kubectl uncordon"),
    (_not_pushed, "data", "the registry has no such image", "make images && docker push"),
    (_registry_away, "train", "cannot be reached", "curl -sI http://127.0.0.1:"),
    (
        _login_without_secret,
        "data",
        "needs a login, and the profile names no image_pull_secrets",
        "kubectl create secret docker",
    ),
]


@pytest.mark.parametrize(
    ("fault", "need", "saw", "mend"), FAULTS, ids=[fault[0].__name__.removeprefix("_") for fault in FAULTS]
)
def test_each_fault_is_one_line_with_what_mends_it(
    servers: Servers, fault: Callable[[Servers], None], need: str, saw: str, mend: str
) -> None:
    fault(servers)
    findings = servers.doctor(1)
    missing = [one for one in findings if one["outcome"] == "missing"]
    found = next(one for one in missing if one["need"] == need)
    assert saw in found["saw"]
    assert mend in found["mend"]
    assert found["mend"]
    assert "\n" not in found["saw"] + found["mend"]
    # The other servers are looked at all the same.
    groups = {"store", "mlflow", "kfp", "kubernetes", "images"}
    assert {one["group"] for one in findings} >= groups
    right = {one["group"] for one in findings if one["outcome"] == "right"}
    assert len(right & groups) >= len(groups) - 2


def test_devices_that_are_all_taken_are_a_warning_with_who_has_them(servers: Servers) -> None:
    for number in range(2):
        servers.cluster.put("pods", pod(f"other-{number}", f"gpu-{number}", 6))
    found = next(one for one in servers.doctor(0) if one["need"] == "node kind gpu")
    assert found["outcome"] == "warned"
    assert f"4 of 16 {GPU} free; a step takes 4 of each of 2" in found["saw"]
    assert found["mend"].startswith("kubectl get pods -A")


def test_who_may_not_look_is_told_so_and_nothing_is_called_missing(servers: Servers) -> None:
    servers.cluster.denied |= {
        ("get", "secrets"), ("list", "nodes"), ("create", "subjectaccessreviews"), ("get", "serviceaccounts")
    }  # fmt: skip
    servers.registry.closed |= servers.registry.open
    findings = servers.doctor(0)
    unknown = {one["need"]: one for one in findings if one["outcome"] == "unknown"}
    assert {"secret modelmill-s3", "nodes", "service account modelmill", "data", "train"} <= set(unknown)
    assert "needs a login, which the pull secret is for" in unknown["data"]["saw"]
    assert "kubectl auth can-i" in unknown["modelmill may get pods"]["mend"]


def test_without_kubectls_configuration_kubernetes_is_left_out_with_the_reason(servers: Servers) -> None:
    servers.env |= {"KUBECONFIG": str(servers.folder / "none"), "KUBERNETES_SERVICE_HOST": ""}
    found = [one for one in servers.doctor(0) if one["group"] == "kubernetes"]
    assert [(one["need"], one["outcome"]) for one in found] == [("API server", "unknown")]
    assert "set KUBECONFIG" in found[0]["saw"]


@pytest.mark.parametrize(
    ("status", "texts", "need", "saw"),
    [
        (403, {}, "health", "not allowed (403)"),
        (404, {"/health": "OK", "/version": "2.9.1"}, "version", "2.9.1 is too old; 3.0 or later"),
        (403, {"/health": "OK", "/version": "3.1.0"}, "write", ""),
    ],
)
def test_an_mlflow_that_refuses_or_is_too_old_is_told(
    servers: Servers, status: int, texts: dict[str, str], need: str, saw: str
) -> None:
    with answering(status, texts) as address:
        servers.mlflow = address
        found = next(one for one in servers.doctor(1) if one["group"] == "mlflow" and one["outcome"] == "missing")
    assert found["need"] == need
    assert saw in found["saw"]
    assert found["mend"]


def test_a_clock_that_is_off_is_a_warning(servers: Servers) -> None:
    with answering(404, {"/health": "OK", "/version": "3.1.0"}, ahead=120) as address:
        servers.mlflow = address
        found = next(one for one in servers.doctor(1) if (one["group"], one["need"]) == ("clock", "mlflow"))
    assert found["outcome"] == "warned"
    assert "s ahead of this machine's; 30 s are borne" in found["saw"]
    assert 118 <= float(found["saw"].split()[3]) <= 122


def test_a_wrong_profile_is_exit_code_2_and_asks_nobody(servers: Servers) -> None:
    servers.changes["default_node"] = "none"
    done = modelmill("doctor", "--profile", str(servers.profile()), cwd=servers.folder, env=servers.environment())
    assert done.returncode == 2
    assert "default_node: there is no kind of node 'none'" in done.stderr
    assert not servers.cluster.requests
    assert not servers.kfp.asked


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_look_that_is_cut_off_takes_away_what_it_wrote(servers: Servers, number: signal.Signals) -> None:
    """It is stopped while MLflow takes an artifact."""
    running: list[subprocess.Popen[str]] = []

    def stop(_method: str, path: str) -> bool:
        if "artifacts/" in path and _method == "PUT" and running:
            running[0].send_signal(number)
        return False

    with way_to(servers.mlflow, Way(counts=stop)) as (address, _):
        servers.env["MLFLOW_TRACKING_URI"] = address
        with subprocess.Popen(
            [str(BIN), "doctor", "--profile", str(servers.profile()), "--json"],
            cwd=servers.folder, env={**clean_environment(), **servers.environment()}, text=True, stdout=subprocess.PIPE,
        ) as process:  # fmt: skip
            running.append(process)
            said, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert json.loads(said)["error"] == "stopped"
    assert leftovers(servers) == []


class Stopped(LocalBackend):
    """A store during whose reading Ctrl-C comes."""

    def get(self, key: str) -> bytes:  # noqa: ARG002 - it never comes to that
        raise KeyboardInterrupt


class Careless(LocalBackend):
    """A store that takes every put, as servers do that know no conditional one."""

    def put_if_absent(self, key: str, data: bytes | Path) -> bool:
        (self.root / key).unlink(missing_ok=True)
        return super().put_if_absent(key, data)


def test_a_store_is_as_it_was_after_a_look_that_was_cut_off(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        probe(Doctor(), "here", Stopped(tmp_path))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_store_that_takes_a_second_put_is_told_and_what_was_killed_is_cleared(tmp_path: Path) -> None:
    old = tmp_path / "doctor" / "1000000000-of-a-look-that-was-killed"
    old.parent.mkdir()
    old.write_text("x")
    doctor = Doctor()
    probe(doctor, "here", Careless(tmp_path))
    found = {one.need: one for one in doctor.findings}
    assert found["conditional put"].outcome == "missing"
    assert "If-None-Match" in found["conditional put"].mend
    assert "1 of looks that were cut off" in found["delete"].saw
    assert not old.exists()


def test_this_machine_is_looked_at_and_left_as_it_was(tmp_path: Path) -> None:
    done = modelmill("doctor", "--json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    found = {one["need"]: one for one in answer["findings"]}
    assert {
        "Python",
        "packages",
        "disk",
        "put",
        "conditional put",
        "read",
        "delete",
        "cores",
        "memory",
        "bf16",
        "GPU",
    } <= (set(found))
    assert found["conditional put"]["outcome"] == "right"
    assert done.returncode == (1 if any(one["outcome"] == "missing" for one in answer["findings"]) else 0)
    assert list(tmp_path.iterdir()) == []
    text = modelmill("doctor", cwd=tmp_path)
    assert "✓ Python" in text.stdout
    assert " right, " in text.stdout


def test_a_store_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    done = modelmill("doctor", "--json", cwd=tmp_path, env={"MODELMILL_STORE": "file"})
    assert done.returncode == 1
    found = next(one for one in json.loads(done.stdout)["findings"] if one["need"] == "put")
    assert (found["outcome"], "must be a folder" in found["saw"]) == ("missing", True)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("reg.example.com/ml/data:1", "https://reg.example.com/v2/ml/data/manifests/1"),
        ("reg.example.com:5000/data", "https://reg.example.com:5000/v2/data/manifests/latest"),
        ("localhost:5000/a/b@sha256:00", "http://localhost:5000/v2/a/b/manifests/sha256:00"),
        ("busybox", "https://registry-1.docker.io/v2/library/busybox/manifests/latest"),
        ("some/image:2@sha256:00", "https://registry-1.docker.io/v2/some/image/manifests/sha256:00"),
    ],
)
def test_names_of_images_are_read_as_docker_reads_them(name: str, address: str) -> None:
    assert Name.of(name).address == address


def test_quantities_are_read_as_kubernetes_writes_them() -> None:
    given = {"500m": 0.5, "2": 2, "1.5Gi": 1.5 * 2**30, "128974848": 128974848, "64Ki": 65536, "1k": 1000, "-": 0}
    assert {text: amount(text) for text in given} == given
