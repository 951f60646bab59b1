"""Large weights: they go straight to the object store, and no step holds more of them than the model itself."""

import json
import os
import shutil
import struct
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from components.register.run import run
from modelmill.models.folder import read_files, save_model
from modelmill.registry.files import changed_files
from modelmill.registry.versions import fetch
from modelmill.store import Store, open_store
from tests import samples
from tests.components.evaluate.test_run import save_tiny_model, write_dataset
from tests.components.register.made import evidence, settings
from tests.servers import MlflowServer
from tests.way import Way, way_to

ROOT = Path(__file__).resolve().parents[3]
ALLOWED = 1 << 30
"""Of memory beyond the model's size, in bytes."""
TOKENS, WIDTH = 33_600_000, 16
"""Of an embedding of 2.15 GB."""


@pytest.mark.parametrize("mlflow_on", ["sqlite"], indirect=True)
def test_weights_go_straight_to_the_object_store_and_not_through_mlflow(
    mlflow_on: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(mlflow_on["MODELMILL_STORE"])
    given = evidence(store, tmp_path, weights=20 << 20)
    asked: list[tuple[str, str]] = []

    def noted(method: str, path: str) -> bool:
        asked.append((method, path))
        return True

    name = f"model-{uuid.uuid4().hex[:10]}"
    with way_to(mlflow_on["MLFLOW_TRACKING_URI"], Way(counts=noted)) as (uri, _):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        run(samples.step_of(store, tmp_path, "register"), settings(name), given, {})
        sent = [path for method, path in asked if method == "PUT"]
        assert any(path.endswith("/config.json") for path in sent)
        assert not any(path.endswith("/model.safetensors") for path in sent)
        folder = fetch(f"models:/{name}/1", tmp_path / "fetched")
        got = [path for method, path in asked if method == "GET" and path.endswith("/model.safetensors")]
        assert all("/presigned/" in path for path in got)
    assert changed_files(store, folder, given.model) == []


def grown(folder: Path) -> int:
    """Give a small model an embedding of 2 GB, of zeros but for the tokens that it had; return the size of its weights.

    The file is sparse: it takes its place on the disk where it is copied to.
    """
    path = folder / "model.safetensors"
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    name = next(name for name in header if name.endswith("word_embeddings.weight"))
    data = content[8 + length :]
    parts = {key: data[slice(*one["data_offsets"])] for key, one in header.items() if key != "__metadata__"}
    at = 0
    for key in sorted(parts, key=lambda key: key == name):
        size = len(parts[key]) if key != name else TOKENS * WIDTH * 4
        header[key]["data_offsets"] = [at, at + size]
        at += size
    header[name]["shape"] = [TOKENS, WIDTH]
    told = json.dumps(header).encode()
    told += b" " * (-len(told) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(told)) + told)
        for key in sorted(parts, key=lambda key: key == name):
            file.write(parts[key])
        file.truncate(8 + len(told) + at)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": TOKENS}))
    return at


_PEAK = """
import json, sys
from pathlib import Path
from modelmill.events import Events
from modelmill.step import Step
from modelmill.store import open_store
what, folder, given = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
folder.mkdir()
step = Step(name=what, store=open_store(), scratch=folder, events=Events(step=what, path=folder / "events.jsonl"))
if what == "evaluate":
    from components.evaluate.run import run
    from components.evaluate.settings import EvaluateSettings
    told = EvaluateSettings(task="text-classification", must_beat=("majority",))
    print(run(step, told, given["model"], given["labelled"]).report)
elif what == "register":
    from components.register.run import Evidence, run
    from components.register.settings import RegisterSettings
    settings = RegisterSettings.model_validate_json(json.dumps(given["settings"]))
    run(step, settings, Evidence(**given["evidence"]), {})
else:
    from modelmill.registry.files import check_works
    from modelmill.registry.versions import Registry
    from modelmill.tracking import mlflow_client
    check_works(Registry(client=mlflow_client(), name=given["name"]), step.store, folder)("1")
# Not getrusage, which still counts the process that this one was forked from.
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
print(int(peak.split()[1]) * 1024)
"""


def measured(what: str, folder: Path, env: dict[str, str], **given: Any) -> tuple[list[str], int]:
    """Return what a step printed that ran in a process of its own, and that process's peak memory in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, what, str(folder / what), json.dumps(given)],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    # Each has fetched the model, or packed it.
    shutil.rmtree(folder / what)
    *told, peak = done.stdout.splitlines()
    return told, int(peak)


@pytest.mark.slow
@pytest.mark.parametrize("kept", ["s3", "folder"])
def test_a_model_of_2_gb_is_evaluated_registered_and_tried_in_1_gb_beyond_its_size(
    kept: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kept == "s3":
        store = open_store(request.getfixturevalue("s3_uri"))
        server: MlflowServer = request.getfixturevalue("mlflow_sqlite")
    else:
        store, server = open_store(str(tmp_path / "store")), request.getfixturevalue("mlflow_server")
    monkeypatch.setenv("MODELMILL_STORE", store.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MODELMILL_RUN", uuid.uuid4().hex)
    save_tiny_model(open_store(str(tmp_path / "small")), tmp_path / "model")
    size = grown(tmp_path / "model")
    assert size > 2 << 30
    model, labelled = _stored(store, tmp_path / "model"), write_dataset(store)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    (report,), peak = measured("evaluate", tmp_path, env, model=model, labelled=labelled)
    assert peak - size < ALLOWED, f"evaluate took {peak:,} bytes for a model of {size:,}"
    name = f"model-{uuid.uuid4().hex[:10]}"
    given = {"report": report, "comparison": "", "model": model, "corpus": "", "labelled": labelled}
    given |= {"made_corpus": "", "made_labelled": ""}
    told = settings(name).model_dump(mode="json")
    _, peak = measured("register", tmp_path, env, settings=told, evidence=given)
    assert peak < ALLOWED, f"register took {peak:,} bytes, and needs nothing of the model in memory"
    _, peak = measured("rollback", tmp_path, env, name=name)
    assert peak - size < ALLOWED, f"trying the golden rows took {peak:,} bytes for a model of {size:,}"
    assert read_files(store, report)[1]["model"] == model
    for each in ("model", "store"):
        shutil.rmtree(tmp_path / each, ignore_errors=True)


def _stored(store: Store, folder: Path) -> str:
    facts = json.loads((folder / "modelmill.json").read_text())
    del facts["digest"]
    return save_model(store, folder, facts)
