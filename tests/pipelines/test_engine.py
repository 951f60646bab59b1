"""The Docker engine that is not there, is another machine's, or is podman; and processes by number and start."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

import pytest

from pipelines import engine
from tests.commands import modelmill
from tests.pipelines.test_run import small_recipe


class _Podman(BaseHTTPRequestHandler):
    """Stands in for podman's Docker API, as far as it is asked: its version, as podman 4.3 words it."""

    def do_GET(self) -> None:
        version = {"ApiVersion": "1.41", "Components": [{"Name": "Podman Engine", "Version": "4.3.1"}]}
        body = json.dumps(version).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "socket"

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[str]:
    with ThreadingUnixStreamServer(str(tmp_path / "podman.sock"), _Podman) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"unix://{tmp_path}/podman.sock"
        server.shutdown()


def _refused(address: str, user: int | None = None) -> tuple[int, str]:
    """Return the exit code and the words with which an engine is refused, to another user than this one if any.

    In a process of its own: what cannot connect leaves docker-py's sockets open.
    """
    code = "import docker, sys\nfrom modelmill.errors import ModelmillError\nfrom pipelines import engine\n"
    # The new user could not load a module any more: folders of this one are closed to it.
    code += "" if user is None else f"import os; os.setgroups([]); os.setgid({user}); os.setuid({user})\n"
    code += (
        "try:\n    with engine.engine(): pass\nexcept ModelmillError as error: print(error); sys.exit(error.exit_code)"
    )
    environment = {**os.environ, "DOCKER_HOST": address}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_podman_is_refused(podman: str) -> None:
    code, said = _refused(podman)
    assert (code, "is podman, whose Docker API loses the exit codes of steps" in said) == (2, True)


def test_an_engine_that_is_not_there_is_told_with_its_socket(tmp_path: Path) -> None:
    code, said = _refused(f"unix://{tmp_path}/none.sock")
    assert (code, f"no Docker engine answers at unix://{tmp_path}/none.sock; start it" in said) == (1, True)


def test_a_socket_that_nobody_answers_at_is_no_engine(tmp_path: Path) -> None:
    ThreadingUnixStreamServer(str(tmp_path / "left.sock"), _Podman).server_close()
    code, said = _refused(f"unix://{tmp_path}/left.sock")
    assert (code, "no Docker engine answers at" in said) == (1, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_socket_that_this_user_may_not_use_is_told(podman: str) -> None:
    code, said = _refused(podman, user=65534)
    assert (code, "does not let this user in; `sudo usermod -aG docker $USER` and log in again" in said) == (1, True)


def test_an_engine_of_another_machine_would_not_see_the_files(tmp_path: Path) -> None:
    with TcpStandIn() as address:
        small_recipe(tmp_path)
        done = modelmill("run", "small.yaml", "--runner", "docker", cwd=tmp_path, env={"DOCKER_HOST": address})
    assert done.returncode == 2
    assert f"the Docker engine at {address} is not this machine's, and would not see its files" in done.stderr


class TcpStandIn:
    """The same stand-in at a port, as another machine's engine is reached."""

    def __enter__(self) -> str:
        from http.server import ThreadingHTTPServer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Podman)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"tcp://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_a_run_without_an_engine_does_not_start(tmp_path: Path) -> None:
    small_recipe(tmp_path)
    env = {"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    done = modelmill("run", "small.yaml", "--runner", "docker", "--json", cwd=tmp_path, env=env)
    assert done.returncode == 1
    assert "no Docker engine answers" in json.loads(done.stdout)["error"]
    assert not (tmp_path / ".modelmill" / "runs").exists()


def test_a_runner_of_another_name_is_told_the_nearest(tmp_path: Path) -> None:
    small_recipe(tmp_path)
    done = modelmill("run", "small.yaml", "--runner", "dokcer", cwd=tmp_path)
    assert (done.returncode, "--runner dokcer: no such runner; did you mean 'docker'?" in done.stderr) == (2, True)


def test_a_process_is_known_by_its_number_and_its_start() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = f"{child.pid}@{engine._began(child.pid)}"
    assert engine.alive(name)
    assert engine.alive(engine.this_process())
    assert not engine.alive(f"{child.pid}@{engine._began(os.getpid())}")
    child.communicate(b"\n")
    assert not engine.alive(name)
    assert not any(engine.alive(word) for word in ("", "1", "@", "x@y"))
