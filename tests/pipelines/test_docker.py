"""The data image and steps in containers, on a real Docker engine that the tests start."""

import json
import os
import signal
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelmill import __version__
from modelmill.images import image
from modelmill.profile import Images
from tests import docker_engine
from tests.commands import BIN, modelmill
from tests.pipelines.test_run import RECIPES, cached, run, small_recipe

# From nothing, base and image included, it takes nine minutes; what is not marked slow, four.
pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]
# A part of what tells pip its index; no image may hold it.
MARKER = "index-of-nobody.invalid"
DOCKER = ("--runner", "docker")


@pytest.fixture(scope="module")
def env() -> Iterator[dict[str, str]]:
    with docker_engine.engine() as told:
        yield told


@pytest.fixture(scope="module")
def client(env: dict[str, str]) -> Iterator[Any]:
    import docker

    made = docker.DockerClient(base_url=env["DOCKER_HOST"])
    yield made
    made.close()


@pytest.fixture(scope="module")
def data_image(env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `modelmill images build data` answered."""
    return _built(env, tmp_path_factory.mktemp("build"))


def _built(env: dict[str, str], folder: Path) -> dict[str, Any]:
    told = {**env, **docker_engine.build_environment(), "PIP_TRUSTED_HOST": MARKER}
    done = modelmill("images", "build", "data", "--base", docker_engine.BASE, "--json", cwd=folder, env=told)
    assert done.returncode == 0, done.stderr[-4000:]
    (one,) = json.loads(done.stdout)["images"]
    found: dict[str, Any] = one
    return found


def _inside(client: Any, *command: str, **how: Any) -> str:
    """Run a command in the data image as its own user, and return what it said, or fail."""
    said: bytes = client.containers.run(image("data"), list(command), remove=True, network_mode="host", **how)
    return said.decode()


def test_the_image_has_the_name_that_pipelines_use_and_says_what_it_is(data_image: dict[str, Any], client: Any) -> None:
    found = client.images.get(image("data"))
    assert (data_image["name"], data_image["id"], data_image["there"]) == (image("data"), found.id, True)
    assert data_image["digest"] == ""
    labels = found.labels
    assert labels["org.opencontainers.image.version"] == __version__
    assert len(labels["org.opencontainers.image.revision"].removesuffix("-dirty")) == 40
    assert labels["org.opencontainers.image.base.name"] == docker_engine.BASE
    assert labels["org.opencontainers.image.created"].endswith("Z")
    config = found.attrs["Config"]
    assert (config["User"], config.get("Entrypoint")) == ("65532:65532", None)
    assert config["Healthcheck"]["Test"] == ["CMD", "python3", "-m", "modelmill.health"]


def test_the_image_is_under_750_mb_beyond_its_base(data_image: dict[str, Any], client: Any) -> None:
    base = client.images.get(docker_engine.BASE).attrs["Size"]
    assert data_image["bytes"] - base < 750e6


def test_the_image_is_healthy_as_its_own_user_on_a_root_that_is_read_only(
    data_image: dict[str, Any], client: Any
) -> None:
    said = _inside(
        client, "python3", "-m", "modelmill.health", "--imports",
        read_only=True, tmpfs={"/tmp": ""}, cap_drop=["ALL"], security_opt=["no-new-privileges"],
    )  # fmt: skip
    found = json.loads(said)
    assert (found["healthy"], found["image"], found["user"]) == (True, "data", 65532)
    assert found["commit"] == data_image["commit"]
    assert "torch" not in found["packages"]


def test_an_image_without_a_place_to_write_says_so(data_image: dict[str, Any], client: Any) -> None:
    command = ["python3", "-m", "modelmill.health"]
    made = client.containers.run(image("data"), command, detach=True, read_only=True, network_mode="none")
    try:
        assert made.wait()["StatusCode"] == 1
        assert "/tmp: cannot be written by user 65532" in json.loads(made.logs(stderr=False))["error"]
    finally:
        made.remove(force=True)


def test_what_a_step_loads_is_bytecode_already(data_image: dict[str, Any], client: Any) -> None:
    look = """
    import sys
    from pathlib import Path
    import components.ingest.run, components.preprocess.run, components.register.run
    kept = {name: str(getattr(module, "__cached__", "")) for name, module in sys.modules.items()}
    ours = {name: path for name, path in kept.items() if path.startswith("/opt/modelmill/")}
    print([name for name, path in ours.items() if not Path(path).exists()], len(ours) > 500)
    """
    assert _inside(client, "python3", "-c", textwrap.dedent(look)) == "[] True\n"


def test_the_image_holds_no_compiler_and_no_cache(data_image: dict[str, Any], client: Any) -> None:
    look = """
    for name in gcc cc c++ g++ clang make ld; do command -v $name; done
    find / -xdev -path /proc -prune -o -path '*/.cache/pip' -print \\
        -o -name 'certificates.pem' -print -o -path /build -print 2>/dev/null
    true
    """
    assert _inside(client, "sh", "-c", look, user="0:0") == ""


def test_nothing_that_tells_pip_its_index_is_left_in_the_image(data_image: dict[str, Any], client: Any) -> None:
    found = client.images.get(image("data"))
    said = json.dumps([found.history(), found.attrs])
    assert "modelmill.health" in said
    for word in (MARKER, "PIP_", "certificates"):
        assert word not in said
    look = f"grep -rl {MARKER} /opt /etc /root /home /tmp /var 2>/dev/null; true"
    assert _inside(client, "sh", "-c", look, user="0:0") == ""


@pytest.mark.slow
def test_the_same_checkout_builds_the_same_image(
    data_image: dict[str, Any], env: dict[str, str], tmp_path: Path
) -> None:
    assert _built(env, tmp_path)["id"] == data_image["id"]


@pytest.mark.slow
def test_a_digest_is_known_once_an_image_was_pushed(env: dict[str, str], client: Any, tmp_path: Path) -> None:
    with docker_engine.registry(tmp_path) as address:
        told = {**env, "MODELMILL_REGISTRY": f"{address}/team"}
        before = modelmill("images", "digests", cwd=tmp_path, env=told)
        assert (before.returncode, "`modelmill images push` does" in before.stderr) == (1, True)
        repository, _, tag = image("data").removeprefix("localhost/").rpartition(":")
        # Whatever is under that name: it is the name's digest that is asked for.
        _import_nothing(client, f"{address}/team/{repository}", tag)
        pushed = modelmill("images", "push", "data", "--json", cwd=tmp_path, env=told)
        assert pushed.returncode == 0, pushed.stderr
        after = modelmill("images", "digests", "--json", cwd=tmp_path, env=told)
    pinned = json.loads(after.stdout)["images"]
    assert pinned == {"data": json.loads(pushed.stdout)["images"][0]["digest"]}
    assert Images(**pinned).data.startswith(f"{address}/team/modelmill-data@sha256:")  # type: ignore[union-attr]


@pytest.mark.slow
def test_a_run_that_needs_an_image_which_is_not_there_does_not_start(
    data_image: dict[str, Any], env: dict[str, str], tmp_path: Path
) -> None:
    small_recipe(tmp_path)
    done = modelmill("run", "small.yaml", *DOCKER, cwd=tmp_path, env=env)
    assert done.returncode == 2
    assert f"{image('train')}: the Docker engine has no such image; `make images`" in done.stderr
    assert not (tmp_path / ".modelmill" / "runs").exists()


@pytest.fixture(scope="module")
def spam(
    data_image: dict[str, Any], env: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """A recipe whose data lie in a package that the image has not, run in containers until preprocess."""
    folder = tmp_path_factory.mktemp("spam")
    return folder, run(RECIPES / "spam_tiny.yaml", "--until", "preprocess", *DOCKER, cwd=folder, env=env)


def test_a_recipe_in_containers_comes_to_the_addresses_of_one_in_processes(
    spam: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    _, contained = spam
    assert [(step["name"], step["state"], step["cached"]) for step in contained["steps"]] == [
        (name, "done", False) for name in ("resolve", "ingest", "preprocess")
    ]
    assert contained["datasets"]["preprocess"]["labelled"]
    plain = run(RECIPES / "spam_tiny.yaml", "--until", "preprocess", cwd=tmp_path)
    assert plain["datasets"] == contained["datasets"]


@pytest.mark.slow
def test_a_second_run_in_containers_or_in_processes_answers_from_the_cache(
    spam: tuple[Path, dict[str, Any]], env: dict[str, str]
) -> None:
    folder, _ = spam
    again = ["--until", "preprocess"]
    assert cached(run(RECIPES / "spam_tiny.yaml", *again, *DOCKER, cwd=folder, env=env)) == {"ingest", "preprocess"}
    assert cached(run(RECIPES / "spam_tiny.yaml", *again, cwd=folder)) == {"ingest", "preprocess"}


@pytest.mark.slow
def test_logs_files_and_tracking_of_steps_in_containers_are_where_and_whose_they_always_are(
    spam: tuple[Path, dict[str, Any]], data_image: dict[str, Any], client: Any
) -> None:
    import sqlite3

    folder, result = spam
    logs = folder / ".modelmill" / "runs" / result["run"]
    assert all((logs / f"{step['name']}.log").stat().st_size for step in result["steps"][1:])
    owners = {path.stat().st_uid for path in (folder / ".modelmill").rglob("*")}
    assert owners == {os.getuid()}
    with sqlite3.connect(folder / ".modelmill" / "mlflow.db") as database:
        tags = dict(database.execute("select value, key from tags").fetchall())
    assert tags[result["run"]] == "modelmill.run"
    assert tags[data_image["commit"]] == "mlflow.source.git.commit"
    assert {"ingest", "preprocess"} <= tags.keys()
    assert not _left(client)


@pytest.mark.slow
def test_a_step_that_fails_in_a_container_is_told_as_one_in_a_process(
    data_image: dict[str, Any], env: dict[str, str], client: Any, tmp_path: Path
) -> None:
    small_recipe(tmp_path)
    (tmp_path / "reviews.csv").write_text("text,label\n" + "a,b,c,d\n" * 50)
    told = [
        modelmill("run", "small.yaml", "--until", "ingest", "--json", *how, cwd=tmp_path, env=env)
        for how in (DOCKER, ())
    ]
    assert told[0].returncode == told[1].returncode != 0
    contained, plain = (json.loads(done.stdout.splitlines()[-1]) for done in told)
    assert contained == plain
    assert "reviews.csv" in contained["error"]
    assert not _left(client)


@pytest.mark.slow
def test_an_image_in_which_no_step_can_begin_is_told(
    data_image: dict[str, Any], env: dict[str, str], client: Any, tmp_path: Path
) -> None:
    small_recipe(tmp_path)
    repository, _, tag = image("data").removeprefix("localhost/").rpartition(":")
    _import_nothing(client, f"localhost/empty/{repository}", tag)
    told = {**env, "MODELMILL_REGISTRY": "localhost/empty"}
    done = modelmill("run", "small.yaml", "--until", "ingest", *DOCKER, cwd=tmp_path, env=told)
    assert done.returncode == 1
    assert "resolve: its container ended with 127 before the step began" in done.stderr, done.stderr
    assert not _left(client)


def _import_nothing(client: Any, repository: str, tag: str) -> None:
    empty = subprocess.run(["tar", "--create", "--files-from", "/dev/null"], check=True, capture_output=True).stdout
    client.api.import_image_from_data(empty, repository=repository, tag=tag)


def _left(client: Any) -> list[Any]:
    """Every container, running or not, but those that go while they are looked at."""
    found: list[Any] = client.containers.list(all=True, ignore_removed=True)
    return found


def _waits(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 120
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return found


def _started(folder: Path, env: dict[str, str], client: Any) -> tuple[subprocess.Popen[str], Any]:
    """Start a run whose ingest takes a while, and return it with ingest's container once it has begun."""
    small_recipe(folder, rows=80_000)
    process = subprocess.Popen(
        [str(BIN), "run", "small.yaml", "--until", "ingest", *DOCKER],
        cwd=folder, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip

    def ingest() -> Any:
        events = next(iter((folder / ".modelmill" / "runs").glob("*/events.jsonl")), None)
        begun = events is not None and '"step": "ingest", "kind": "started"' in events.read_text()
        assert process.poll() is None, process.communicate()[0]
        return begun and client.containers.list(filters={"label": "modelmill/step=ingest"})

    (container,) = _waits(ingest, "ingest never began")
    return process, container


@pytest.mark.slow
def test_ctrl_c_lets_the_step_end_and_leaves_no_container(
    data_image: dict[str, Any], env: dict[str, str], client: Any, tmp_path: Path
) -> None:
    process, _ = _started(tmp_path, env, client)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, "stopped; the same command goes on from here" in said) == (1, True), said
    assert not _left(client)
    (run_json,) = (tmp_path / ".modelmill" / "runs").glob("*/run.json")
    assert {step["state"] for step in json.loads(run_json.read_text())["steps"]} == {"done", "stopped"}


@pytest.mark.slow
def test_a_run_that_is_killed_takes_its_container_with_it(
    data_image: dict[str, Any], env: dict[str, str], client: Any, tmp_path: Path
) -> None:
    process, _ = _started(tmp_path, env, client)
    process.kill()
    process.communicate()
    _waits(lambda: not _left(client), "the container outlived its run")


@pytest.mark.slow
def test_a_container_that_is_killed_is_told(
    data_image: dict[str, Any], env: dict[str, str], client: Any, tmp_path: Path
) -> None:
    process, container = _started(tmp_path, env, client)
    container.kill()
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, "ingest: the process ended without a word" in said) == (1, True), said


@pytest.mark.slow
def test_what_a_killed_runner_left_is_gone_after_the_next_run(
    data_image: dict[str, Any], env: dict[str, str], client: Any, tmp_path: Path
) -> None:
    import psutil

    process, container = _started(tmp_path, env, client)
    parent = psutil.Process(process.pid)
    # It would sweep after its runner.
    parent.suspend()
    for one in [*parent.children(recursive=True), parent]:
        one.kill()
    process.communicate()
    assert container.id in {one.id for one in _left(client)}
    small_recipe(tmp_path, rows=300)
    run("small.yaml", "--until", "ingest", *DOCKER, cwd=tmp_path, env=env)
    assert not _left(client)
