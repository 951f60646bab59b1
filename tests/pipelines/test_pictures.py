"""A recipe of pictures the whole way: from a folder of files to a model that answers files, here and when served."""

import base64
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests import pictures
from tests.commands import BIN, modelmill
from tests.pipelines.test_run import _answers, _wait_for, run
from tests.servers import free_ports

RECIPE = """\
name: halves
task: image-classification
ingest:
  labelled: [{uri: pictures}]
  split: {by: label, train: 0.6, validation: 0.2, test: 0.2}
finetune: {model: {family: lenet}, epochs: 8, batch_rows: 16, lr: 5.0e-3, augment: {crop: 1}}
evaluate: {thresholds: {accuracy: {min: 0.5}}}
register: {name: halves}
"""


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Pictures in a folder for each class, learned in a folder of its own."""
    folder = tmp_path_factory.mktemp("halves")
    for number, (pixels, label) in enumerate(pictures.halves(200)):
        path = folder / "pictures" / pictures.LABELS[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pictures.encoded(pixels))
    (folder / "halves.yaml").write_text(RECIPE)
    return folder, run("halves.yaml", cwd=folder)


def asked(folder: Path) -> dict[str, str]:
    """Write four new pictures, two of them as a person might have them; return what each shows by its path."""
    shown = {}
    for number, (pixels, label) in enumerate(pictures.halves(4, seed=99)):
        kind = ("PNG", "JPEG", "BMP", "GIF")[number]
        path = folder / f"asked{number}.{kind.lower()}"
        path.write_bytes(pictures.encoded(pixels, kind))
        shown[str(path)] = pictures.LABELS[label]
    return shown


def test_a_folder_of_pictures_becomes_a_model_that_answers_files(halves: tuple[Path, dict[str, Any]]) -> None:
    folder, result = halves
    assert result["verdict"] == "promote"
    assert result["metrics"].keys() == {"test", "majority"}
    assert result["metrics"]["test"]["accuracy"] > 0.9
    shown = asked(folder)
    done = modelmill("predict", "halves@champion", *shown, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    predictions = json.loads(done.stdout)["predictions"]
    assert {one["image"]: one["label"] for one in predictions} == shown
    wrong = modelmill("predict", "halves@champion", "halves.yaml", cwd=folder)
    assert wrong.returncode == 2
    assert "picture 1 of 1: not_an_image" in wrong.stderr


def test_mlflow_serves_it(halves: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = halves
    shown = asked(folder)
    rows = [[base64.b64encode(Path(path).read_bytes()).decode()] for path in shown]
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/halves@champion"]
    database = f"sqlite:///{folder}/.modelmill/mlflow.db"
    # The registry too: this process may have told its children another one.
    env = {**os.environ, "MLFLOW_TRACKING_URI": database, "MLFLOW_REGISTRY_URI": database}
    with (folder / "serve.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
            cwd=folder,
            # MLflow starts the server by its name.
            env={**env, "PATH": f"{BIN.parent}{os.pathsep}{os.environ['PATH']}"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_for(lambda: _answers(f"http://127.0.0.1:{port}/ping"), 120, (folder / "serve.log").read_text)
        question = {"dataframe_split": {"columns": ["image"], "data": rows}}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            data=json.dumps(question).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            predictions = json.load(answer)["predictions"]
        assert [one["label"] for one in predictions] == list(shown.values())
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(30)
