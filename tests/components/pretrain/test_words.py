import random
from pathlib import Path
from typing import Any, Literal

import pytest

from components.evaluate.run import run as evaluate
from components.evaluate.settings import EvaluateSettings
from components.preprocess.run import run as preprocess
from components.preprocess.settings import PreprocessSettings, TokenizerSettings
from components.pretrain.run import run
from components.pretrain.settings import PretrainSettings
from modelmill.errors import Interrupted, UserError
from modelmill.evaluation.document import Report
from modelmill.models.architecture import WordTable
from modelmill.models.folder import fetch_model, read_files
from modelmill.models.predict import load_predictor
from modelmill.store import open_store
from tests import samples

FRUIT, TOOLS = ("apple", "pear", "cherry", "grape"), ("hammer", "drill", "wrench", "pliers")


def texts(count: int, seed: int) -> list[str]:
    """Sentences of fruit among words of eating, and of tools among words of building, with words of both."""
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        names, others = chance.choice(((FRUIT, ("sweet", "ripe", "eat")), (TOOLS, ("steel", "heavy", "build"))))
        words = [chance.choice(names), chance.choice(others), chance.choice(names), chance.choice(others), "the", "and"]
        chance.shuffle(words)
        made.append(" ".join(words))
    return made


@pytest.mark.parametrize("objective", ["skip-gram", "cbow"])
def test_words_of_a_kind_come_near_each_other_a_stopped_training_goes_on_and_held_out_text_shows_it(
    objective: Literal["skip-gram", "cbow"], tmp_path: Path
) -> None:
    settings = PretrainSettings(
        objective=objective,
        model=WordTable(family="word2vec", width=12),
        window=3,
        negatives=3,
        subsample=0.0,
        steps=120,
        batch_rows=128,
        lr=0.05,
        weight_decay=0.0,
        precision="fp32",
    )
    addresses = []
    for name in ("whole", "broken"):
        store = open_store(str(tmp_path / name / "store"))
        corpus = samples.write_corpus(store, {"train": texts(500, 1), "validation": texts(60, 2)})
        told = PreprocessSettings(task="word-embeddings", tokenizer=TokenizerSettings(kind="words", vocabulary=300))
        tokens = preprocess(samples.step_of(store, tmp_path / name, "pre"), told, corpus, "", "").corpus
        if name == "broken":
            step = samples.step_of(store, tmp_path / name, "first")
            step.figures_to = samples.StopAt(step, 50)
            with pytest.raises(Interrupted):
                run(step, settings, tokens, "")
        made = run(samples.step_of(store, tmp_path / name), settings, tokens, "")
        addresses.append(made.model)
    assert addresses[0] == addresses[1]
    folder = tmp_path / "model"
    assert fetch_model(store, made.model, folder)["task"] == "word-embeddings"
    predictor: Any = load_predictor(folder)
    near = {word.split()[0] for word in predictor.predict(["apple"])[0].split(", ")[:3]}
    assert near <= {*FRUIT, "sweet", "ripe", "eat"}
    assert predictor.vectors(["apple pear"]).shape == (1, 12)
    with pytest.raises(UserError, match="'zzz': 0 of its words are among the"):
        predictor.predict(["zzz"])

    asked = EvaluateSettings(task="word-embeddings", prompts=("apple",))
    found = evaluate(samples.step_of(store, tmp_path, "evaluate"), asked, made.model, corpus)
    files, _ = read_files(store, found.report)
    report = Report.read(files["report.json"])
    assert report.metrics["test"]["accuracy"] > report.metrics["unigram"]["accuracy"] + 0.1
    assert report.metrics["test"]["loss"] < report.metrics["unigram"]["loss"]
    assert [check.against for check in report.checks] == ["unigram"]
    assert len(report.places) > 5
    page = files["report.html"].decode()
    assert "Nearest words" in page
    assert "second" in page
    assert report.samples[0].answer in page


def test_a_corpus_without_two_known_words_together_is_refused(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    corpus = samples.write_corpus(store, {"train": ["alone", "single"]})
    told = PreprocessSettings(task="word-embeddings")
    tokens = preprocess(samples.step_of(store, tmp_path, "pre"), told, corpus, "", "").corpus
    settings = PretrainSettings(objective="cbow", model=WordTable(family="word2vec"))
    with pytest.raises(UserError, match="of 0 known words 0 stand beside another; give more text, or lower"):
        run(samples.step_of(store, tmp_path), settings, tokens, "")


def test_what_does_not_go_with_word_embeddings_is_refused() -> None:
    for given, message in (
        ({"objective": "cbow", "base": "folder"}, "cbow starts from new vectors"),
        ({"objective": "skip-gram", "model": {"family": "bert"}}, "bert cannot learn skip-gram; use word2vec"),
        ({"objective": "masked-lm", "model": {"family": "word2vec"}}, "word2vec cannot learn masked-lm; use bert"),
    ):
        with pytest.raises(ValueError, match=message):
            PretrainSettings.model_validate(given)
