"""Tasks of lm-evaluation-harness are asked of a model as it is served, with data of this machine."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.evaluate.run import run
from components.evaluate.settings import EvaluateSettings
from components.pretrain.run import run as pretrain
from modelmill.digest import canonical_json
from modelmill.errors import ModelmillError, UserError
from modelmill.evaluation.document import Report
from modelmill.evaluation.probes import HarnessFigure
from modelmill.models.folder import fetch_model, read_files
from modelmill.models.predict import load_predictor
from modelmill.sources import fingerprint
from modelmill.store import Store, open_store
from tests import samples
from tests.components.evaluate.test_language import CORPUS, MODELS

INSTALLED = importlib.util.find_spec("lm_eval") is not None
with_extra = pytest.mark.skipif(not INSTALLED, reason="lm-evaluation-harness is not installed (modelmill[lm-eval])")
pytestmark = pytest.mark.filterwarnings("ignore")

ROWS: list[dict[str, Any]] = [
    {"before": "the film is", "ends": ["wonderful and moving", "xx qq zz"], "right": 0},
    {"before": "a story of", "ends": ["qq xx", "the cast and music"], "right": 1},
    {"before": "its plot", "ends": ["is dull", "zz zz zz"], "right": 0},
]
CHOICE = """\
task: own_choice
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: before
doc_to_target: right
doc_to_choice: ends
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
"""
ROLLING = """\
task: own_rolling
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: before
metric_list:
  - {metric: bits_per_byte, aggregation: bits_per_byte, higher_is_better: false}
"""
WRITING = """\
task: own_writing
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: generate_until
generation_kwargs: {until: ["\\n"], max_gen_toks: 4}
doc_to_text: before
doc_to_target: before
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    for name, told in {"choice": CHOICE, "rolling": ROLLING, "writing": WRITING}.items():
        (folder / f"{name}.yaml").write_text(told)
    return folder


def settings(**told: Any) -> EvaluateSettings:
    return EvaluateSettings.model_validate_json(canonical_json({"task": "causal-lm", "must_beat": [], **told}))


def measured(store: Store, folder: Path, **told: Any) -> tuple[str, dict[str, bytes]]:
    step = samples.step_of(store, folder)
    model = pretrain(step, MODELS["causal-lm"], samples.tokens(store, folder).corpus, "").model
    include = told.get("include")
    pinned = fingerprint(include) if include else ""
    asked = settings(lm_eval=told, lm_eval_pinned=pinned)
    made = run(samples.step_of(store, folder, "evaluate"), asked, model, samples.write_corpus(store, CORPUS))
    return model, read_files(store, made.report)[0]


@pytest.mark.skipif(INSTALLED, reason="lm-evaluation-harness is installed")
def test_without_the_extra_the_way_to_it_is_told_before_anything_is_fetched(store: Store, tmp_path: Path) -> None:
    told = settings(lm_eval={"tasks": ["hellaswag"]})
    with pytest.raises(UserError, match=r"not installed here: pip install 'modelmill\[lm-eval\]'") as error:
        run(samples.step_of(store, tmp_path), told, "models/" + "0" * 64, "datasets/" + "0" * 64)
    assert error.value.exit_code == 2


@with_extra
def test_tasks_of_an_own_folder_are_asked_and_told(store: Store, tmp_path: Path, tasks: Path) -> None:
    names = ["own_choice", "own_rolling", "own_writing"]
    model, files = measured(store, tmp_path, tasks=names, include=str(tasks))
    report = Report.read(files["report.json"])
    assert report.probes is not None
    assert report.probes.harness is not None
    found: dict[str, HarnessFigure] = {one.task: one for one in report.probes.harness.figures}
    assert set(found) == set(names)
    assert all(one.rows == 3 for one in found.values())
    fetch_model(store, model, tmp_path / "served")
    predictor: Any = load_predictor(tmp_path / "served")

    right = []
    for row in ROWS:
        # What stands before is the same: the likelier whole is the likelier end.
        nats = predictor.losses([f"{row['before']} {end}" for end in row["ends"]]).nats_D
        right.append(int(np.argmin(nats)) == row["right"])
    assert found["own_choice"].value == pytest.approx(np.mean(right), abs=1e-6)
    # The harness leaves the end of a document out.
    whole = predictor.losses([row["before"] for row in ROWS]).nats_D.sum()
    size = sum(len(str(row["before"]).encode()) for row in ROWS)
    assert 0 < found["own_rolling"].value < whole / size / np.log(2)
    assert found["own_rolling"].higher_is_better is False
    assert found["own_writing"].value == 0
    assert "own_choice" in files["report.html"].decode()


@with_extra
def test_a_limit_is_kept_and_a_task_that_is_not_there_is_told(store: Store, tmp_path: Path, tasks: Path) -> None:
    _, files = measured(store, tmp_path, tasks=["own_choice"], include=str(tasks), limit=2)
    report = Report.read(files["report.json"])
    assert report.probes is not None
    assert report.probes.harness is not None
    assert [one.rows for one in report.probes.harness.figures] == [2]
    with pytest.raises(UserError, match="knows no task 'own_choices'; did you mean 'own_choice'"):
        measured(store, tmp_path / "b", tasks=["own_choices"], include=str(tasks))


@with_extra
def test_tasks_that_changed_since_the_run_began_are_refused(store: Store, tmp_path: Path, tasks: Path) -> None:
    asked = settings(lm_eval={"tasks": ["own_choice"], "include": str(tasks)}, lm_eval_pinned="0" * 64)
    step = samples.step_of(store, tmp_path)
    model = pretrain(step, MODELS["causal-lm"], samples.tokens(store, tmp_path).corpus, "").model
    with pytest.raises(ModelmillError, match="changed since the run began; run again"):
        run(samples.step_of(store, tmp_path, "evaluate"), asked, model, samples.write_corpus(store, CORPUS))
