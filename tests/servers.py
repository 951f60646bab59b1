"""Real servers that the tests talk to, each in a folder of its own and on ports that were free."""

import contextlib
import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import MappingProxyType
from typing import Any

START_SECONDS = 120
BIN = Path(sys.executable).parent


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A SeaweedFS server with two identities: one that may do everything, one that may only read."""

    ports: tuple[int, ...]
    """Of master, volumes, filer and S3, each with that of its gRPC."""
    access_key: str
    secret_key: str
    reader_access_key: str
    reader_secret_key: str

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        """Where S3 is spoken."""
        return self.ports[6]

    @property
    def env(self) -> dict[str, str]:
        """What a process needs in its environment to use the server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def client(self) -> Any:
        import boto3

        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
        )

    def new_bucket(self) -> str:
        """Make a fresh bucket and return its name."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name


@dataclass(frozen=True, kw_only=True)
class MlflowServer:
    """An MLflow server, and where it keeps what it is told."""

    port: int
    backend: str
    """URI of its database."""
    artifacts: str
    """A folder, or `s3://bucket`."""

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def seaweedfs(folder: Path, before: S3Server | None = None) -> Iterator[S3Server]:
    """Run a SeaweedFS S3 server while the block lasts, whose end is SIGKILL; `before` ran in the folder and goes on."""
    keys = {name: uuid.uuid4().hex for name in ("access_key", "secret_key", "reader_access_key", "reader_secret_key")}
    server = before or S3Server(ports=tuple(free_ports(8)), **keys)
    master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3, s3_grpc = server.ports
    (folder / "data").mkdir(exist_ok=True)
    (folder / "s3.json").write_text(json.dumps({"identities": _identities(server)}))
    command = [str(BIN / "weed"), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder / 'data'}"]
    command += [f"-master.port={master}", f"-master.port.grpc={master_grpc}", "-master.volumeSizeLimitMB=128"]
    # A server that goes on after SIGKILL waits for others to vote, by default for 10 s at least.
    command += ["-master.electionTimeout=1s"]
    # On by default: it reports to the makers over the network.
    command += ["-master.telemetry=false"]
    # Each bucket takes volumes of its own, so the default of 8 would be spent by the second test.
    command += [f"-volume.port={volume}", f"-volume.port.grpc={volume_grpc}", "-volume.max=2000"]
    command += ["-filer", f"-filer.port={filer}", f"-filer.port.grpc={filer_grpc}"]
    command += ["-s3", f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}", f"-s3.config={folder / 's3.json'}"]
    # As on other servers, a bucket is made on purpose or not at all.
    command += ["-s3.autoCreateBucket=false", "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    with running("SeaweedFS", command, folder, ready=lambda: _takes_objects(server)):
        yield server


@contextlib.contextmanager
def mlflow(
    folder: Path, *, backend: str = "", s3: S3Server | None = None, before: MlflowServer | None = None
) -> Iterator[MlflowServer]:
    """Run an MLflow tracking server and registry while the block lasts, whose end is SIGKILL; `before` goes on.

    By default its database is a SQLite file in the folder, and its artifacts lie there too; else in a bucket of `s3`.
    """
    artifacts = f"s3://{s3.new_bucket()}" if s3 is not None and before is None else str(folder / "artifacts")
    server = before or MlflowServer(
        port=free_ports(1)[0], backend=backend or f"sqlite:///{folder / 'mlflow.db'}", artifacts=artifacts
    )
    command = [str(BIN / "mlflow"), "server", "--host=127.0.0.1", f"--port={server.port}", "--workers=1"]
    command += [f"--backend-store-uri={server.backend}", f"--artifacts-destination={server.artifacts}"]
    # Else seven more processes wait for jobs that nobody gives.
    env = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **(s3.env if s3 is not None else {})}
    with running("MLflow", command, folder, ready=lambda: _answers(f"{server.uri}/health"), env=env):
        yield server


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def cutting_proxy(port: int, after: int, cuts: int) -> Iterator[int]:
    """Run a way to a port of this machine that breaks the first answers off after so many bytes."""
    left = [cuts]

    class Way(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            left[0] -= 1
            with socket.create_connection(("127.0.0.1", port)) as server:
                asks = Thread(target=_forward, args=[self.request, server, None])
                asks.start()
                _forward(server, self.request, after if left[0] >= 0 else None)
                for each in (self.request, server):
                    with contextlib.suppress(OSError):
                        each.shutdown(socket.SHUT_RDWR)
                asks.join()

    class Proxy(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Proxy(("127.0.0.1", 0), Way) as proxy:
        thread = Thread(target=proxy.serve_forever)
        thread.start()
        try:
            yield int(proxy.server_address[1])
        finally:
            proxy.shutdown()
            thread.join()


def _forward(source: socket.socket, target: socket.socket, limit: int | None) -> None:
    with contextlib.suppress(OSError):
        while limit is None or limit > 0:
            data = source.recv(1 << 16)
            if not data:
                return
            target.sendall(data if limit is None else data[:limit])
            limit = None if limit is None else limit - len(data)


@contextlib.contextmanager
def running(
    name: str,
    command: list[str],
    folder: Path,
    *,
    ready: Callable[[], bool],
    env: Mapping[str, str] = MappingProxyType({}),
    user: str | None = None,
    end: signal.Signals = signal.SIGKILL,
) -> Iterator[None]:
    """Run a command in a folder; wait until it is ready, or fail with the last lines of its log; end it after."""
    log = folder / "server.log"
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "MLFLOW_", "MODELMILL_"))}
    # By default SeaweedFS opens seven volumes for each bucket.
    clean |= {"MLFLOW_DISABLE_TELEMETRY": "true", "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1", **env}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=clean, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, user=user
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with {process.returncode} before it was ready:\n{_tail(log)}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} was not ready after {START_SECONDS} s:\n{_tail(log)}")
            time.sleep(0.2)
        yield
    finally:
        # The whole group: MLflow's server has worker processes.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, end)
        process.wait(30)


def _takes_objects(server: S3Server) -> bool:
    """Return whether an object can be written and read: the port opens seconds before the first volume does."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=1):
            pass
        bucket, client = server.new_bucket(), server.client()
        client.put_object(Bucket=bucket, Key="ready", Body=b"ready")
        answer: bytes = client.get_object(Bucket=bucket, Key="ready")["Body"].read()
    except (OSError, BotoCoreError, ClientError):
        return False
    return answer == b"ready"


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _identities(server: S3Server) -> list[dict[str, Any]]:
    def identity(name: str, access: str, secret: str, *actions: str) -> dict[str, Any]:
        return {
            "name": name,
            "credentials": [{"accessKey": access, "secretKey": secret}],
            "actions": list(actions),
        }

    return [
        identity("owner", server.access_key, server.secret_key, "Admin"),
        identity("reader", server.reader_access_key, server.reader_secret_key, "Read", "List"),
    ]


def _tail(log: Path, lines: int = 30) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
