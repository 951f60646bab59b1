from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from components.finetune.run import run
from components.finetune.settings import FinetuneSettings
from modelmill.dataset import open_dataset
from modelmill.errors import Interrupted, ModelmillError, UserError
from modelmill.models import text
from modelmill.models.architecture import Architecture
from modelmill.models.folder import fetch_model, save_model
from modelmill.models.predict import load_predictor
from modelmill.store import Store, open_store
from tests import samples

SHAPE = Architecture(layers=1, width=32, heads=2)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def settings(**changes: Any) -> FinetuneSettings:
    told = {
        "task": samples.TASK,
        "model": SHAPE,
        "epochs": 4,
        "lr": 0.01,
        "batch_rows": 16,
        "precision": "fp32",
        "max_tokens": 16,
        **changes,
    }
    return FinetuneSettings.model_validate(told)


def language_model(store: Store, folder: Path, labelled: str) -> str:
    """Put a masked language model with weights of its own into the store."""
    torch.manual_seed(9)
    text.save(text.masked_lm(samples.tiny_config(open_dataset(store, labelled).meta["vocabulary"])), folder)
    return save_model(store, folder, {"task": "masked-lm", "max_tokens": 16})


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_a_classifier_learns_what_one_word_gives_away(store: Store, tmp_path: Path, family: str) -> None:
    labelled = samples.tokens(store, tmp_path).labelled
    shape = {**SHAPE.model_dump(), "family": family}
    made = run(samples.step_of(store, tmp_path), settings(model=shape), labelled, "", "")
    assert made.summary["validation_accuracy"] > 0.9
    assert made.summary["steps"] == 4 * 13
    folder = tmp_path / "model"
    facts = fetch_model(store, made.model, folder)
    assert facts["labels"] == ["negative", "positive"]
    assert facts["max_tokens"] == 16
    assert facts["lineage"]["labelled"] == labelled
    rows = samples.reviews(60, 5)
    predictor = load_predictor(folder)
    answers = predictor.predict([text for text, _ in rows]).argmax(axis=1)
    assert np.mean(answers == [label for _, label in rows]) > 0.9
    opened = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True)
    assert opened.config.id2label == {0: "negative", 1: "positive"}
    assert AutoTokenizer.from_pretrained(folder, local_files_only=True).mask_token == "[MASK]"


def test_longer_texts_are_cut_and_counted(store: Store, tmp_path: Path) -> None:
    labelled = samples.tokens(store, tmp_path).labelled
    made = run(samples.step_of(store, tmp_path), settings(epochs=1, max_tokens=8), labelled, "", "")
    lengths = map(len, open_dataset(store, labelled).table("train")["input_ids"].to_pylist())
    assert made.summary["truncated_share"] == pytest.approx(sum(length > 6 for length in lengths) / 200)
    assert 0 < made.summary["truncated_share"] < 1
    assert fetch_model(store, made.model, tmp_path / "model")["max_tokens"] == 8


def test_two_trainings_in_two_folders_give_the_same_model(tmp_path: Path) -> None:
    addresses = set()
    for name in ("one", "two"):
        store = open_store(str(tmp_path / name / "store"))
        labelled = samples.tokens(store, tmp_path / name).labelled
        addresses.add(run(samples.step_of(store, tmp_path / name), settings(epochs=1), labelled, "", "").model)
    assert len(addresses) == 1


def test_a_stopped_training_goes_on_to_the_same_model(tmp_path: Path) -> None:
    whole, broken = (open_store(str(tmp_path / name / "store")) for name in ("whole", "broken"))
    labelled = samples.tokens(whole, tmp_path / "whole").labelled
    expected = run(samples.step_of(whole, tmp_path / "whole"), settings(), labelled, "", "").model
    samples.tokens(broken, tmp_path / "broken")
    step = samples.step_of(broken, tmp_path / "broken")
    step.figures_to = samples.StopAt(step, 20)
    with pytest.raises(Interrupted):
        run(step, settings(), labelled, "", "")
    assert run(samples.step_of(broken, tmp_path / "broken"), settings(), labelled, "", "").model == expected


@pytest.mark.parametrize(
    "told",
    [
        {"strategy": "head", "optimizer": "sgd", "schedule": "cosine", "lr_final": 0.1},
        {"strategy": {"name": "lora", "rank": 4}, "ema": 0.9, "accumulate": 2},
        {"layer_decay": 0.7, "gradual": True, "label_smoothing": 0.1, "optimizer": "adafactor"},
    ],
    ids=["head", "lora", "gradual"],
)
def test_each_strategy_trains_and_goes_on_after_a_stop_to_the_same_model(told: dict[str, Any], tmp_path: Path) -> None:
    whole, broken = (open_store(str(tmp_path / name / "store")) for name in ("whole", "broken"))
    labelled = samples.tokens(whole, tmp_path / "whole").labelled
    expected = run(samples.step_of(whole, tmp_path / "whole"), settings(**told), labelled, "", "")
    assert expected.summary["validation_loss"] < 0.7
    samples.tokens(broken, tmp_path / "broken")
    step = samples.step_of(broken, tmp_path / "broken")
    step.figures_to = samples.StopAt(step, 20)
    with pytest.raises(Interrupted):
        run(step, settings(**told), labelled, "", "")
    assert run(samples.step_of(broken, tmp_path / "broken"), settings(**told), labelled, "", "").model == expected.model
    fetch_model(whole, expected.model, tmp_path / "model")
    load_predictor(tmp_path / "model").predict(["a great film"])


def started_from(store: Store, tmp_path: Path, told: FinetuneSettings, labelled: str, model: str, base: str) -> Any:
    """The encoder after a training that hardly changed it."""
    made = run(samples.step_of(store, tmp_path), told, labelled, model, base)
    folder = tmp_path / made.model.replace("/", "-")
    fetch_model(store, made.model, folder)
    return text.load_classifier(folder).bert.encoder.state_dict()


def alike(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.allclose(one[name], other[name], atol=1e-5) for name in one)


def test_it_starts_from_the_model_else_from_the_base_else_from_random_weights(store: Store, tmp_path: Path) -> None:
    labelled = samples.tokens(store, tmp_path).labelled
    base = tmp_path / "base"
    model = language_model(store, base, labelled)
    theirs = text.masked_lm(base).bert.encoder.state_dict()
    other = tmp_path / "other"
    other.mkdir()
    told = settings(epochs=1, lr=1e-9)
    assert alike(started_from(store, tmp_path, told, labelled, model, ""), theirs)
    assert alike(started_from(store, tmp_path, told, labelled, "", samples.pinned(base)), theirs)
    assert not alike(started_from(store, tmp_path, told, labelled, "", ""), theirs)


def test_the_comparison_takes_the_shape_of_the_others_and_random_weights(store: Store, tmp_path: Path) -> None:
    labelled = samples.tokens(store, tmp_path).labelled
    base = tmp_path / "base"
    language_model(store, base, labelled)
    theirs = text.masked_lm(base).bert.encoder.state_dict()
    told = settings(epochs=1, lr=1e-9, start="random", model=None)
    ours = started_from(store, tmp_path, told, labelled, "", samples.pinned(base))
    assert {name: tensor.shape for name, tensor in ours.items()} == {name: one.shape for name, one in theirs.items()}
    assert not alike(ours, theirs)


def test_rows_of_another_kind_and_empty_splits_are_refused(store: Store, tmp_path: Path) -> None:
    made = samples.tokens(store, tmp_path)
    step = samples.step_of(store, tmp_path)
    with pytest.raises(ModelmillError, match="holds corpus-tokens, and fine-tuning reads labelled-tokens"):
        run(step, settings(), made.corpus, "", "")
    from components.preprocess.run import run as preprocess
    from components.preprocess.settings import PreprocessSettings

    labelled = samples.write_labelled(store, {"train": samples.reviews(20), "validation": [], "test": []})
    tokens = preprocess(step, PreprocessSettings(task=samples.TASK), "", labelled, "").labelled
    with pytest.raises(UserError, match="0 rows in the validation split of 20; raise"):
        run(step, settings(), tokens, "", "")
