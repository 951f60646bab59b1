"""A real PostgreSQL (Debian's, tools/install-debian) in a folder of its own, on a port that was free."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import free_ports, running

BACKENDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.system)]
"""What MLflow keeps its registry in, for tests that are to hold on each: the fixture `mlflow_on` takes it."""
PROGRAMS = Path("/usr/lib/postgresql")
# PostgreSQL does not run as root. Debian's package makes this user.
USER = "postgres"


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """Run a PostgreSQL server while the block lasts, and yield the URI of an empty database, as MLflow takes it."""
    found = sorted(PROGRAMS.glob("*/bin/postgres"))
    assert found, "tools/install-debian installs it"
    programs, user = found[-1].parent, USER if os.geteuid() == 0 else None
    (port,) = free_ports(1)
    password = uuid.uuid4().hex
    # Not under pytest's folders, into which no other user may look.
    with tempfile.TemporaryDirectory(prefix="postgresql-") as name:
        folder = Path(name)
        (folder / "password").write_text(password)
        if user is not None:
            for path in (folder, folder / "password"):
                shutil.chown(path, user, pwd.getpwnam(user).pw_gid)
        data = ["-D", str(folder / "data")]
        asked = ["--username=modelmill", "--auth=scram-sha-256", f"--pwfile={folder / 'password'}"]
        asked += ["--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            [str(programs / "initdb"), *data, *asked], cwd=folder, user=user, check=True, capture_output=True
        )
        # Nobody pulls the plug on a test.
        told = ["fsync=off", "listen_addresses=127.0.0.1", "unix_socket_directories=", f"port={port}"]
        command = [str(programs / "postgres"), *data, *(word for one in told for word in ("-c", one))]
        asking = [str(programs / "pg_isready"), "--quiet", "--host=127.0.0.1", f"--port={port}"]

        def ready() -> bool:
            return subprocess.run(asking, check=False).returncode == 0

        # After SIGKILL it would leave shared memory behind.
        with running("PostgreSQL", command, folder, ready=ready, user=user, end=signal.SIGINT):
            yield f"postgresql+psycopg2://modelmill:{password}@127.0.0.1:{port}/postgres"
