"""Pairs of texts: from rows to tokens, to a model, to the model's answers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from components.finetune.run import run
from components.finetune.settings import FinetuneSettings
from modelmill.dataset import open_dataset
from modelmill.errors import Interrupted, UserError
from modelmill.models.folder import fetch_model
from modelmill.models.interface import answers, interface
from modelmill.models.predict import load_predictor
from modelmill.models.tokenizer import load_tokenizer
from modelmill.store import Store, open_store
from pipelines.predict import predict_rows
from tests import samples


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def settings(family: str = "bert", **changes: Any) -> FinetuneSettings:
    told = {
        "task": "pair-classification",
        "model": {"family": family, "layers": 1, "width": 32, "heads": 2},
        "epochs": 8,
        "lr": 0.01,
        "batch_rows": 16,
        "precision": "fp32",
        "max_tokens": 32,
        **changes,
    }
    return FinetuneSettings.model_validate(told)


def asked(rows: list[tuple[str, str, int]]) -> list[dict[str, str]]:
    return [{"text": text, "pair": pair} for text, pair, _ in rows]


def test_both_texts_become_their_tokens_whole_and_without_special_ones(store: Store, tmp_path: Path) -> None:
    labelled, made = samples.pair_tokens(store, tmp_path)
    tokens = open_dataset(store, made)
    ids = pa.list_(pa.uint8())
    assert tokens.meta["kind"] == "pair-tokens"
    assert tokens.schema == pa.schema(
        [("input_ids", ids), ("pair_ids", ids), ("id", pa.string()), ("label", pa.int32())]
    )
    tokens.fetch_attachments(tmp_path / "tokenizer", "tokenizer/")
    tokenizer = load_tokenizer(tmp_path / "tokenizer")
    row, told = (open_dataset(store, one).table("train").slice(7, 1).to_pylist()[0] for one in (labelled, made))
    expected = [one.tolist() for one in tokenizer.documents([row["text"], row["pair"]])]
    assert [told["input_ids"], told["pair_ids"]] == expected
    assert (told["id"], told["label"]) == (row["id"], row["label"])


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_a_classifier_learns_what_only_the_second_text_gives_away(store: Store, tmp_path: Path, family: str) -> None:
    _, made = samples.pair_tokens(store, tmp_path)
    tuned = run(samples.step_of(store, tmp_path), settings(family), made, "", "")
    assert tuned.summary["validation_accuracy"] > 0.9
    folder = tmp_path / "model"
    facts = fetch_model(store, tuned.model, folder)
    assert (facts["task"], facts["labels"], facts["max_tokens"]) == ("pair-classification", [*samples.LABELS], 32)
    rows = samples.pairs(60, 9)
    predictor = load_predictor(folder)
    found_NL = predictor.predict(asked(rows))
    assert np.mean(found_NL.argmax(axis=1) == [label for _, _, label in rows]) > 0.9
    # The other way about, the first text's word decides.
    turned = [{"text": pair, "pair": text} for text, pair, _ in rows]
    assert np.mean(predictor.predict(turned).argmax(axis=1) == [label for _, _, label in rows]) < 0.8
    AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True)


def test_probabilities_are_those_of_transformers_own_pipeline(store: Store, tmp_path: Path) -> None:
    _, made = samples.pair_tokens(store, tmp_path)
    tuned = run(samples.step_of(store, tmp_path), settings(epochs=1, max_tokens=16), made, "", "")
    folder = tmp_path / "model"
    fetch_model(store, tuned.model, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    classify = pipeline("text-classification", model=str(folder), tokenizer=tokenizer, top_k=None)
    rows = [*asked(samples.pairs(30, 9)), {"text": "the film", "pair": "a great story " * 20}]
    predictor = load_predictor(folder)
    given = [{"text": row["text"], "text_pair": row["pair"]} for row in rows]
    for row, answer in zip(predictor.predict(rows), classify(given, truncation=True, max_length=16), strict=True):
        scores = {one["label"]: one["score"] for one in answer}
        np.testing.assert_allclose(row, [scores[label] for label in predictor.labels], atol=1e-5)


def test_longer_pairs_are_cut_and_counted(store: Store, tmp_path: Path) -> None:
    _, made = samples.pair_tokens(store, tmp_path)
    tuned = run(samples.step_of(store, tmp_path), settings(epochs=1, max_tokens=16), made, "", "")
    table = open_dataset(store, made).table("train")
    both = zip(table["input_ids"].to_pylist(), table["pair_ids"].to_pylist(), strict=True)
    share = sum(len(text) + len(pair) > 13 for text, pair in both) / 200
    assert 0 < share < 1
    assert tuned.summary["truncated_share"] == pytest.approx(share)


def test_a_stopped_training_goes_on_to_the_same_model(tmp_path: Path) -> None:
    whole, broken = (open_store(str(tmp_path / name / "store")) for name in ("whole", "broken"))
    told = settings(epochs=2, strategy={"name": "lora", "rank": 4})
    _, made = samples.pair_tokens(whole, tmp_path / "whole")
    expected = run(samples.step_of(whole, tmp_path / "whole"), told, made, "", "").model
    assert samples.pair_tokens(broken, tmp_path / "broken")[1] == made
    step = samples.step_of(broken, tmp_path / "broken")
    step.figures_to = samples.StopAt(step, 15)
    with pytest.raises(Interrupted):
        run(step, told, made, "", "")
    assert run(samples.step_of(broken, tmp_path / "broken"), told, made, "", "").model == expected


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learned for one epoch."""
    made = tmp_path_factory.mktemp("pairs")
    store = open_store(str(made / "store"))
    _, tokens = samples.pair_tokens(store, made)
    fetch_model(store, run(samples.step_of(store, made), settings(epochs=1), tokens, "", "").model, made / "model")
    return made / "model"


def test_a_served_model_takes_two_columns_in_any_order_and_answers_a_label(folder: Path) -> None:
    served = interface(json.loads((folder / "modelmill.json").read_text()))
    assert served.columns == {"text": "string", "pair": "string"}
    assert served.classes
    frame = pd.DataFrame({"pair": ["the plot is dull"], "more": [1], "text": ["a film"]})
    assert served.inputs(frame) == [{"text": "a film", "pair": "the plot is dull"}]
    predictor = load_predictor(folder)
    answer = answers(predictor.labels, predictor.predict(served.inputs(frame)))[0]
    assert answer["label"] in samples.LABELS
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    row = {"text": "a film", "pair": "the plot"}
    assert served.given(row) == row


def test_a_row_typed_as_json_is_answered(folder: Path) -> None:
    row = json.dumps({"pair": "the plot is dull", "text": "a film"})
    answer = predict_rows(str(folder), [row])[0]
    assert answer["row"] == row
    assert answer["label"] in samples.LABELS


@pytest.mark.parametrize("row", ["{}", '{"text": "a"}', '{"text": "a", "pair": ""}', '{"text": "a", "pair": null}'])
def test_a_row_without_both_texts_is_refused(folder: Path, row: str) -> None:
    with pytest.raises(UserError, match="'text' and 'pair'"):
        predict_rows(str(folder), [row])


@pytest.mark.parametrize(
    "row", [{"text": "\x00", "pair": "\ud800"}, {"text": "film " * 5000, "pair": "a"}, {"text": "a", "pair": "b " * 99}]
)
def test_odd_texts_get_an_answer(folder: Path, row: dict[str, str]) -> None:
    np.testing.assert_allclose(load_predictor(folder).predict([row]).sum(axis=1), 1.0)
    assert load_predictor(folder).predict([]).shape == (0, 2)
