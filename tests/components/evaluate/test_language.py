import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file

from components.evaluate.champion import measure_champion
from components.evaluate.run import run
from components.evaluate.settings import EvaluateSettings
from components.pretrain.run import run as pretrain
from components.pretrain.settings import PretrainSettings
from modelmill.errors import UserError
from modelmill.evaluation.checks import Threshold
from modelmill.evaluation.document import Report
from modelmill.models.architecture import Architecture, Decoder
from modelmill.models.folder import fetch_model, read_files, save_model
from modelmill.store import Store, open_store
from tests import samples

CORPUS = {
    "train": [text for text, _ in samples.reviews(400, 1)],
    "validation": [text for text, _ in samples.reviews(40, 2)],
}
MODELS: dict[Any, PretrainSettings] = {
    "causal-lm": PretrainSettings(
        objective="causal-lm",
        model=Decoder(family="llama", layers=1, width=32, heads=2),
        packing="best-fit",
        max_tokens=32,
        steps=80,
        batch_rows=8,
        lr=0.01,
    ),
    "masked-lm": PretrainSettings(
        model=Architecture(family="modernbert", layers=1, width=32, heads=2), max_tokens=32, steps=40, lr=0.01
    ),
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def measured(store: Store, folder: Path, task: Any, **told: Any) -> tuple[Report, dict[str, bytes]]:
    step = samples.step_of(store, folder)
    model = pretrain(step, MODELS[task], samples.tokens(store, folder).corpus, "").model
    corpus = samples.write_corpus(store, CORPUS)
    made = run(step, EvaluateSettings(task=task, **told), model, corpus)
    assert json.loads(json.dumps(made.summary)) == made.summary
    files, _ = read_files(store, made.report)
    return Report.read(files["report.json"]), files


def test_a_causal_model_is_measured_on_what_its_corpus_holds_out(store: Store, tmp_path: Path) -> None:
    told = {"thresholds": {"perplexity": Threshold(max=60.0)}, "prompts": ("the film is", "a story")}
    report, files = measured(store, tmp_path, "causal-lm", **told)
    test = report.metrics["test"]
    table = pq.read_table(pa.BufferReader(files["predictions.parquet"]))
    texts = CORPUS["validation"]
    nats = np.array(table["nats"].to_pylist()).sum()
    assert report.test_rows == len(table) == len(texts) == 40
    assert test["loss"] == pytest.approx(nats / sum(table["tokens"].to_pylist()), rel=1e-4)
    assert test["perplexity"] == pytest.approx(math.exp(test["loss"]), rel=1e-4)
    assert test["bits_per_byte"] == pytest.approx(nats / math.log(2) / sum(map(len, texts)), rel=1e-4)
    assert test["loss"] < math.log(60)
    for name, value in test.items():
        assert report.intervals[name][0] < value < report.intervals[name][1]
    assert [check.passed for check in report.checks] == [True]
    assert [sample.prompt for sample in report.samples] == ["the film is", "a story"]
    assert report.ask == "the film is"
    assert all(sample.answer for sample in report.samples)
    assert report.sampling == {"temperature": 0.8, "top_p": 0.95, "most_tokens": 48, "seed": 0}
    page = files["report.html"].decode()
    assert "bits per byte" in page
    assert report.samples[0].answer.strip().split()[0] in page
    assert "temperature 0.8" in page


def test_a_masked_model_is_measured_by_its_guesses_and_fills_in_prompts(store: Store, tmp_path: Path) -> None:
    report, files = measured(store, tmp_path, "masked-lm", prompts=("the [MASK] is dull",))
    assert report.metrics["test"].keys() == {"loss", "perplexity", "accuracy"}
    assert report.sampling == {"mask_rate": 0.15}
    assert report.samples[0].answer.startswith("the ")
    assert "Masks filled in" in files["report.html"].decode()


def test_without_prompts_a_causal_model_continues_the_beginnings_of_documents(store: Store, tmp_path: Path) -> None:
    report, _ = measured(store, tmp_path, "causal-lm")
    assert len(report.samples) == 5
    assert all(text.startswith(one.prompt) for one, text in zip(report.samples, CORPUS["validation"], strict=False))


def test_a_corpus_that_holds_nothing_out_is_refused(store: Store, tmp_path: Path) -> None:
    corpus = samples.write_corpus(store, {"train": CORPUS["train"]})
    with pytest.raises(UserError, match="0 documents in the validation split of 400"):
        run(samples.step_of(store, tmp_path), EvaluateSettings(task="causal-lm"), "models/" + "0" * 64, corpus)


@pytest.mark.parametrize("task", ["causal-lm", "masked-lm"])
def test_what_a_language_model_costs_is_told_with_tokens_a_second(store: Store, tmp_path: Path, task: Any) -> None:
    limits = {"latency_p99_ms": Threshold(max=60_000.0), "size_mb": Threshold(max=0.001)}
    report, files = measured(store, tmp_path, task, thresholds=limits)
    assert report.probes is not None
    cost = report.probes.cost
    assert cost is not None
    for speed in cost.speeds:
        assert speed.tokens_per_second is not None
        # An input has several tokens; a text of this small model goes on by one, and ends.
        least = 2 if task == "masked-lm" else 1
        assert speed.tokens_per_second >= least * speed.rows_per_second > 0
    checks = {check.metric: check.passed for check in report.checks}
    assert checks == {"latency_p99_ms": True, "size_mb": False}
    assert "tokens a second" in files["report.html"].decode()


def test_a_champion_that_gives_no_numbers_says_of_how_many_documents(store: Store, tmp_path: Path) -> None:
    step = samples.step_of(store, tmp_path)
    model = pretrain(step, MODELS["causal-lm"], samples.tokens(store, tmp_path).corpus, "").model
    facts = fetch_model(store, model, tmp_path / "broken")
    weights = load_file(tmp_path / "broken" / "model.safetensors")
    name = next(name for name in weights if "norm" in name)
    weights[name][:] = float("nan")
    save_file(weights, tmp_path / "broken" / "model.safetensors", {"format": "pt"})
    broken = save_model(store, tmp_path / "broken", facts)
    told = EvaluateSettings(task="causal-lm", subject="champion", must_beat=())
    made = measure_champion(step, told, broken, samples.write_corpus(store, CORPUS), model)
    assert made.report == ""
    assert "no finite loss for 40 of 40 held-out documents (the first is" in made.summary["why_not"]
