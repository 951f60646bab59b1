"""Models behind HTTP: the answers are the predictor's, wrong requests are told, and the end is clean."""

import base64
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest

from modelmill.errors import ModelmillError, UserError
from modelmill.models.base import address_of
from modelmill.models.folder import save_model
from modelmill.models.predict import load_predictor
from modelmill.models.reference import model_folder
from modelmill.registry.versions import CHAMPION, Registry
from modelmill.store import open_store
from modelmill.tracking import Tracking
from tests import answering, pictures, samples, tables
from tests.servers import MlflowServer

TEXTS = [text for text, _ in samples.reviews(20, seed=9)]
CLI = "from pipelines.cli import main; main()"


@contextmanager
def _serving(*arguments: str, env: dict[str, str] | None = None) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Serve a model on a free port; what is yielded first is the address."""
    command = [sys.executable, "-c", CLI, "models", "serve", *arguments, "--port", "0", "--json"]
    environment = {**os.environ, **(env or {})}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()
        yield json.loads(line)["address"], process
    finally:
        process.kill()
        process.communicate()


def _ask(address: str, body: Any, kind: str = "application/json") -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}/invocations", data, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)["predictions"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def _get(address: str, path: str) -> tuple[int, str]:
    with urllib.request.urlopen(f"{address}/{path}", timeout=60) as answer:
        return answer.status, answer.read().decode().strip()


def test_a_text_model_answers_as_its_predictor_to_many_at_a_time(tmp_path: Path) -> None:
    folder = answering.text_model(tmp_path / "model")
    predictor = load_predictor(folder)
    wanted_NL = predictor.predict(TEXTS)
    with _serving(str(folder)) as (address, process):
        assert _get(address, "ping")[0] == _get(address, "health")[0] == 200
        import mlflow

        assert _get(address, "version") == (200, mlflow.__version__)
        status, found = _ask(address, {"dataframe_records": [{"text": text} for text in TEXTS]})
        assert status == 200
        for row, answer in zip(wanted_NL, found, strict=True):
            assert answer["label"] == predictor.labels[row.argmax()]
            np.testing.assert_allclose([answer["probabilities"][name] for name in predictor.labels], row, atol=1e-6)
        assert (
            _ask(address, b"text\na fine film\n", "text/csv")[1]
            == _ask(address, {"dataframe_split": {"columns": ["text"], "data": [["a fine film"]]}})[1]
        )
        with ThreadPoolExecutor(8) as threads:
            asked = [{"dataframe_records": [{"text": f"{text} {number}"}]} for number, text in enumerate(TEXTS)]
            many = list(threads.map(lambda body: _ask(address, body), asked))
        alone = predictor.predict([f"{text} {number}" for number, text in enumerate(TEXTS)])
        np.testing.assert_allclose([one[1][0]["probability"] for one in many], alone.max(axis=1), atol=1e-5)
        for wrong in (b"{", {"dataframe_records": [{"txt": "x"}]}, {"rows": 1}):
            status, said = _ask(address, wrong)
            assert (status, "Traceback" in said) == (400, False), said
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, "Traceback" in err) == (0, "", False), err


def test_an_image_models_pictures_come_as_base64(tmp_path: Path) -> None:
    folder = answering.image_model(tmp_path / "model")
    made = [pictures.encoded(pixels) for pixels, _ in pictures.halves(5)]
    wanted = load_predictor(folder).predict(made)
    with _serving(str(folder)) as (address, _):
        rows = [{"image": base64.b64encode(data).decode()} for data in made]
        status, found = _ask(address, {"dataframe_records": rows})
        assert status == 200
        np.testing.assert_allclose([row["probability"] for row in found], wanted.max(axis=1), atol=1e-6)
        status, said = _ask(address, {"dataframe_records": [{"image": base64.b64encode(made[0][:60]).decode()}]})
        assert status == 400
        assert "truncated_image" in said


def test_a_table_model_is_served_by_its_address_in_the_store_without_the_command_line(tmp_path: Path) -> None:
    folder = answering.table_model(tmp_path / "model")
    meta = json.loads((folder / "modelmill.json").read_text())
    address_in_store = save_model(open_store(str(tmp_path / "store")), folder, meta)
    rows = [
        {name: value for name, value in row.items() if name in ("area", "rooms", "street") and value is not None}
        for row in tables.houses(8, seed=3)
    ]
    wanted = load_predictor(folder).predict(rows)
    command = [sys.executable, "-m", "modelmill.models.server", address_in_store, "--port", "0"]
    environment = {**os.environ, "MODELMILL_STORE": str(tmp_path / "store")}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "answers at http://" in line, line + process.stderr.read()
        status, found = _ask(line.split()[-1], {"dataframe_records": [{"rooms": None, **row} for row in rows]})
        assert status == 200
        np.testing.assert_allclose([row["prediction"] for row in found], wanted, rtol=1e-6)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_registered_version_is_served_by_its_alias(
    mlflow_server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    monkeypatch.setenv("MODELMILL_RUN", uuid.uuid4().hex)
    registry = Registry(client=Tracking.connect().client, name=f"model-{uuid.uuid4().hex[:8]}")
    folder = answering.text_model(tmp_path / "model")
    run = Tracking.connect().open_step("register")
    registry.set_alias(CHAMPION, registry.add("models/a", folder, run=run, example="a fine film", tags={}))
    wanted = load_predictor(folder).predict(["a fine film"])
    with _serving(f"{registry.name}@champion") as (address, _):
        status, found = _ask(address, {"dataframe_records": [{"text": "a fine film"}]})
        assert status == 200
        np.testing.assert_allclose(found[0]["probability"], wanted.max(), atol=1e-6)


def test_a_port_that_is_taken_and_a_model_that_is_not_there_end_with_2(tmp_path: Path) -> None:
    folder = answering.table_model(tmp_path / "model")
    with _serving(str(folder)) as (address, _):
        taken = [sys.executable, "-m", "modelmill.models.server", str(folder), "--port", address.rpartition(":")[2]]
        done = subprocess.run(taken, capture_output=True, text=True, check=False)
        assert (done.returncode, "cannot listen there" in done.stderr) == (2, True), done.stderr
    gone = [sys.executable, "-c", CLI, "models", "serve", "nothing", "--port", "0"]
    done = subprocess.run(gone, capture_output=True, text=True, check=False)
    assert (done.returncode, "no such folder" in done.stderr) == (2, True), done.stderr


def test_a_folder_in_a_bucket_is_served_and_one_that_was_changed_is_not(tmp_path: Path, s3_uri: str) -> None:
    folder = answering.table_model(tmp_path / "model")
    meta = json.loads((folder / "modelmill.json").read_text())
    address = save_model(open_store(str(tmp_path / "store")), folder, meta)
    bucket, _, prefix = s3_uri.removeprefix("s3://").partition("/")
    client = boto3.session.Session().client("s3")
    for path in folder.iterdir():
        client.upload_file(str(path), bucket, f"{prefix}/served/{path.name}")
    found = model_folder(f"{s3_uri}/served", tmp_path / "fetched")
    assert address_of(found) == address
    client.put_object(Bucket=bucket, Key=f"{prefix}/served/config.json", Body=b"{}")
    with pytest.raises(ModelmillError, match=r"was changed: its .* says the digest"):
        model_folder(f"{s3_uri}/served", tmp_path / "again")
    client.put_object(Bucket=bucket, Key=f"{prefix}/other/config.json", Body=b"{}")
    with pytest.raises(UserError, match="so it is not a model of"):
        model_folder(f"{s3_uri}/other", tmp_path / "other")
