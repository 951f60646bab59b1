from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from components.finetune.run import run
from components.finetune.settings import FinetuneSettings
from modelmill.dataset import open_dataset
from modelmill.errors import Interrupted, UserError
from modelmill.models import sequence, text
from modelmill.models.architecture import EncoderDecoder
from modelmill.models.folder import fetch_model
from modelmill.models.predict import load_predictor
from modelmill.store import Store, open_store
from tests import published, samples

SPLITS = {"train": samples.reversals(120, 0), "validation": samples.reversals(20, 1), "test": samples.reversals(20, 2)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def settings(**changes: Any) -> FinetuneSettings:
    told = {
        "task": "sequence-to-sequence",
        "model": {"family": "transformer", "layers": 1, "width": 32, "heads": 2},
        "epochs": 2,
        "lr": 0.003,
        "batch_rows": 16,
        "precision": "fp32",
        "max_tokens": 12,
        "max_target_tokens": 12,
        **changes,
    }
    return FinetuneSettings.model_validate(told)


def test_a_small_transformer_learns_to_turn_texts_around(store: Store, tmp_path: Path) -> None:
    splits = {**SPLITS, "train": samples.reversals(1500, 3)}
    labelled = samples.target_tokens(store, tmp_path, splits)
    shape = {"family": "transformer", "layers": 1, "width": 64, "heads": 4}
    told = settings(model=shape, epochs=6, batch_rows=32, dropout=0.0)
    made = run(samples.step_of(store, tmp_path), told, labelled, "", "")
    folder = tmp_path / "model"
    facts = fetch_model(store, made.model, folder)
    assert facts["decoding"] == {"beams": 4, "length_penalty": 1.0, "max_tokens": 12, "no_repeat_ngram": 0}
    unseen = [pair for pair in samples.reversals(300, 4) if pair not in set(splits["train"])]
    answers = load_predictor(folder).predict([source for source, _ in unseen])
    assert len(unseen) > 50
    assert np.mean([answer == target for answer, (_, target) in zip(answers, unseen, strict=True)]) > 0.9
    assert made.summary["validation_perplexity"] == pytest.approx(np.exp(made.summary["validation_loss"]))
    # The folder is transformers' own, and answers the same there.
    opened = AutoModelForSeq2SeqLM.from_pretrained(folder, local_files_only=True)
    names = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    ids = names(unseen[0][0] + " [SEP]", add_special_tokens=False, return_tensors="pt").input_ids
    written = opened.generate(ids)
    assert names.decode(written[0], skip_special_tokens=True) == answers[0]


@pytest.mark.parametrize(
    "told",
    [
        {"model": {"family": "transformer", "layers": 1, "width": 32, "heads": 2}, "label_smoothing": 0.1},
        {"model": {"family": "t5", "layers": 1, "width": 32, "heads": 2}, "strategy": {"name": "lora", "rank": 2}},
        {"model": {"family": "bart", "layers": 2, "width": 32, "heads": 2}, "gradual": True, "layer_decay": 0.8},
    ],
    ids=["transformer", "t5-lora", "bart-gradual"],
)
def test_a_stopped_training_goes_on_to_the_same_model(told: dict[str, Any], tmp_path: Path) -> None:
    whole, broken = (open_store(str(tmp_path / name / "store")) for name in ("whole", "broken"))
    labelled = samples.target_tokens(whole, tmp_path / "whole", SPLITS)
    samples.target_tokens(broken, tmp_path / "broken", SPLITS)
    expected = run(samples.step_of(whole, tmp_path / "whole"), settings(**told), labelled, "", "").model
    # After every third of the training.
    for at in (5, 10):
        step = samples.step_of(broken, tmp_path / "broken")
        step.figures_to = samples.StopAt(step, at)
        with pytest.raises(Interrupted):
            run(step, settings(**told), labelled, "", "")
    assert run(samples.step_of(broken, tmp_path / "broken"), settings(**told), labelled, "", "").model == expected
    fetch_model(whole, expected, tmp_path / "model")
    load_predictor(tmp_path / "model")


def test_another_way_to_answer_leaves_the_weights_and_goes_on_from_their_checkpoint(
    store: Store, tmp_path: Path
) -> None:
    labelled = samples.target_tokens(store, tmp_path, SPLITS)
    first = run(samples.step_of(store, tmp_path), settings(epochs=1, checkpoint_steps=6), labelled, "", "")
    step = samples.step_of(store, tmp_path, "again")
    told = settings(epochs=1, checkpoint_steps=6, decoding={"beams": 1, "max_tokens": 5})
    greedy = run(step, told, labelled, "", "")
    curve = [one["at"] for one in samples.figures(tmp_path / "again.jsonl") if "loss" in one["values"]]
    assert min(curve) > 6
    for name, made in (("first", first), ("greedy", greedy)):
        fetch_model(store, made.model, tmp_path / name)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("first", "greedy")]
    assert weights[0] == weights[1]
    answers = load_predictor(tmp_path / "greedy").predict([source for source, _ in SPLITS["test"]])
    assert all(len(answer.split()) <= 5 for answer in answers)


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_a_published_folder_is_a_base_with_its_own_tokenizer(family: str, store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "published"
    names = published.tokenizer(family, folder)
    special = {"pad": names.pad_token_id, "sep": names.eos_token_id, "cls": names.bos_token_id}
    torch.manual_seed(0)
    shape = EncoderDecoder(family=family, layers=1, width=32, heads=2)  # type: ignore[arg-type]
    text.save(sequence.sequence_model(sequence.new_config(shape, len(names), 64, special)), folder)
    pin = samples.pinned(folder)
    labelled = samples.target_tokens(store, tmp_path, SPLITS, base=pin)
    made = run(samples.step_of(store, tmp_path), settings(model=None, epochs=1), labelled, "", pin)
    fetch_model(store, made.model, tmp_path / "model")
    answers = load_predictor(tmp_path / "model").predict(["the film is a story"])
    assert isinstance(answers[0], str)
    again = AutoTokenizer.from_pretrained(tmp_path / "model", local_files_only=True)
    assert again("a film", add_special_tokens=False).input_ids == names("a film", add_special_tokens=False).input_ids


def test_a_prefix_stands_before_every_source_in_training_and_when_the_model_is_asked(
    store: Store, tmp_path: Path
) -> None:
    labelled = samples.target_tokens(store, tmp_path, SPLITS, prefix="the cast: ")
    made = run(samples.step_of(store, tmp_path), settings(epochs=1), labelled, "", "")
    assert fetch_model(store, made.model, tmp_path / "model")["prefix"] == "the cast: "
    predictor: Any = load_predictor(tmp_path / "model")
    learned = open_dataset(store, labelled).table("validation", ["input_ids"])["input_ids"].to_pylist()
    sources = [source for source, _ in SPLITS["validation"]]
    written_out = predictor.tokenizer.documents([f"the cast: {source}" for source in sources])
    assert learned == [row.tolist() for row in written_out]
    bare = replace(predictor, prefix="")
    assert list(predictor.predict(sources)) == list(bare.predict([f"the cast: {source}" for source in sources]))
    targets = [target for _, target in SPLITS["validation"]]
    nats, other = predictor.losses(sources, targets).nats_D, bare.losses(sources, targets).nats_D
    assert not np.allclose(nats, other)


def test_what_is_longer_than_the_model_is_cut_and_counted(store: Store, tmp_path: Path) -> None:
    long = [(f"{'film ' * place}story", "the cast " * 20) for place in range(1, 20)]
    labelled = samples.target_tokens(store, tmp_path, {"train": long, "validation": [("a film", "a story")]})
    made = run(samples.step_of(store, tmp_path), settings(epochs=1), labelled, "", "")
    assert made.summary["truncated_targets_share"] == 1
    assert 0 < made.summary["truncated_sources_share"] < 1


def test_an_empty_target_is_learned_as_an_end_at_once(store: Store, tmp_path: Path) -> None:
    splits = {"train": [(source, "") for source, _ in SPLITS["train"]], "validation": [("a film", "")]}
    labelled = samples.target_tokens(store, tmp_path, splits)
    made = run(samples.step_of(store, tmp_path), settings(epochs=6), labelled, "", "")
    fetch_model(store, made.model, tmp_path / "model")
    assert list(load_predictor(tmp_path / "model").predict(["the film", ""])) == ["", ""]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"decoding": {"max_tokens": 13}}, "13, and targets are learned up to 12 tokens"),
        ({"strategy": "head"}, "nothing but the table of its tokens"),
        ({"strategy": {"name": "last", "layers": 3}}, "3 of the 2 layers"),
        ({"model": {"family": "bert"}}, "bert writes no sequences; use transformer, t5 or bart"),
    ],
)
def test_what_the_model_cannot_do_is_refused(changes: dict[str, Any], said: str, store: Store, tmp_path: Path) -> None:
    labelled = samples.target_tokens(store, tmp_path, SPLITS)
    with pytest.raises(UserError, match=said):
        run(samples.step_of(store, tmp_path), settings(**changes), labelled, "", "")
