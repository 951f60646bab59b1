from pathlib import Path
from typing import Any, Literal

import pytest

from components.preprocess.run import run as preprocess
from components.preprocess.settings import PreprocessSettings
from components.pretrain.run import run
from components.pretrain.settings import PretrainSettings
from modelmill.errors import UserError
from modelmill.models.folder import fetch_model
from modelmill.models.predict import load_predictor
from modelmill.store import open_store
from tests import published, samples


@pytest.mark.parametrize(
    ("family", "task", "packing"),
    [
        ("gpt2", "causal-lm", "concatenate"),
        ("llama", "causal-lm", "best-fit"),
        ("roberta", "masked-lm", "concatenate"),
        ("distilbert", "masked-lm", "concatenate"),
    ],
)
def test_pretraining_goes_on_from_a_published_folder_with_its_own_tokenizer(
    family: str, task: Literal["causal-lm", "masked-lm"], packing: Any, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    published.model(family, base)
    store = open_store(str(tmp_path / "store"))
    corpus = samples.write_corpus(store, {"train": published.TEXTS, "validation": published.TEXTS[:30]})
    pin = samples.pinned(base)
    made = preprocess(samples.step_of(store, tmp_path, "pre"), PreprocessSettings(task=task), corpus, "", pin)
    settings = PretrainSettings(
        objective=task,
        base=str(base),
        steps=30,
        batch_rows=8,
        lr=3e-3,
        max_tokens=32,
        packing=packing,
        precision="fp32",
    )
    trained = run(samples.step_of(store, tmp_path), settings, made.corpus, pin)
    history = (tmp_path / "step.jsonl").read_text()
    assert trained.summary["validation_loss"] < 5.0, history[-500:]
    folder = tmp_path / "model"
    assert fetch_model(store, trained.model, folder)["task"] == task
    predictor: Any = load_predictor(folder)
    mask = predictor.tokenizer.backend.id_to_token(predictor.tokenizer.special.get("mask", 0))
    asked = f"the {mask} film" if task == "masked-lm" else "the film"
    assert isinstance(predictor.predict([asked])[0], str)


def test_a_tokenizer_without_a_mask_is_refused_before_a_text_is_tokenized(tmp_path: Path) -> None:
    published.model("gpt2", tmp_path / "base")
    store = open_store(str(tmp_path / "store"))
    corpus = samples.write_corpus(store, {"train": published.TEXTS})
    with pytest.raises(UserError, match=r"base: its tokenizer has no mask token.*masked-lm needs"):
        preprocess(
            samples.step_of(store, tmp_path),
            PreprocessSettings(task="masked-lm"),
            corpus,
            "",
            samples.pinned(tmp_path / "base"),
        )
