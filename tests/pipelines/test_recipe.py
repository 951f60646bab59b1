"""Recipes: every error with its file, its line, its key and the nearest right word."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from modelmill.errors import UserError
from pipelines.recipe_file import load, schema
from pipelines.steps import settings_of, step_names
from tests.pipelines.recipes import RIGHT, read, refused

RECIPES = sorted((Path(__file__).resolve().parents[2] / "pipelines" / "recipes").glob("*.yaml"))


def test_a_right_recipe_has_its_defaults_and_its_paths_count_from_its_file(tmp_path: Path) -> None:
    recipe = read(tmp_path, RIGHT)
    assert recipe.ingest.labelled[0].uri == str(tmp_path / "shop.csv")
    assert recipe.ingest.labelled[0].columns.label == "label"
    assert recipe.preprocess.max_tokens == 128
    assert recipe.digest == read(tmp_path, RIGHT).digest


def test_a_name_a_task_a_source_and_a_register_name_are_a_recipe(tmp_path: Path) -> None:
    text = "name: x\ntask: text-classification\ningest: {labelled: [{uri: a.csv}]}\nregister: {name: x}\n"
    assert step_names(read(tmp_path, text)) == [
        "resolve",
        "ingest",
        "preprocess",
        "finetune",
        "evaluate",
        "evaluate-champion",
        "register",
    ]


@pytest.mark.parametrize(
    ("change", "to", "message"),
    [
        ("  epochs: 1", "  epochss: 1", "shop.yaml:13: finetune.epochss: unknown key; did you mean 'epochs'?"),
        ("pretrain:", "pretrian:", "shop.yaml:9: pretrian: unknown key; did you mean 'pretrain'?"),
        ("  epochs: 1", "  lr: fast", 'shop.yaml:13: finetune.lr: wants a number, got "fast"'),
        ("  epochs: 1", "  epochs: 1.5", "shop.yaml:13: finetune.epochs: "),
        ("  epochs: 1", "  epochs: '1'", 'shop.yaml:13: finetune.epochs: wants a whole number, got "1"'),
        ("  epochs: 1", "  lr: -1", "shop.yaml:13: finetune.lr: must be greater than 0, got -1"),
        ("  steps: 5", "  steps: 0", "shop.yaml:11: pretrain.steps: must be greater than or equal to 1, got 0"),
        (
            "task: text-classification",
            "task: text-clasification",
            "is not one of text-classification, pair-classification, question-answering, sequence-to-sequence, image",
        ),
        ("task: text-classification", "task: image-clasification", "did you mean 'image-classification'?"),
        ("register:\n  name: shop\n", "", "shop.yaml:1: register: missing; the model's place in the registry"),
        ("    - uri: shop.csv\n      columns", "    - columns", "shop.yaml:7: ingest.labelled.0.uri: missing"),
        ("{text: review}", "{txt: review}", "ingest.labelled.0.columns.txt: unknown key; did you mean 'text'?"),
        ("    - labelled: train", "    - labelled: test", "shop.yaml:5: ingest.corpus.0.labelled: "),
        ("    - labelled: train", "    - uri: b.csv\n      formt: csv", "ingest.corpus.0.formt: unknown key"),
        ("{accuracy: {min: 0.5}}", "{acuracy: {min: 0.5}}", "shop.yaml:15: evaluate.thresholds.acuracy: "),
        ("finetune:\n  epochs: 1", "finetune: 3", "shop.yaml:12: finetune: wants keys of its own"),
        ("  steps: 5", "  steps: 5\n  base: folder", "shop.yaml:9: pretrain: give either base"),
        ("width: 32", "width: 33", "shop.yaml:10: pretrain.model: width (33) must be a multiple of heads (2)"),
        ("  epochs: 1", "  base: folder", "shop.yaml:13: finetune.base: contradicts pretrain"),
        ("  corpus:\n    - labelled: train\n", "", "shop.yaml:7: pretrain: there is no ingest.corpus to train on"),
        ("name: shop\ntask", "name: My Shop\ntask", "shop.yaml:1: name: "),
        ("  epochs: 1", "  folds: 5", "shop.yaml:13: finetune.folds: is for table-classification and table-regression"),
        ("{accuracy: {min: 0.5}}", "{r2: {min: 0.5}}", "shop.yaml:15: evaluate.thresholds.r2: is no figure of text-cl"),
        ("      columns: {text: review}", "      uri: again.csv", "shop.yaml:8: ingest.labelled.0.uri: said twice"),
        ("{accuracy: {min: 0.5}}", "{}\n  slices: [source]", "'source' is what a row's source is called, and none has"),
        ("{accuracy: {min: 0.5}}", "{}\n  slices: [lable]", "slices: no row has 'lable'; did you mean 'label'?"),
        ("{accuracy: {min: 0.5}}", "{}\n  slices: [region]", "(text_length, label); name it in ingest.slice_columns"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_line_key_and_the_nearest_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, to: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert RIGHT.count(change) == 1
    (said,) = refused(tmp_path, RIGHT.replace(change, to)).splitlines()
    assert message in said


def test_every_error_is_told_at_once(tmp_path: Path) -> None:
    text = RIGHT.replace("epochs: 1", "epohcs: 1").replace("steps: 5", "steps: -5").replace("layers: 2", "layers: two")
    assert len(refused(tmp_path, text).splitlines()) == 3


def test_an_override_is_checked_like_the_file_and_named_as_it_was_typed(tmp_path: Path) -> None:
    assert read(tmp_path, RIGHT, "finetune.lr=1e-4").finetune.lr == 1e-4
    with pytest.raises(UserError, match=r"--set finetune\.lrr=1: finetune\.lrr: unknown key; did you mean 'lr'"):
        read(tmp_path, RIGHT, "finetune.lrr=1")


def test_only_what_a_step_reads_changes_what_it_is_told(tmp_path: Path) -> None:
    """The facts that cross sections: task, rows, the architecture of a start from random weights, register's own."""
    plain = settings_of(read(tmp_path, RIGHT))
    changes = {
        "finetune.lr=1e-3": {"finetune", "register"},
        "pretrain.steps=6": {"pretrain", "register"},
        "pretrain.model.layers=1": {"pretrain", "finetune", "register"},
        "evaluate.thresholds.accuracy.min=0.6": {"evaluate", "register"},
        "evaluate.slices=[label]": {"evaluate", "register"},
        "evaluate.against_champion.margin=0.01": {"register"},
        "preprocess.max_tokens=32": {"pretrain", "finetune", "register"},  # nothing is tokenized again
        "preprocess.tokenizer.vocabulary=500": {"preprocess", "register"},
        "ingest.min_chars=3": {"ingest", "register"},
        "register.name=other": {"resolve", "register"},  # whose champion it is judged beside
        "name=other": {"register"},
    }
    for change, wanted in changes.items():
        told = settings_of(read(tmp_path, RIGHT, change))
        assert {name for name in told if told[name] != plain[name]} == wanted, change


@pytest.mark.parametrize(
    ("task", "ingest", "said"),
    [
        ("image-classification", "{labelled: [{uri: a.zip}]}", {"images": {"size": 32, "resize": "pad"}}),
        ("table-regression", "{labelled: [{uri: a.csv}], table: {target: y}}", {"tables": {"impute": "mean"}}),
        ("sequence-to-sequence", "{labelled: [{uri: a.csv}]}", {"prefix": "sum: ", "tokenizer": {"kind": "bpe"}}),
    ],
)
def test_whatever_a_recipe_says_of_preprocessing_the_step_is_told(
    task: str, ingest: str, said: dict[str, Any], tmp_path: Path
) -> None:
    text = f"name: x\ntask: {task}\ningest: {ingest}\npreprocess: {json.dumps(said)}\nregister: {{name: x}}\n"
    told = json.loads(settings_of(read(tmp_path, text))["preprocess"])
    for key, value in said.items():
        assert value == (told[key] if isinstance(value, str) else {name: told[key][name] for name in value})


def test_a_comparison_from_scratch_repeats_fine_tuning_and_evaluation(tmp_path: Path) -> None:
    recipe = read(tmp_path, RIGHT, "evaluate.compare=[from_scratch]")
    names = step_names(recipe)
    assert names[-5:] == ["finetune-from-scratch", "evaluate", "evaluate-from-scratch", "evaluate-champion", "register"]
    assert json.loads(settings_of(recipe)["finetune-from-scratch"])["start"] == "random"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_of_ours_is_right_and_fits_the_schema_for_editors(path: Path) -> None:
    load(path)
    jsonschema.validate(yaml.safe_load(path.read_text()), schema())


def test_the_schema_refuses_an_unknown_key() -> None:
    good = yaml.safe_load(RIGHT)
    jsonschema.validate(good, schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**good, "finetune": {"lrr": 1}}, schema())
