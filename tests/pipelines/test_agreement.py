"""What a recipe's sections may not say together, by task."""

import json
from pathlib import Path

import pytest

from modelmill.errors import UserError
from pipelines.steps import settings_of, step_names
from tests.pipelines.recipes import RIGHT, read, refused

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
    read(tmp_path, PICTURES)
    assert message in refused(tmp_path, PICTURES.replace(change, to))


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
    read(tmp_path, text)
    assert message in refused(tmp_path, text.replace("image-c", "text-c").replace("a.zip", "a.csv"))


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
    assert read(tmp_path, TABLE).ingest.table is not None
    assert message in refused(tmp_path, TABLE.replace(change, to))


def test_a_network_for_tables_is_not_for_texts(tmp_path: Path) -> None:
    text = "name: x\ntask: text-classification\ningest: {labelled: [{uri: a.csv}]}\nregister: {name: x}\n"
    with pytest.raises(
        UserError, match=r"shop\.yaml:5: finetune\.model: is of family mlp, which reads a table's rows, and"
    ):
        read(tmp_path, text + "finetune: {model: {family: mlp}}\n")


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
    recipe = read(tmp_path, LANGUAGE)
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
    assert message in refused(tmp_path, LANGUAGE.replace(change, to, 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("preprocess.packing=best-fit", "preprocess.packing: best-fit is for pretrain.objective: causal-lm"),
        ("evaluate.prompts=[hello]", "evaluate.prompts: are for language models"),
        ("evaluate.thresholds.perplexity.max=2", "evaluate.thresholds.perplexity: is not measured for text-class"),
    ],
)
def test_what_is_for_language_models_is_refused_elsewhere(tmp_path: Path, change: str, message: str) -> None:
    assert message in refused(tmp_path, RIGHT, change)


def test_a_classifier_does_not_grow_on_a_decoder(tmp_path: Path) -> None:
    overrides = ["pretrain.objective=causal-lm", "pretrain.model={family: gpt2}"]
    with pytest.raises(UserError, match=r"pretrain\.objective: text-classification is learned on top of an encoder"):
        read(tmp_path, RIGHT, *overrides)


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
    told = json.loads(settings_of(read(tmp_path, ANSWERS))["finetune"])
    assert (told["max_tokens"], told["max_target_tokens"], told["decoding"]["beams"]) == (32, 24, 2)
    left_out = ANSWERS.replace("max_target_tokens: 24, ", "")
    assert json.loads(settings_of(read(tmp_path, left_out))["finetune"])["max_target_tokens"] == 32


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
    assert message in refused(tmp_path, ANSWERS.replace(change, to))


def test_what_is_for_written_answers_alone_is_refused_elsewhere(tmp_path: Path) -> None:
    for change, message in (
        ("finetune:\n  decoding: {beams: 2}", "finetune.decoding: is for sequence-to-sequence; leave it out"),
        ("preprocess: {max_target_tokens: 9}\nfinetune:", "preprocess.max_target_tokens: is for sequence-to-sequence"),
        ("preprocess: {prefix: 'sum: '}\nfinetune:", "preprocess.prefix: is for sequence-to-sequence"),
    ):
        assert message in refused(tmp_path, RIGHT.replace("finetune:", change))


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
    assert message in refused(tmp_path, ANSWERS.replace("{labelled: [{uri: replies.csv}]}", ingest))
