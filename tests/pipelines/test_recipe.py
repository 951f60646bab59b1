"""Recipes: every error with its file, its line, its key and the nearest right word."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from modelmill.errors import UserError
from pipelines.recipe import Recipe, load, schema
from pipelines.steps import settings_of, step_names

RECIPES = sorted((Path(__file__).resolve().parents[2] / "pipelines" / "recipes").glob("*.yaml"))

RIGHT = """\
name: shop
task: text-classification
ingest:
  corpus:
    - labelled: train
  labelled:
    - uri: shop.csv
      columns: {text: review}
pretrain:
  model: {layers: 2, width: 32, heads: 2}
  steps: 5
finetune:
  epochs: 1
evaluate:
  thresholds: {accuracy: {min: 0.5}}
register:
  name: shop
"""


def _load(tmp_path: Path, text: str, *overrides: str) -> Recipe:
    path = tmp_path / "shop.yaml"
    path.write_text(text)
    return load(path, overrides)


def test_a_right_recipe_has_its_defaults_and_its_paths_count_from_its_file(tmp_path: Path) -> None:
    recipe = _load(tmp_path, RIGHT)
    assert recipe.ingest.labelled[0].uri == str(tmp_path / "shop.csv")
    assert recipe.ingest.labelled[0].columns.label == "label"
    assert recipe.preprocess.max_tokens == 128
    assert recipe.digest == _load(tmp_path, RIGHT).digest


def test_a_name_a_task_a_source_and_a_register_name_are_a_recipe(tmp_path: Path) -> None:
    text = "name: x\ntask: text-classification\ningest: {labelled: [{uri: a.csv}]}\nregister: {name: x}\n"
    assert step_names(_load(tmp_path, text)) == [
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
    with pytest.raises(UserError) as error:
        _load(tmp_path, RIGHT.replace(change, to))
    assert message in str(error.value).splitlines()[0]
    assert len(str(error.value).splitlines()) == 1


def test_every_error_is_told_at_once(tmp_path: Path) -> None:
    text = RIGHT.replace("epochs: 1", "epohcs: 1").replace("steps: 5", "steps: -5").replace("layers: 2", "layers: two")
    with pytest.raises(UserError) as error:
        _load(tmp_path, text)
    assert len(str(error.value).splitlines()) == 3


def test_an_override_is_checked_like_the_file_and_named_as_it_was_typed(tmp_path: Path) -> None:
    assert _load(tmp_path, RIGHT, "finetune.lr=1e-4").finetune.lr == 1e-4
    with pytest.raises(UserError, match=r"--set finetune\.lrr=1: finetune\.lrr: unknown key; did you mean 'lr'"):
        _load(tmp_path, RIGHT, "finetune.lrr=1")


def test_only_what_a_step_reads_changes_what_it_is_told(tmp_path: Path) -> None:
    """The facts that cross sections: task, rows, the architecture of a start from random weights, register's own."""
    plain = settings_of(_load(tmp_path, RIGHT))
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
        told = settings_of(_load(tmp_path, RIGHT, change))
        assert {name for name in told if told[name] != plain[name]} == wanted, change


def test_a_comparison_from_scratch_repeats_fine_tuning_and_evaluation(tmp_path: Path) -> None:
    recipe = _load(tmp_path, RIGHT, "evaluate.compare=[from_scratch]")
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


PICTURES = """name: x
task: image-classification
ingest:
  labelled: [{uri: a.zip}]
finetune:
  epochs: 1
register: {name: x}
"""


@pytest.mark.parametrize(
    ("change", "to", "message"),
    [
        ("finetune:", "preprocess: {max_tokens: 64}\nfinetune:", "preprocess.max_tokens: is for texts, and the task"),
        ("finetune:", "preprocess: {tokenizer: {kind: bpe}}\nfinetune:", "preprocess.tokenizer: is for texts"),
        ("zip}]", "zip}]\n  quality: {}", "ingest.quality: is for texts, and the task is image-classification"),
        ("register:", "evaluate: {must_beat: [tfidf]}\nregister:", "evaluate.must_beat: tfidf counts the words"),
        ("epochs: 1", "model: {family: bert}", "finetune.model: bert does not look at pictures; those that"),
        ("epochs: 1", "model: {family: mlp}", "finetune.model: mlp does not look at pictures"),
    ],
)  # fmt: skip
def test_what_is_for_texts_is_told_for_pictures(tmp_path: Path, change: str, to: str, message: str) -> None:
    assert PICTURES.count(change) == 1
    _load(tmp_path, PICTURES)
    with pytest.raises(UserError, match=re.escape(message)):
        _load(tmp_path, PICTURES.replace(change, to))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("epochs: 1\npreprocess: {images: {size: 32}}", "preprocess.images: is for pictures, and the task is text-c"),
        ("augment: {flip: true}", "finetune.augment: is for pictures, and the task is text-classification"),
        ("model: {family: lenet}", "finetune.model: lenet looks at pictures, and the task is text-classification"),
    ],
)
def test_what_is_for_pictures_is_told_for_texts(tmp_path: Path, said: str, message: str) -> None:
    text = PICTURES.replace("epochs: 1", said)
    _load(tmp_path, text)
    with pytest.raises(UserError, match=re.escape(message)):
        _load(tmp_path, text.replace("image-c", "text-c").replace("a.zip", "a.csv"))


TABLE = """name: x
task: table-regression
ingest:
  labelled: [{uri: a.csv}]
  table: {target: y}
register: {name: x}
"""


@pytest.mark.parametrize(
    ("change", "to", "message"),
    [
        ("  table: {target: y}\n", "", "ingest.table: missing; table-regression learns a column of a table"),
        ("table-regression", "text-classification", "ingest.table: is for table-classification and table-regression"),
        (
            "  table:",
            "  min_chars: 5\n  table:",
            "ingest.min_chars: is not for tables, and the task is table-regression",
        ),
        ("a.csv}", "a.csv, label: x}", "ingest.labelled.0.label: is not for tables, whose columns table describes"),
        ("  table:", "  label: {classes: [a, b]}\n  table:", "ingest.label: makes classes, and table-regression"),
        ("y}", "y, ignore: [y]}", "ignore names the target 'y'; leave it out there"),
        (
            "register:",
            "finetune: {model: {family: bert}}\nregister:",
            "finetune.model: is of family bert, linear and mlp",
        ),
        (
            "register:",
            "finetune: {base: folder}\nregister:",
            "finetune.base: a table's network starts from random weights",
        ),
        (
            "register:",
            "evaluate: {thresholds: {accuracy: {min: 0.8}}}\nregister:",
            "thresholds.accuracy: is no figure of",
        ),
        ("register:", "preprocess: {tokenizer: {vocabulary: 300}}\nregister:", "preprocess.tokenizer: is for texts"),
        ("register:", "preprocess: {tables: {impute: mode}}\nregister:", "is not one of median, mean, most_frequent"),
        ("  table:", "  split: {by: time}\n  table:", "split.by is time, and there is no table.time; name the column"),
    ],
)
def test_what_is_not_for_a_table_is_told(tmp_path: Path, change: str, to: str, message: str) -> None:
    assert _load(tmp_path, TABLE).ingest.table is not None
    with pytest.raises(UserError, match=re.escape(message)):
        _load(tmp_path, TABLE.replace(change, to))


def test_a_network_for_tables_is_not_for_texts(tmp_path: Path) -> None:
    text = "name: x\ntask: text-classification\ningest: {labelled: [{uri: a.csv}]}\nregister: {name: x}\n"
    with pytest.raises(
        UserError, match=r"shop\.yaml:5: finetune\.model: is of family mlp, which reads a table's rows, and"
    ):
        _load(tmp_path, text + "finetune: {model: {family: mlp}}\n")


LANGUAGE = """name: x
task: causal-lm
ingest:
  corpus: [{uri: a.txt}]
preprocess:
  packing: best-fit
pretrain:
  objective: causal-lm
  model: {family: llama}
evaluate:
  thresholds: {perplexity: {max: 9.0}}
register: {name: x}
"""


def test_a_language_model_is_an_end_in_itself(tmp_path: Path) -> None:
    recipe = _load(tmp_path, LANGUAGE)
    assert step_names(recipe) == [
        "resolve",
        "ingest",
        "preprocess",
        "pretrain",
        "evaluate",
        "evaluate-champion",
        "register",
    ]
    assert settings_of(recipe).keys() == set(step_names(recipe))
    assert json.loads(settings_of(recipe)["pretrain"])["packing"] == "best-fit"


@pytest.mark.parametrize(
    ("change", "to", "message"),
    [
        ("task: causal-lm", "task: masked-lm", "task: masked-lm is learned by pretrain with that objective"),
        ("corpus: [{uri: a.txt}]", "corpus: [{uri: a.txt}]\n  labelled: [{uri: b.csv}]", "ingest.labelled: causal-lm"),
        ("llama}", "bert}", "model.family: bert cannot learn causal-lm; use gpt2 or llama"),
        ("llama}", "lama}", 'pretrain.model.family: "lama" is not one of bert, modernbert'),
        ("llama}", "gpt2, key_value_heads: 2}", "key_value_heads is not for gpt2"),
        ("llama}", "llama, heads: 4, key_value_heads: 3}", "heads (4) must be a multiple of key_value_heads (3)"),
        (
            "{perplexity: {max: 9.0}}",
            "{f1_macro: {min: 0.5}}",
            "evaluate.thresholds.f1_macro: is not measured for causal-lm",
        ),
        ("register:", "finetune: {epochs: 2}\nregister:", "finetune.epochs: causal-lm has no fine-tuning"),
        ("evaluate:", "evaluate:\n  compare: [from_scratch]", "evaluate.compare: compares fine-tuning"),
    ],
)
def test_what_contradicts_a_language_model_is_told(tmp_path: Path, change: str, to: str, message: str) -> None:
    assert LANGUAGE.count(change) == 1 or change == "task: causal-lm"
    with pytest.raises(UserError) as error:
        _load(tmp_path, LANGUAGE.replace(change, to, 1))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("preprocess.packing=best-fit", "preprocess.packing: best-fit is for pretrain.objective: causal-lm"),
        ("evaluate.prompts=[hello]", "evaluate.prompts: are for language models"),
        ("evaluate.thresholds.perplexity.max=2", "evaluate.thresholds.perplexity: is not measured for text-class"),
    ],
)
def test_what_is_for_language_models_is_refused_elsewhere(tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        _load(tmp_path, RIGHT, change)
    assert message in str(error.value)


def test_a_classifier_does_not_grow_on_a_decoder(tmp_path: Path) -> None:
    overrides = ["pretrain.objective=causal-lm", "pretrain.model={family: gpt2}"]
    with pytest.raises(UserError, match=r"pretrain\.objective: text-classification is learned on top of an encoder"):
        _load(tmp_path, RIGHT, *overrides)


ANSWERS = """\
name: replies
task: sequence-to-sequence
ingest: {labelled: [{uri: replies.csv}]}
preprocess: {max_tokens: 32, max_target_tokens: 24, tokenizer: {kind: bpe}}
finetune: {model: {family: t5, layers: 2}, decoding: {beams: 2}}
evaluate: {thresholds: {chrf: {min: 5}, perplexity: {max: 90.0}}, must_beat: [copy]}
register: {name: replies}
"""


def test_a_recipe_for_written_answers_tells_training_how_long_and_how_to_ask(tmp_path: Path) -> None:
    told = json.loads(settings_of(_load(tmp_path, ANSWERS))["finetune"])
    assert (told["max_tokens"], told["max_target_tokens"], told["decoding"]["beams"]) == (32, 24, 2)
    left_out = ANSWERS.replace("max_target_tokens: 24, ", "")
    assert json.loads(settings_of(_load(tmp_path, left_out))["finetune"])["max_target_tokens"] == 32


@pytest.mark.parametrize(
    ("change", "to", "message"),
    [
        ("family: t5", "family: bert", "finetune.model: bert writes no sequence, and the task is sequence-to-sequence"),
        ("[copy]", "[tfidf]", "tfidf is no baseline of sequence-to-sequence, whose baselines are frequent, copy"),
        ("{chrf: {min: 5}", "{accuracy: {min: 0.5}", "accuracy: is no figure of sequence-to-sequence"),
        ("{chrf: {min: 5}", "{chrf: {min: 101}", "chrf: 101 is out of its range, which is 0 to 100"),
        ("{beams: 2}", "{beams: 0}", "finetune.decoding.beams"),
        ("finetune:", "pretrain: {model: {family: bert}}\nfinetune:", "pretrain: "),
    ],
)
def test_what_written_answers_have_not_is_refused(tmp_path: Path, change: str, to: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        _load(tmp_path, ANSWERS.replace(change, to))
    assert message in str(error.value)


def test_what_is_for_written_answers_alone_is_refused_elsewhere(tmp_path: Path) -> None:
    for change, message in (
        ("finetune:\n  decoding: {beams: 2}", "finetune.decoding: is for sequence-to-sequence; leave it out"),
        ("preprocess: {max_target_tokens: 9}\nfinetune:", "preprocess.max_target_tokens: is for sequence-to-sequence"),
    ):
        with pytest.raises(UserError) as error:
            _load(tmp_path, RIGHT.replace("finetune:", change))
        assert message in str(error.value)


@pytest.mark.parametrize(
    ("ingest", "message"),
    [
        (
            "{labelled: [{uri: replies.csv, columns: {context: c}}]}",
            "labelled.0.columns.context: is for question-answering, and the task is sequence-to-sequence",
        ),
        ("{labelled: [{uri: replies.csv, label: good}]}", "ingest.labelled.0.label: makes a class, and sequence-to"),
        ("{labelled: [{uri: replies.csv}], split: {by: label}}", "ingest.split.by: label divides classes"),
    ],
)
def test_what_rows_of_a_text_and_its_answer_do_not_hold_is_refused(tmp_path: Path, ingest: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        _load(tmp_path, ANSWERS.replace("{labelled: [{uri: replies.csv}]}", ingest))
    assert message in str(error.value)
