"""Whole runs of the graph: cached by content, the same everywhere, stopped and gone on with, on real services too."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commands import BIN, clean_environment, modelmill
from tests.modelmill.registry.test_notify import webhook
from tests.servers import MlflowServer, S3Server, free_ports

RECIPES = Path(__file__).resolve().parents[2] / "pipelines" / "recipes"
SMALL = """\
name: small
task: text-classification
ingest:
  corpus:
    - {uri: corpus.txt, format: text}
    - labelled: train
  labelled: [{uri: reviews.csv}]
preprocess:
  max_tokens: 16
  tokenizer: {kind: wordpiece, vocabulary: 300}
pretrain:
  model: {layers: 1, width: 32, heads: 2}
  steps: 30
  batch_rows: 8
  precision: fp32   # not measured, so that two runs have the same bits
finetune: {epochs: 6, batch_rows: 8, lr: 3.0e-3, precision: fp32}
register: {name: small}
"""


def run(recipe: Path | str, *arguments: str, cwd: Path, env: dict[str, str] | None = None) -> dict[str, Any]:
    done = modelmill("run", str(recipe), "--json", *arguments, cwd=cwd, env=env)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def cached(result: dict[str, Any]) -> set[str]:
    return {step["name"] for step in result["steps"] if step["cached"]}


def small_recipe(folder: Path, rows: int = 300) -> Path:
    """Write a recipe and its data: reviews whose label hangs on one of their words, and other text of such words."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(0)
    words = [f"{a}{b}" for a in ("film", "plot", "cast", "score", "scene") for b in ("", "s", "ed", "ing")]
    lines = ["text,label"]
    for number in range(rows):
        label = "good" if number % 2 else "bad"
        said = draw.choices(words, k=6)
        said.insert(draw.randrange(6), {"good": "superb", "bad": "dreadful"}[label])
        lines.append(f"{' '.join(said)} {number},{label}")
    (folder / "reviews.csv").write_text("\n".join(lines) + "\n")
    (folder / "corpus.txt").write_text("\n".join(" ".join(draw.choices(words, k=9)) for _ in range(500)) + "\n")
    recipe = folder / "small.yaml"
    recipe.write_text(SMALL)
    return recipe


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The demo in miniature, run whole in a folder of its own, and what it answered."""
    folder = tmp_path_factory.mktemp("tiny")
    return folder, run(RECIPES / "reviews_tiny.yaml", cwd=folder)


def test_one_command_takes_raw_reviews_to_a_registered_model(tiny: tuple[Path, dict[str, Any]]) -> None:
    _, result = tiny
    assert result["state"] == "done"
    assert [step["name"] for step in result["steps"]] == [
        "resolve", "ingest", "preprocess", "pretrain", "finetune", "evaluate", "evaluate-champion", "register"
    ]  # fmt: skip
    assert not cached(result)
    assert {"test", "majority"} <= set(result["metrics"])
    assert 0 <= result["metrics"]["test"]["accuracy"] <= 1
    assert result["model"]["version"] == "1"
    assert "challenger" in result["model"]["aliases"]
    assert ("champion" in result["model"]["aliases"]) == (result["verdict"] == "promote")
    assert "Evaluation report" in Path(result["report"]).read_text()
    logs = Path(result["report"]).parent
    assert all((logs / f"{step['name']}.log").stat().st_size for step in result["steps"])


def test_a_second_run_answers_from_the_cache_and_makes_no_second_version(tiny: tuple[Path, dict[str, Any]]) -> None:
    folder, first = tiny
    second = run(RECIPES / "reviews_tiny.yaml", cwd=folder)
    assert cached(second) == {"ingest", "preprocess", "pretrain", "finetune", "evaluate"}
    assert second["datasets"] == first["datasets"]
    assert second["metrics"] == first["metrics"]
    assert second["model"] == first["model"]


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # MLflow's own, of SQLAlchemy
def test_mlflow_has_one_run_a_pipeline_run_and_nested_ones_with_settings_and_curves(
    tiny: tuple[Path, dict[str, Any]],
) -> None:
    from mlflow.tracking import MlflowClient

    folder, result = tiny
    database = f"sqlite:///{folder}/.modelmill/mlflow.db"
    client = MlflowClient(tracking_uri=database, registry_uri=database)
    experiment = client.get_experiment_by_name("modelmill")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [one for one in runs if one.data.tags.get("modelmill.run") == result["run"]]
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["accuracy"] == pytest.approx(result["metrics"]["test"]["accuracy"])
    steps = {
        one.data.tags["modelmill.step"]: one
        for one in runs
        if one.data.tags.get("mlflow.parentRunId") == parent.info.run_id
    }
    assert set(steps) == {"ingest", "preprocess", "pretrain", "finetune", "evaluate", "evaluate-champion", "register"}
    assert steps["finetune"].data.params["epochs"] == "1"
    assert len(client.get_metric_history(steps["pretrain"].info.run_id, "loss")) == 2
    version = client.get_model_version(result["model"]["name"], "1")
    assert version.tags["modelmill.labelled"] == result["datasets"]["ingest"]["labelled"]
    assert version.tags["modelmill.corpus"] == result["datasets"]["ingest"]["corpus"]
    assert len(version.tags["modelmill.recipe_digest"]) == 64


def test_the_registered_model_answers_raw_text(tiny: tuple[Path, dict[str, Any]]) -> None:
    folder, result = tiny
    done = modelmill("predict", f"{result['model']['name']}@challenger", "--json", stdin="so dull\ngreat\n", cwd=folder)
    assert done.returncode == 0, done.stderr
    for prediction in json.loads(done.stdout)["predictions"]:
        assert prediction["probabilities"][prediction["label"]] == prediction["probability"] >= 0.5
        assert sum(prediction["probabilities"].values()) == pytest.approx(1)


@pytest.mark.slow
def test_a_changed_learning_rate_repeats_fine_tuning_and_what_comes_after(tiny: tuple[Path, dict[str, Any]]) -> None:
    folder, first = tiny
    changed = run(RECIPES / "reviews_tiny.yaml", "--set", "finetune.lr=1e-3", cwd=folder)
    assert cached(changed) == {"ingest", "preprocess", "pretrain"}
    assert changed["model"]["version"] == "2"
    assert "champion" not in changed["model"]["aliases"] or first["verdict"] != "promote"


def test_real_services_give_the_same_addresses_and_figures_and_a_model_that_is_served(
    tiny: tuple[Path, dict[str, Any]], tmp_path: Path, s3: S3Server, mlflow_server: MlflowServer
) -> None:
    _, here = tiny
    env = {**s3.env, "MODELMILL_STORE": f"s3://{s3.new_bucket()}/store", "MLFLOW_TRACKING_URI": mlflow_server.uri}
    there = run(RECIPES / "reviews_tiny.yaml", cwd=tmp_path, env=env)
    assert there["datasets"] == here["datasets"]
    assert there["metrics"] == here["metrics"]
    assert not (tmp_path / ".modelmill" / "store").exists()
    assert not (tmp_path / ".modelmill" / "mlflow.db").exists()
    name = f"models:/{there['model']['name']}@challenger"
    for label, probability in _served(name, ["a dull, lifeless film", "great fun"], tmp_path, env):
        assert label in {"negative", "positive"}
        assert 0.5 <= probability <= 1


def _served(model: str, texts: list[str], folder: Path, env: dict[str, str]) -> Iterator[tuple[str, float]]:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", model, "--env-manager", "local"]
    with (folder / "serve.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
            cwd=folder,
            # MLflow starts the server by its name.
            env={**clean_environment(), **env, "PATH": f"{BIN.parent}{os.pathsep}{os.environ['PATH']}"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_for(lambda: _answers(f"http://127.0.0.1:{port}/ping"), 120, (folder / "serve.log").read_text)
        question = {"dataframe_split": {"columns": ["text"], "data": [[text] for text in texts]}}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            data=json.dumps(question).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            for row in json.load(answer)["predictions"]:
                yield row["label"], row["probability"]
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def _wait_for(condition: Callable[[], bool], seconds: float, log: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, log()[-3000:]
        time.sleep(0.1)


@pytest.mark.slow
def test_two_folders_give_the_same_addresses_weights_and_figures(tmp_path: Path) -> None:
    results = []
    for name in ("a", "b"):
        small_recipe(tmp_path / name)
        results.append(run("small.yaml", cwd=tmp_path / name))
    first, second = results
    assert first["datasets"] == second["datasets"]
    assert first["metrics"] == second["metrics"]
    assert first["metrics"]["test"]["accuracy"] > 0.9
    assert first["verdict"] == "promote"
    assert first["model"]["aliases"] == ["challenger", "champion"]
    models = [{path.name for path in (tmp_path / name / ".modelmill/store/models").iterdir()} for name in ("a", "b")]
    assert models[0] == models[1]

    data = tmp_path / "a" / "reviews.csv"
    data.write_text(data.read_text().replace(",good\n", ",bad\n", 1))
    relabelled = run("small.yaml", cwd=tmp_path / "a")
    # One byte... of a label: the text stays, so what is learned from text alone stays too.
    assert cached(relabelled) == {"pretrain"}
    assert relabelled["datasets"]["ingest"]["corpus"] == first["datasets"]["ingest"]["corpus"]
    assert relabelled["datasets"]["ingest"]["labelled"] != first["datasets"]["ingest"]["labelled"]
    assert relabelled["model"]["version"] == "2"
    assert relabelled["model"]["aliases"] == ["challenger"]
    assert relabelled["verdict"] == "undecided"


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGINT, marks=pytest.mark.slow, id="ctrl-c"), pytest.param(signal.SIGKILL, id="killed")],
)
def test_a_run_that_was_stopped_goes_on_with_the_same_command_to_the_same_weights(
    tmp_path: Path, number: signal.Signals
) -> None:
    unbroken = small_recipe(tmp_path / "a").parent
    broken = small_recipe(tmp_path / "b").parent
    settings = ["--until", "pretrain", "--set", "pretrain.steps=400", "--set", "pretrain.checkpoint_seconds=0"]
    wanted = run("small.yaml", *settings, cwd=unbroken)
    assert wanted["state"] == "done"

    command = [str(BIN), "run", "small.yaml", "--json", *settings]
    process = subprocess.Popen(command, cwd=broken, env=clean_environment())
    _wait_for(lambda: _pretraining(broken) > 20, 120, lambda: "pretrain never got to step 20")
    process.send_signal(number)
    process.wait(60)
    _wait_for(lambda: not _step_processes(broken), 30, lambda: "a step outlived its run")
    again = run("small.yaml", *settings, cwd=broken)
    assert cached(again) >= {"ingest", "preprocess"}
    (log,) = (broken / ".modelmill" / "runs").glob(f"{again['run']}/pretrain.log")
    assert "resumes after step" in log.read_text()
    ours, theirs = ({path.name for path in (one / ".modelmill/store/models").iterdir()} for one in (unbroken, broken))
    assert ours == theirs


def _events(folder: Path) -> list[dict[str, Any]]:
    found = sorted((folder / ".modelmill" / "runs").glob("*/events.jsonl"))
    lines = found[-1].read_text().splitlines(keepends=True) if found else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _pretraining(folder: Path) -> int:
    done = [one["done"] for one in _events(folder) if one["kind"] == "progress" and one["what"] == "pretrain"]
    return max(done, default=0)


def _step_processes(folder: Path) -> list[int]:
    pids = {event["pid"] for event in _events(folder) if event["kind"] == "started"}
    return [pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists()]


def test_a_step_that_is_killed_is_told_with_its_last_lines(tmp_path: Path) -> None:
    folder = small_recipe(tmp_path / "a").parent
    settings = ("--set", "pretrain.steps=100000", "--set", "pretrain.precision=auto")
    command = [str(BIN), "run", "small.yaml", "--until", "pretrain", *settings]
    with webhook() as (port, posted):
        env = {**clean_environment(), "MODELMILL_NOTIFY": f"http://127.0.0.1:{port}/"}
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        _wait_for(lambda: _pretraining(folder) > 2, 120, lambda: "pretrain never began")
        (pid,) = [one["pid"] for one in _events(folder) if one["kind"] == "started" and one["step"] == "pretrain"]
        os.kill(pid, signal.SIGKILL)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    (told,) = posted
    assert (told["kind"], told["facts"]["step"], told["facts"]["state"]) == ("failed", "pretrain", "failed")
    ended = (
        r"pretrain: the process ended without a word \(killed, or out of memory\); last seen at \d+ of 100,000 steps"
    )
    # Which precision is faster is what pretraining says first.
    for text in (told["text"], said):
        assert re.search(ended + r"\s+\| .* modelmill\.training\.precision: ", text), text
    assert "Traceback" not in said


@pytest.mark.slow
def test_pretraining_is_compared_with_its_absence(tmp_path: Path) -> None:
    result = run(RECIPES / "reviews_scratch_tiny.yaml", cwd=tmp_path)
    assert {"test", "majority", "from_scratch"} <= set(result["metrics"])
    names = [step["name"] for step in result["steps"]]
    assert names[-5:] == ["finetune-from-scratch", "evaluate", "evaluate-from-scratch", "evaluate-champion", "register"]
    assert (
        "Same fine-tune" in Path(result["report"]).read_text() or "random weights" in Path(result["report"]).read_text()
    )


@pytest.mark.slow
def test_a_language_model_is_trained_measured_registered_and_answers_and_other_rows_take_no_text(
    tmp_path: Path,
) -> None:
    result = run(RECIPES / "dialogue_clm_tiny.yaml", cwd=tmp_path)
    names = [step["name"] for step in result["steps"]]
    assert names == ["resolve", "ingest", "preprocess", "pretrain", "evaluate", "evaluate-champion", "register"]
    assert result["metrics"]["test"].keys() == {"loss", "perplexity", "accuracy", "bits_per_byte"}
    assert result["verdict"] == "promote"
    assert "Prompts continued" in Path(result["report"]).read_text()
    asked = ("predict", "dialogue-clm-tiny@champion", "--json", "I don't know")
    first, again = (modelmill(*asked, cwd=tmp_path) for _ in range(2))
    (prediction,) = json.loads(first.stdout)["predictions"]
    assert prediction.keys() == {"text", "continuation"}
    assert first.stdout == again.stdout
    longer = run(RECIPES / "dialogue_clm_tiny.yaml", "--set", "preprocess.max_tokens=48", cwd=tmp_path)
    assert cached(longer) == {"ingest", "preprocess"}
    assert longer["datasets"] == result["datasets"]
