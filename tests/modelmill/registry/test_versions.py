"""Versions and aliases on a real MLflow server."""

import json
import subprocess
import sys
import uuid
from pathlib import Path

import pandas as pd
import pytest

from modelmill.errors import UserError
from modelmill.models.folder import MODEL_FILE
from modelmill.models.server import Answering
from modelmill.registry.versions import CHALLENGER, CHAMPION, Registry, fetch
from modelmill.tracking import Tracking
from tests import answering
from tests.servers import MlflowServer


@pytest.fixture
def registry(mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    monkeypatch.setenv("MODELMILL_RUN", uuid.uuid4().hex)
    return Registry(client=Tracking.connect().client, name=f"model-{uuid.uuid4().hex[:8]}")


def _add(registry: Registry, folder: Path, model: str) -> str:
    folder.mkdir(parents=True)
    (folder / MODEL_FILE).write_text(json.dumps({"digest": model, "task": "text-classification"}))
    run = Tracking.connect().open_step("register")
    return registry.add(model, folder, run=run, example="a fine film", tags={"modelmill.recipe": "reviews"})


def test_a_version_is_found_again_by_its_content_and_only_by_it(registry: Registry, tmp_path: Path) -> None:
    assert registry.find("models/a") is None
    assert _add(registry, tmp_path / "a" / "model", "models/a") == "1"
    assert _add(registry, tmp_path / "b" / "model", "models/b") == "2"
    assert (registry.find("models/a"), registry.find("models/b"), registry.find("models/c")) == ("1", "2", None)


def test_a_version_carries_signature_input_example_requirements_and_lineage(registry: Registry, tmp_path: Path) -> None:
    import mlflow

    _add(registry, tmp_path / "a" / "model", "models/a")
    described = mlflow.models.get_model_info(f"models:/{registry.name}/1")
    assert described.signature.inputs.input_names() == ["text"]
    assert described.signature.outputs.input_names() == ["label", "probability", "probabilities"]
    assert described.saved_input_example_info is not None
    assert registry.client.get_model_version(registry.name, "1").tags["modelmill.recipe"] == "reviews"
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{registry.name}/1", dst_path=str(tmp_path / "got")))
    requirements = (folder / "requirements.txt").read_text()
    assert "torch==" in requirements
    assert "transformers==" in requirements


HOUSE = {"area": 120.5, "rooms": 4.0}
# What a version is loaded by where there is no modelmill but its own.
LOADED = """
import json, sys
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
answers = model.predict(pandas.DataFrame([json.loads(sys.argv[2])]))
loaded = {name: module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] == "modelmill"}
print(json.dumps([answers["prediction"].tolist(), loaded]))
"""


def test_a_version_answers_by_the_library_that_it_brings(registry: Registry, tmp_path: Path) -> None:
    import mlflow

    folder = answering.table_model(tmp_path / "a" / "model")
    run = Tracking.connect().open_step("register")
    registry.add("models/a", folder, run=run, example=HOUSE, tags={})
    got = mlflow.artifacts.download_artifacts(f"models:/{registry.name}/1", dst_path=str(tmp_path / "got"))
    assert [path.name for path in (Path(got) / "code").rglob("*")] == ["modelmill.zip"]
    assert [*Path(got).rglob("__pycache__")] == []
    command = [sys.executable, "-c", LOADED, got, json.dumps(HOUSE)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (answer,), loaded = json.loads(done.stdout.splitlines()[-1])
    assert answer == pytest.approx(Answering(folder).predict(pd.DataFrame([HOUSE]))["prediction"][0])
    assert [name for name, file in loaded.items() if not file.startswith(f"{got}/code/modelmill.zip/")] == []
    assert "modelmill.models.table_predictor" in loaded


def test_aliases_move_and_are_told_by_version(registry: Registry, tmp_path: Path) -> None:
    _add(registry, tmp_path / "a" / "model", "models/a")
    _add(registry, tmp_path / "b" / "model", "models/b")
    assert registry.alias(CHAMPION) is None
    registry.set_alias(CHAMPION, "1")
    registry.set_alias(CHALLENGER, "1")
    registry.set_alias(CHALLENGER, "2")
    assert (registry.alias(CHAMPION), registry.alias(CHALLENGER)) == ("1", "2")
    assert (registry.aliases("1"), registry.aliases("2")) == ((CHAMPION,), (CHALLENGER,))


def test_a_models_folder_comes_back_as_it_went(registry: Registry, tmp_path: Path) -> None:
    _add(registry, tmp_path / "a" / "model", "models/a")
    registry.set_alias(CHAMPION, "1")
    for number, reference in enumerate(
        (f"{registry.name}@champion", f"models:/{registry.name}@champion", f"models:/{registry.name}/1")
    ):
        folder = fetch(reference, tmp_path / f"got-{number}")
        assert json.loads((folder / MODEL_FILE).read_text())["digest"] == "models/a"


def test_an_unknown_model_or_alias_is_told_with_what_there_is(registry: Registry, tmp_path: Path) -> None:
    _add(registry, tmp_path / "a" / "model", "models/a")
    registry.set_alias(CHAMPION, "1")
    with pytest.raises(UserError, match="its aliases are champion"):
        fetch(f"{registry.name}@challenger", tmp_path)
    with pytest.raises(UserError, match=f"registered are .*{registry.name}"):
        fetch("nothing@champion", tmp_path)


def test_a_server_that_is_gone_leaves_no_version_and_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from modelmill.errors import ModelmillError

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ModelmillError, match=r"MLflow at http://127\.0\.0\.1:9") as error:
        Tracking.connect()
    assert "secret" not in str(error.value)
