"""Fixtures that every test may use: real servers, started once and only where asked for."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from modelmill.home import be_private, share_cores
from tests import servers
from tests.postgresql import postgresql

be_private()
share_cores()

# A busy machine is no reason to fail.
settings.register_profile("default", deadline=None)
settings.load_profile("default")


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """Take back what a test's code leaves in the environment, as MLflow does for processes that are to follow it."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.S3Server]:
    """A real S3 server: `.env` for a process that uses it, `.new_bucket()` for a fresh bucket."""
    with servers.seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture
def s3_uri(s3: servers.S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a store in a fresh bucket, with this process's environment set for it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3.new_bucket()}/store"


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.MlflowServer]:
    """A real MLflow server: `.uri` is its address."""
    with servers.mlflow(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture(scope="session")
def mlflow_sqlite(tmp_path_factory: pytest.TempPathFactory, s3: servers.S3Server) -> Iterator[servers.MlflowServer]:
    """A real MLflow server with a SQLite file as its database, and its artifacts in S3."""
    with servers.mlflow(tmp_path_factory.mktemp("mlflow-sqlite"), s3=s3) as server:
        yield server


@pytest.fixture(scope="session")
def mlflow_postgresql(tmp_path_factory: pytest.TempPathFactory, s3: servers.S3Server) -> Iterator[servers.MlflowServer]:
    """The same on PostgreSQL; tests that use it are marked `system`."""
    folder = tmp_path_factory.mktemp("mlflow-postgresql")
    with postgresql() as uri, servers.mlflow(folder, backend=uri, s3=s3) as server:
        yield server


@pytest.fixture
def mlflow_on(
    request: pytest.FixtureRequest, s3: servers.S3Server, s3_uri: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The environment of a store in a fresh bucket and an MLflow server, on the back end that a test's parameter names.

    This process has it, too.
    """
    server: servers.MlflowServer = request.getfixturevalue(f"mlflow_{request.param}")
    env = {"MODELMILL_STORE": s3_uri, "MLFLOW_TRACKING_URI": server.uri}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return {**s3.env, **env}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
