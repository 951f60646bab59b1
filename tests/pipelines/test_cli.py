"""The command line as a person uses it: exit codes, messages, JSON."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import modelmill

RECIPE = """\
name: shop
task: text-classification
ingest: {{labelled: [{{uri: {data}}}]}}
register: {{name: shop}}
"""


def _recipe(folder: Path, data: str = "shop.csv") -> Path:
    path = folder / "shop.yaml"
    path.write_text(RECIPE.format(data=data))
    (folder / data).write_text("text,label\nfine,good\n")
    return path


def test_help_lists_the_commands(tmp_path: Path) -> None:
    done = modelmill("--help", cwd=tmp_path)
    assert done.returncode == 0
    for command in ("validate", "schema", "run", "compile", "predict", "init"):
        assert command in done.stdout


def test_the_module_is_the_command_where_its_script_is_not_at_hand(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines.cli", "validate", "nothing.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "nothing.yaml: there is no such recipe" in done.stderr) == (2, True)


def test_validate_says_what_a_right_recipe_will_do(tmp_path: Path) -> None:
    _recipe(tmp_path)
    done = modelmill("validate", "shop.yaml", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "resolve → ingest → preprocess → finetune → evaluate → evaluate-champion → register" in done.stdout
    answer = json.loads(modelmill("validate", "shop.yaml", "--json", cwd=tmp_path).stdout)
    assert answer["valid"] is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["validate", "nothing.yaml"], "nothing.yaml: there is no such recipe"),
        (["validate", "shop.yaml", "--set", "finetune.lrr=1"], "--set finetune.lrr=1: finetune.lrr: unknown key"),
        (
            ["validate", "shop.yaml", "--set", "ingest.labelled.0.uri=gone.csv"],
            "--set ingest.labelled.0.uri=gone.csv: ingest.labelled.0.uri: ",
        ),
        (["run", "shop.yaml", "--until", "finetun"], "--until finetun: no such stage; did you mean 'finetune'?"),
        (["compile", "shop.yaml", "-o", "nowhere/x.yaml"], "there is no folder nowhere"),
        (["compile", "shop.yaml", "-o", "x.txt"], "wants a name that ends in .yaml or .json"),
        (["predict", "nothing", "a text"], "nothing: no such folder; a registered model is named NAME@ALIAS"),
        (["init"], "init: name your data"),
        (["train"], "No such command 'train'"),
        (["validate"], "Missing argument 'RECIPE'"),
    ],
)
def test_wrong_input_is_one_clear_message_and_exit_code_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    _recipe(tmp_path)
    done = modelmill(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    told = json.loads(modelmill(*arguments, "--json", cwd=tmp_path).stdout)
    assert (told["exit_code"], message in told["error"]) == (2, True)


def test_compile_writes_yaml_that_the_kfp_sdk_loads(tmp_path: Path) -> None:
    from kfp import components

    _recipe(tmp_path)
    done = modelmill("compile", "shop.yaml", "-o", "pipeline.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    loaded = components.load_component_from_file(str(tmp_path / "pipeline.yaml"))
    tasks = loaded.pipeline_spec.root.dag.tasks
    assert set(tasks) == {"resolve", "ingest", "preprocess", "finetune", "evaluate", "evaluate-2", "register"}
    uncached = {name for name, task in tasks.items() if not task.caching_options.enable_cache}
    assert uncached == {"resolve", "evaluate-2", "register"}
    assert not loaded.pipeline_spec.root.input_definitions.parameters


def test_the_schema_is_json(tmp_path: Path) -> None:
    assert json.loads(modelmill("schema", cwd=tmp_path).stdout)["title"] == "modelmill recipe"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "shop.csv: no such file or folder"),
        ("", "shop.csv: empty (0 bytes)"),
        ("text,mark\nfine,good\n", "'label'"),
    ],
)
def test_a_run_on_a_source_that_is_not_usable_fails_with_2_and_leaves_nothing(
    tmp_path: Path, content: str | None, message: str
) -> None:
    _recipe(tmp_path)
    (tmp_path / "shop.csv").unlink()
    if content is not None:
        (tmp_path / "shop.csv").write_text(content)
    done = modelmill("run", "shop.yaml", "--until", "ingest", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "shop.csv" in done.stderr
    assert message in done.stderr
    assert not [path for path in (tmp_path / ".modelmill" / "store").rglob("*.json") if path.name != "epoch.json"]
