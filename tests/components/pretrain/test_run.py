import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

from components.pretrain.run import run
from components.pretrain.settings import PretrainSettings
from modelmill.dataset import open_dataset
from modelmill.errors import Interrupted, ModelmillError, UserError
from modelmill.models import causal, text
from modelmill.models.architecture import Architecture, Decoder
from modelmill.models.folder import fetch_model
from modelmill.store import Store, open_store
from tests import samples

SHAPE = Architecture(layers=1, width=32, heads=2)
SETTINGS = PretrainSettings(model=SHAPE, steps=120, batch_rows=16, lr=0.01, max_tokens=16, seed=3)
LONG = PretrainSettings(
    model=SHAPE, steps=600, batch_rows=16, lr=0.01, max_tokens=16, dropout=0.1, checkpoint_seconds=0.2
)

PROGRAM = """
import sys
from pathlib import Path
from components.pretrain.run import run
from components.pretrain.settings import PretrainSettings
from modelmill.errors import Interrupted
from modelmill.store import open_store
from tests import samples

folder, settings, corpus = Path(sys.argv[1]), PretrainSettings.model_validate_json(sys.argv[2]), sys.argv[3]
step = samples.step_of(open_store(str(folder / "store")), folder, sys.argv[4])
step.stop_on_signals()
try:
    run(step, settings, corpus, "")
except Interrupted:
    sys.exit(9)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_a_model_learns_its_corpus_and_transformers_opens_it(store: Store, tmp_path: Path, family: str) -> None:
    corpus = samples.tokens(store, tmp_path).corpus
    shape = Architecture.model_validate({**SHAPE.model_dump(), "family": family})
    settings = SETTINGS.model_copy(update={"model": shape})
    made = run(samples.step_of(store, tmp_path), settings, corpus, "")
    meta = open_dataset(store, corpus).meta
    assert made.summary["validation_loss"] < 0.75 * math.log(meta["vocabulary"])
    assert made.summary["validation_perplexity"] == pytest.approx(math.exp(made.summary["validation_loss"]))
    validations = [
        event["values"]["validation_loss"]
        for event in samples.figures(tmp_path / "step.jsonl")
        if "validation_loss" in event["values"]
    ]
    assert len(validations) == 4
    assert validations[-1] < validations[0]
    facts = fetch_model(store, made.model, tmp_path / "model")
    assert facts["task"] == "masked-lm"
    assert facts["max_tokens"] == 16
    assert facts["lineage"]["corpus"] == corpus
    opened = AutoModelForMaskedLM.from_pretrained(tmp_path / "model", local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model", local_files_only=True)
    assert opened.config.vocab_size == len(tokenizer) == meta["vocabulary"]
    assert opened.config.num_hidden_layers == 1


def test_two_trainings_in_two_folders_give_the_same_model(tmp_path: Path) -> None:
    addresses = set()
    for name in ("one", "two"):
        store = open_store(str(tmp_path / name / "store"))
        corpus = samples.tokens(store, tmp_path / name).corpus
        addresses.add(run(samples.step_of(store, tmp_path / name), SETTINGS, corpus, "").model)
    assert len(addresses) == 1


def test_training_goes_on_from_a_base_models_weights(store: Store, tmp_path: Path) -> None:
    corpus = samples.tokens(store, tmp_path).corpus
    base = tmp_path / "base"
    torch.manual_seed(9)
    text.save(text.masked_lm(samples.tiny_config(open_dataset(store, corpus).meta["vocabulary"])), base)
    settings = PretrainSettings(base=str(base), steps=1, lr=1e-9, max_tokens=16)
    made = run(samples.step_of(store, tmp_path), settings, corpus, samples.pinned(base))
    fetch_model(store, made.model, tmp_path / "model")
    before = text.masked_lm(base).state_dict()
    after = text.masked_lm(tmp_path / "model").state_dict()
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, atol=1e-6, rtol=0)


def test_what_does_not_fit_is_refused(store: Store, tmp_path: Path) -> None:
    made = samples.tokens(store, tmp_path)
    step = samples.step_of(store, tmp_path)
    with pytest.raises(ModelmillError, match="holds labelled-tokens, and pretraining reads corpus-tokens"):
        run(step, SETTINGS, made.labelled, "")
    with pytest.raises(ModelmillError, match="base is 'folder', and the step was given no pin"):
        run(step, PretrainSettings(base="folder"), made.corpus, "")
    base = tmp_path / "base"
    text.save(text.masked_lm(samples.tiny_config(vocabulary=20)), base)
    with pytest.raises(UserError, match="vocabulary has 20 tokens"):
        run(step, PretrainSettings(base=str(base), max_tokens=16), made.corpus, samples.pinned(base))


def test_another_length_of_rows_takes_the_same_tokens_and_no_text(store: Store, tmp_path: Path) -> None:
    corpus = samples.tokens(store, tmp_path).corpus
    # Nothing but the tokens and the tokenizer's files, which travel with the model, is left to read.
    bare = open_store(str(tmp_path / "bare"))
    copied = samples.copied(store, corpus, bare)
    for max_tokens, utilisation in ((8, 7 / 8), (32, 31 / 32)):
        settings = SETTINGS.model_copy(update={"steps": 2, "max_tokens": max_tokens})
        made = run(samples.step_of(bare, tmp_path), settings, copied, "")
        assert made.summary["utilisation"] == pytest.approx(utilisation)
        assert fetch_model(bare, made.model, tmp_path / str(max_tokens))["max_tokens"] == max_tokens


def test_a_corpus_that_fills_no_row_is_refused_with_both_numbers(store: Store, tmp_path: Path) -> None:
    corpus = samples.tokens(store, tmp_path, documents=3).corpus
    settings = SETTINGS.model_copy(update={"max_tokens": 64})
    with pytest.raises(UserError, match="3 documents hold 46 tokens, and one row takes 64"):
        run(samples.step_of(store, tmp_path), settings, corpus, "")


def wait_for_steps(events: Path, least: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if done_steps(events)[-1:] >= [least]:
            return
        time.sleep(0.01)
    raise AssertionError(f"{least} steps were never done; the process ended with {process.poll()}")


def done_steps(events: Path) -> list[int]:
    whole = events.read_text().rpartition("\n")[0].splitlines() if events.exists() else []
    found = [json.loads(line) for line in whole]
    return [event["done"] for event in found if event["kind"] == "progress" and event["what"] == "pretrain"]


def test_a_training_stopped_and_then_killed_ends_with_the_bytes_of_an_unbroken_one(tmp_path: Path) -> None:
    whole = open_store(str(tmp_path / "whole" / "store"))
    corpus = samples.tokens(whole, tmp_path / "whole").corpus
    expected = run(samples.step_of(whole, tmp_path / "whole"), LONG, corpus, "").model
    broken = tmp_path / "broken"
    store = open_store(str(broken / "store"))
    assert samples.tokens(store, broken).corpus == corpus

    def start(name: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", PROGRAM, str(broken), LONG.model_dump_json(), corpus, name]
        return subprocess.Popen(command, env={**os.environ, "PYTHONHASHSEED": "7"})

    first = start("first")
    wait_for_steps(broken / "first.jsonl", 20, first)
    first.send_signal(signal.SIGTERM)
    assert first.wait(20) == 9
    stopped = int(max(store.keys("checkpoints/")).removesuffix(".json")[-8:])
    assert 20 <= stopped < 600

    second = start("second")
    wait_for_steps(broken / "second.jsonl", stopped + 40, second)
    second.kill()
    assert second.wait(20) == -signal.SIGKILL
    assert done_steps(broken / "second.jsonl")[0] == stopped

    last = run(samples.step_of(store, broken, "third"), LONG, corpus, "")
    assert done_steps(broken / "third.jsonl")[0] > stopped
    assert last.model == expected


@pytest.mark.parametrize("packing", ["concatenate", "best-fit"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_decoder_learns_its_corpus_stops_and_goes_on_to_the_same_model(
    tmp_path: Path, family: Any, packing: Any
) -> None:
    settings = PretrainSettings(
        objective="causal-lm",
        model=Decoder(family=family, layers=1, width=32, heads=2),
        packing=packing,
        max_tokens=32,
        steps=60,
        batch_rows=8,
        lr=0.01,
        precision="fp32",
        dropout=0.1,
    )
    addresses = []
    for name in ("whole", "broken"):
        store = open_store(str(tmp_path / name / "store"))
        corpus = samples.tokens(store, tmp_path / name).corpus
        if name == "broken":
            step = samples.step_of(store, tmp_path / name, "first")
            step.figures_to = samples.StopAt(step, 25)
            with pytest.raises(Interrupted):
                run(step, settings, corpus, "")
        made = run(samples.step_of(store, tmp_path / name), settings, corpus, "")
        addresses.append(made.model)
    assert addresses[0] == addresses[1]
    assert made.summary["validation_loss"] < 0.75 * math.log(300)
    assert made.summary["cut_share"] == 0.0 or packing == "concatenate"
    assert made.summary["utilisation"] > 0.9
    assert fetch_model(store, made.model, tmp_path / "model")["task"] == "causal-lm"
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "model", local_files_only=True)
    assert opened.config.model_type == family


def test_a_decoder_goes_on_from_a_base_models_weights(store: Store, tmp_path: Path) -> None:
    corpus = samples.tokens(store, tmp_path).corpus
    meta = open_dataset(store, corpus).meta
    shape = Decoder(family="gpt2", layers=1, width=32, heads=2)
    base = tmp_path / "base"
    text.save(causal.language_model(causal.new_config(shape, meta["vocabulary"], 32, meta["special"])), base)
    settings = PretrainSettings(objective="causal-lm", base=str(base), steps=1, lr=1e-9, max_tokens=32)
    made = run(samples.step_of(store, tmp_path), settings, corpus, samples.pinned(base))
    fetch_model(store, made.model, tmp_path / "model")
    before, after = causal.language_model(base).state_dict(), causal.language_model(tmp_path / "model").state_dict()
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, atol=1e-6, rtol=0)
    with pytest.raises(
        UserError, match="family 'gpt2'; 'bert', 'modernbert', 'roberta' and 'distilbert' can be trained on"
    ):
        run(samples.step_of(store, tmp_path), PretrainSettings(base=str(base)), corpus, samples.pinned(base))
