import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import pipeline

from components.preprocess.settings import TokenizerSettings
from components.preprocess.tokenizer import train_tokenizer
from modelmill.errors import UserError
from modelmill.models import text
from modelmill.models.predict import load_predictor
from modelmill.models.text_predictor import TextPredictor
from modelmill.models.tokenizer import save_tokenizer
from tests import samples

TEXTS = [text for text, _ in samples.reviews(70)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier with random weights, spread far enough that its answers differ."""
    made: Path = tmp_path_factory.mktemp("classifier")
    tokenizer = train_tokenizer(TokenizerSettings(vocabulary=300), TEXTS)
    save_tokenizer(tokenizer, made)
    torch.manual_seed(0)
    model = text.classifier(samples.tiny_config(tokenizer.vocabulary), ["bad", "fair", "good"])
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4)
    text.save(model, made)
    facts = {"task": samples.TASK, "labels": ["bad", "fair", "good"], "max_tokens": 16}
    (made / "modelmill.json").write_text(json.dumps(facts))
    return made


def test_probabilities_are_those_of_transformers_own_pipeline(folder: Path) -> None:
    predictor = load_predictor(folder)
    probability_NL = predictor.predict(TEXTS)
    classify = pipeline("text-classification", model=str(folder), top_k=None, truncation=True, max_length=16)
    for row, answer in zip(probability_NL, classify(TEXTS), strict=True):
        scores = {one["label"]: one["score"] for one in answer}
        np.testing.assert_allclose(row, [scores[label] for label in predictor.labels], atol=1e-5)
    assert probability_NL.shape == (70, 3)
    assert np.ptp(probability_NL, axis=0).min() > 0.05


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(12)), batch_rows=st.integers(1, 13))
def test_the_answer_to_a_text_depends_on_its_neighbours_by_rounding_only(
    folder: Path, order: list[int], batch_rows: int
) -> None:
    predictor = load_predictor(folder)
    assert isinstance(predictor, TextPredictor)
    expected_NL = predictor.predict(TEXTS[:12])
    found_NL = predictor.predict([TEXTS[place] for place in order], batch_rows)
    np.testing.assert_allclose(found_NL, expected_NL[order], atol=1e-5)


def test_equal_calls_give_equal_bits(folder: Path) -> None:
    assert np.array_equal(load_predictor(folder).predict(TEXTS), load_predictor(folder).predict(TEXTS))


def test_raw_text_is_cleaned_as_the_training_text_was(folder: Path) -> None:
    predictor = load_predictor(folder)
    clean, raw = predictor.predict(["the film is great"]), predictor.predict([" the  film <b>is</b>\tgreat&#8203; "])
    np.testing.assert_allclose(clean, raw, atol=1e-6)


@pytest.mark.parametrize("texts", [[], [""], ["\x00"], ["film " * 5000], ["\ud800 film"]])
def test_odd_texts_get_an_answer_each(folder: Path, texts: list[str]) -> None:
    probability_NL = load_predictor(folder).predict(texts)
    assert probability_NL.shape == (len(texts), 3)
    np.testing.assert_allclose(probability_NL.sum(axis=1), 1.0)


CONTENTS = [
    None,
    "{",
    "{}",
    "[]",
    '{"task": "guessing"}',
    '{"task": "text-classification", "labels": ["a"]}',
    '{"task": "text-classification", "labels": null, "max_tokens": 8}',
]


@pytest.mark.parametrize("content", CONTENTS)
def test_a_folder_that_describes_no_classifier_is_refused_by_name(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "modelmill.json").write_text(content)
    with pytest.raises(UserError, match=r"modelmill\.json: does not describe a model "):
        load_predictor(tmp_path)


def test_weights_that_are_missing_are_not_made_up(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    text.save(text.masked_lm(samples.tiny_config(300)), tmp_path)
    with pytest.raises(UserError, match="weights are missing"):
        load_predictor(tmp_path)
