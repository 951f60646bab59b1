"""Tables the whole line: a CSV file, a run, a registered model that answers rows as they come."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests import tables
from tests.commands import BIN, modelmill
from tests.pipelines.test_run import cached, run
from tests.servers import free_ports

RECIPE = """\
name: houses
task: table-regression
ingest:
  labelled: [{uri: houses.csv}]
  table: {target: price, columns: {rooms: {kind: integer}}}
  split: {train: 0.6, validation: 0.2, test: 0.2}
preprocess: {tables: {dates: [year]}}
finetune: {model: {family: mlp, layers: 1, width: 16}, epochs: 40, lr: 0.01, folds: 3}
evaluate: {thresholds: {r2: {min: 0.3}}}
register: {name: houses}
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run over a file of houses, and what it answered."""
    folder = tmp_path_factory.mktemp("houses")
    rows = tables.houses(300)
    lines = [",".join(rows[0])]
    lines += [
        ",".join("" if value is None else str(value).removesuffix(" 00:00:00") for value in row.values())
        for row in rows
    ]
    (folder / "houses.csv").write_text("\n".join(lines) + "\n")
    (folder / "houses.yaml").write_text(RECIPE)
    return folder, run("houses.yaml", cwd=folder)


def test_one_command_takes_a_csv_file_to_a_registered_model(done: tuple[Path, dict[str, Any]]) -> None:
    _, result = done
    assert [step["name"] for step in result["steps"]] == [
        "resolve", "ingest", "preprocess", "finetune", "evaluate", "evaluate-champion", "register"
    ]  # fmt: skip
    assert {"r2", "rmse", "mae"} <= set(result["metrics"]["test"])
    assert result["metrics"]["test"]["r2"] > result["metrics"]["mean"]["r2"]
    assert result["metrics"]["linear"]["r2"] > 0.7
    folds = result["metrics"]["cross_validation"]
    assert (folds["folds"], len(folds["figures"]["model"]["r2"]["folds"])) == (3, 3)
    assert set(folds["figures"]) == {"model", "linear", "mean"}
    assert (result["verdict"], result["model"]["aliases"]) == ("promote", ["challenger", "champion"])
    assert "Predicted against true" in Path(result["report"]).read_text()


def test_a_person_reads_the_figures_of_a_regression(done: tuple[Path, dict[str, Any]]) -> None:
    folder, first = done
    again = subprocess.run(
        [str(BIN), "run", "houses.yaml"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    test = first["metrics"]["test"]
    assert f"r2 {test['r2']:.3f}, rmse {test['rmse']:.4g}" in again
    assert "over 3 folds of" in again
    assert "accuracy" not in again
    (ask,) = [line for line in again.splitlines() if line.startswith("try it")]
    assert "modelmill predict houses@challenger '{" in ask
    # What is offered to try works as it stands.
    tried = subprocess.run(
        f"{BIN.parent}/{ask.removeprefix('try it').strip()}",
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert any(sign.isdigit() for sign in tried)


def test_a_second_run_answers_from_the_cache(done: tuple[Path, dict[str, Any]]) -> None:
    folder, first = done
    second = run("houses.yaml", cwd=folder)
    assert cached(second) == {"ingest", "preprocess", "finetune", "evaluate"}
    assert second["metrics"] == first["metrics"]


def test_the_registered_model_answers_rows_and_tells_what_is_wrong_with_one(done: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = done
    rows = ['{"area": 120.5, "rooms": 4, "street": "south", "built": "1990-05-01", "garden": true}', '{"area": 30}']
    answered = modelmill("predict", "houses@champion", "--json", *rows, cwd=folder)
    assert answered.returncode == 0, answered.stderr
    dear, cheap = [one["prediction"] for one in json.loads(answered.stdout)["predictions"]]
    assert 200 < dear < 700
    assert cheap < dear
    for row, said in (
        ('{"area": "large"}', "row 1, column 'area': 'large' is no number"),
        ('{"aera": 3}', "row 1: no column 'aera' among the 6 of the model; did you mean 'area'?"),
        ("a dull film", "no JSON"),
    ):
        refused = modelmill("predict", "houses@champion", row, cwd=folder)
        assert (refused.returncode, said in refused.stderr) == (2, True), refused.stderr


def test_mlflow_serves_it_with_missing_values(done: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = done
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/houses@champion"]
    database = f"sqlite:///{folder}/.modelmill/mlflow.db"
    # The registry too: this process may have told its children another one.
    env = {**os.environ, "MLFLOW_TRACKING_URI": database, "MLFLOW_REGISTRY_URI": database}
    env["PATH"] = f"{BIN.parent}:{env['PATH']}"
    rows: list[tables.Row] = [
        {"area": 120.5, "rooms": 4, "street": "south", "built": "1990-05-01", "garden": True, "note": "x"},
        {"area": None, "rooms": None, "street": None, "built": None, "garden": None, "note": None},
    ]
    asked = json.dumps({"dataframe_split": {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}})
    with (folder / "serve.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--env-manager", "local", "-p", str(port), "-w", "1"],
            cwd=folder,
            env=env,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        served = [one["prediction"] for one in _asked(port, asked, folder / "serve.log")["predictions"]]
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(30)
    told = modelmill("predict", "houses@champion", "--json", *map(json.dumps, rows), cwd=folder)
    assert served == pytest.approx([one["prediction"] for one in json.loads(told.stdout)["predictions"]], rel=1e-6)


def _asked(port: int, body: str, log: Path) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", body.encode(), {"Content-Type": "application/json"}
    )
    ends = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        except OSError:
            assert time.monotonic() < ends, log.read_text()
            time.sleep(0.3)


@pytest.mark.slow
def test_a_better_challenger_is_promoted_beside_the_champion_and_taken_back(done: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = done
    weak = RECIPE.replace("houses\ntask", "cottages\ntask").replace("name: houses", "name: cottages")
    weak = weak.replace("epochs: 40, lr: 0.01, folds: 3", "epochs: 6, lr: 0.003").replace("{r2: {min: 0.3}}", "{}")
    (folder / "weak.yaml").write_text(weak)
    (folder / "better.yaml").write_text(weak.replace("epochs: 6, lr: 0.003", "epochs: 60, lr: 0.01"))

    first = run("weak.yaml", cwd=folder)
    assert (first["verdict"], first["model"]["aliases"]) == ("promote", ["challenger", "champion"])
    better = run("better.yaml", cwd=folder)
    assert cached(better) == {"ingest", "preprocess"}
    assert (better["verdict"], better["model"]["aliases"]) == ("promote", ["challenger"])

    def models(*arguments: str) -> dict[str, Any]:
        answer = modelmill("models", *arguments, "--json", cwd=folder)
        assert answer.returncode == 0, answer.stderr
        said: dict[str, Any] = json.loads(answer.stdout)
        return said

    told = models("show", "cottages", "2")
    assert (told["judged_beside"], told["verdict"]) == ("1", "promote")
    models("promote", "cottages", "2")
    assert models("show", "cottages")["champion"] == "2"
    # The champion is now the model itself, so there is nothing to compare with.
    again = run("better.yaml", cwd=folder)
    assert (again["model"]["version"], again["model"]["aliases"]) == ("2", ["challenger", "champion"])
    models("rollback", "cottages", "--reason", "a customer complained")
    assert models("show", "cottages")["champion"] == "1"
    moves = [(entry["action"], entry["to_version"]) for entry in models("history", "cottages")["entries"]]
    assert moves == [("first", "1"), ("promote", "2"), ("rollback", "1")]
    assert models("verify", "cottages")["faults"] == []
