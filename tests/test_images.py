"""What an image runs, run as it does there: with the code and the packages that the image has, and no others."""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from modelmill.models.folder import save_model
from modelmill.models.predict import load_predictor
from modelmill.store import open_store
from tests import answering
from tests.commands import clean_environment
from tests.modelmill.models.test_server import _ask
from tests.servers import MlflowServer

ROOT = Path(__file__).resolve().parents[1]
# A package that is not in the image's lock is not there, nor is what another one adds to a package that is (MLflow's
# server to mlflow-skinny).
_ONLY = """
import importlib.machinery, json, sys
from pathlib import Path
_site, _allowed = json.loads(Path(__file__).with_name("allowed.json").read_text())
_allowed = set(_allowed)


class _Only(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        found = super().find_spec(name, path, target)
        origin = found.origin if found is not None else None
        if origin and origin.startswith(_site) and origin[len(_site) + 1 :] not in _allowed:
            # Not raised: MLflow looks whether SQLAlchemy is there.
            return None
        return found


# An editable install of this tree would bring in what the image does not copy.
_others = [each for each in sys.meta_path if "editable" not in getattr(each, "__module__", "")]
sys.meta_path[:] = [_Only if each is importlib.machinery.PathFinder else each for each in _others]
"""


def _command(kind: str) -> list[str]:
    (command,) = re.findall(r"^CMD (\[.*\])$", (ROOT / "images" / f"{kind}.Dockerfile").read_text(), re.MULTILINE)
    found: list[str] = json.loads(command)
    return [sys.executable if word == "python3" else word for word in found]


def _image(kind: str, folder: Path) -> dict[str, str]:
    """Lay out what the image has under a folder, and return the environment of its commands."""
    code = (ROOT / "images" / f"{kind}.Dockerfile").read_text()
    for package in re.findall(r"^COPY (\w+) \./\1$", code, re.MULTILINE):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    lock = (ROOT / "images" / f"{kind}.lock").read_text()
    named = re.findall(r"^([A-Za-z0-9._-]+)==", lock, re.MULTILINE)
    # A lock names what other platforms need, too. Of this folder alone: setuptools puts copies of packages on the path.
    there = {
        str(each.metadata["Name"]).lower().replace("_", "-").replace(".", "-"): each
        for each in metadata.distributions(path=[sysconfig.get_path("purelib")])
    }
    allowed = [str(path) for name in named if name in there for path in there[name].files or ()]
    (folder / "allowed.json").write_text(json.dumps([sysconfig.get_path("purelib"), allowed]))
    (folder / "sitecustomize.py").write_text(_ONLY)
    return {**clean_environment(), "PYTHONPATH": str(folder), "PYTHONUNBUFFERED": "1"}


@contextmanager
def _running(command: list[str], env: dict[str, str], folder: Path) -> Iterator[str]:
    """Run a server, and yield the address that it says."""
    process = subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said: list[str] = []
        # To its end where the server ends; warnings may stand before the line that is waited for.
        for line in process.stderr:
            said.append(line)
            if "answers at http://" in line:
                break
        assert "answers at http://" in "".join(said[-1:]), "".join(said)
        yield said[-1].split()[-1]
    finally:
        process.kill()
        process.communicate()


def test_what_the_image_has_not_cannot_be_imported(tmp_path: Path) -> None:
    env = _image("train", tmp_path / "image")
    for module in ("kfp", "flask", "pipelines"):
        done = subprocess.run(
            [sys.executable, "-c", f"import {module}"],
            cwd=tmp_path, env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, "ModuleNotFoundError" in done.stderr) == (1, True), module


def test_the_train_image_serves_a_model_by_its_address_in_a_bucket(tmp_path: Path, s3_uri: str) -> None:
    folder = answering.text_model(tmp_path / "model")
    facts = json.loads((folder / "modelmill.json").read_text())
    address = save_model(open_store(s3_uri), folder, facts)
    wanted = load_predictor(folder).predict(["a fine film"])
    env = {**_image("train", tmp_path / "image"), "MODELMILL_MODEL": f"{s3_uri}/{address}"}
    with _running([*_command("train"), "--port", "0"], env, tmp_path) as at:
        status, found = _ask(at.replace("0.0.0.0", "127.0.0.1"), {"dataframe_records": [{"text": "a fine film"}]})
        assert status == 200, found
        np.testing.assert_allclose(found[0]["probability"], wanted.max(), atol=1e-6)


def test_the_train_image_says_how_to_name_a_model(tmp_path: Path) -> None:
    env = _image("train", tmp_path / "image")
    done = subprocess.run(_command("train"), cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, "MODELMILL_MODEL" in done.stderr) == (2, True), done.stderr


def test_the_data_image_removes_from_a_bucket_what_nothing_needs(
    tmp_path: Path, s3_uri: str, mlflow_server: MlflowServer
) -> None:
    store = open_store(s3_uri)
    lost, modified = store.put_blob(b"of nobody").sha256, store._backend.now()
    env = {**_image("data", tmp_path / "image"), "MODELMILL_STORE": s3_uri, "MLFLOW_TRACKING_URI": mlflow_server.uri}
    while store._backend.now() <= modified:
        time.sleep(0.1)
    command = [sys.executable, "-m", "modelmill.retention", "--min-age", "0s", "--idle", "--deleted", "*"]
    shown = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "would go with --apply" in shown.stdout
    assert store.has_blob(lost)
    done = subprocess.run(
        [*command, "--apply", "--json"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["total"]["removed"] == 1
    assert not store.has_blob(lost)


def test_the_data_image_says_what_is_wrong_with_retention(tmp_path: Path) -> None:
    env = {**_image("data", tmp_path / "image"), "MODELMILL_STORE": "s3://bucket/store"}
    command = [sys.executable, "-m", "modelmill.retention"]
    done = subprocess.run([*command, "--json"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, json.loads(done.stdout)["exit_code"]) == (2, 2), done.stderr
    assert "MLFLOW_TRACKING_URI is not set" in done.stderr


@pytest.mark.parametrize("kind", ["data", "train"])
def test_no_image_has_an_entrypoint_which_docker_puts_before_a_steps_command(kind: str) -> None:
    assert "\nENTRYPOINT" not in (ROOT / "images" / f"{kind}.Dockerfile").read_text()
