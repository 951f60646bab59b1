import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from components.preprocess.settings import TokenizerSettings
from components.preprocess.tokenizer import train_tokenizer
from modelmill.errors import UserError
from modelmill.models import causal, text
from modelmill.models.architecture import Architecture, Decoder
from modelmill.models.folder import save_model
from modelmill.models.interface import answers, interface
from modelmill.models.predict import load_predictor
from modelmill.models.tokenizer import load_tokenizer, save_tokenizer
from modelmill.store import open_store
from tests import samples

TEXTS = [text for text, _ in samples.reviews(200)]


def saved(folder: Path, task: str, max_tokens: int = 16) -> Path:
    """Write a language model with random weights, as pretraining leaves one."""
    kind: Any = "bpe" if task == "causal-lm" else "wordpiece"
    tokenizer = train_tokenizer(TokenizerSettings(kind=kind, vocabulary=400, lowercase=task != "causal-lm"), TEXTS)
    torch.manual_seed(0)
    if task == "causal-lm":
        shape = Decoder(family="llama", layers=1, width=32, heads=2)
        model = causal.language_model(causal.new_config(shape, tokenizer.vocabulary, max_tokens, tokenizer.special))
    else:
        encoder = Architecture(family="modernbert", layers=1, width=32, heads=2)
        model = text.masked_lm(text.new_config(encoder, tokenizer.vocabulary, max_tokens, 0))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    text.save(model, folder)
    save_tokenizer(tokenizer, folder)
    save_model(open_store(str(folder.parent / "store")), folder, {"task": task, "max_tokens": max_tokens})
    return folder


def test_a_documents_loss_is_that_of_every_token_given_those_before_it(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", "causal-lm")
    model, tokenizer = causal.language_model(folder).eval(), load_tokenizer(folder)
    documents = ["the film", "", ("a story of the cast and its plot with music " * 3).strip()]
    found = load_predictor(folder).losses(documents)  # type: ignore[attr-defined]
    for place, document in enumerate(documents):
        ids_T = tokenizer.documents([document])[0]
        framed_T = torch.tensor([tokenizer.special["cls"], *ids_T.tolist(), tokenizer.special["sep"]])
        nats, count = 0.0, 0
        for start in range(0, len(framed_T) - 1, 15):
            window_T = framed_T[start : start + 16]
            with torch.no_grad():
                logits_TV = model(input_ids=window_T[None]).logits[0, :-1]
            nats += float(F.cross_entropy(logits_TV, window_T[1:], reduction="sum"))
            count += len(window_T) - 1
        assert found.tokens_D[place] == count == len(ids_T) + 1
        assert found.nats_D[place] == pytest.approx(nats, rel=1e-4)


def test_a_text_is_continued_the_same_alone_and_among_others_and_begins_where_it_ends(tmp_path: Path) -> None:
    predictor = load_predictor(saved(tmp_path / "model", "causal-lm", max_tokens=40))
    prompts = ["the film", "A story", "music of"]
    together = predictor.predict(prompts)
    assert [predictor.predict([prompt])[0] for prompt in prompts] == list(together)
    assert all(len(answer) > 5 for answer in together)
    facts = {"task": "causal-lm"}
    assert answers((), together, interface(facts).text)[0] == {"continuation": together[0]}
    assert "[" not in "".join(together)


def test_a_prompt_that_leaves_no_room_is_refused_with_both_figures(tmp_path: Path) -> None:
    predictor = load_predictor(saved(tmp_path / "model", "causal-lm"))
    with pytest.raises(UserError, match=r"\d\d tokens, and the model reads at most 16"):
        predictor.predict(["the film and the story and the cast of the film and its plot with music of the hour"])


def test_masks_are_filled_in_and_the_rest_stays(tmp_path: Path) -> None:
    predictor = load_predictor(saved(tmp_path / "model", "masked-lm"))
    filled = predictor.predict(["the [MASK] is wonderful", "[MASK] cast [MASK]"])
    assert filled[0].startswith("the ")
    assert filled[0].endswith(" is wonderful")
    assert "MASK" not in "".join(filled)
    with pytest.raises(UserError, match=r"no \[MASK\] among its first 16 tokens"):
        predictor.predict(["the film"])
    given = interface({"task": "masked-lm"}).given("the film")["text"]
    assert predictor.predict([given])[0].startswith("the film")


def test_a_masked_models_losses_do_not_depend_on_how_documents_are_batched(tmp_path: Path) -> None:
    predictor: Any = load_predictor(saved(tmp_path / "model", "masked-lm"))
    documents = [TEXTS[0], "", TEXTS[1], TEXTS[2] * 3]
    found, first = predictor.losses(documents, 0.5), predictor.losses(documents[:1], 0.5)
    assert found.tokens_D[1] == 0
    assert found.tokens_D[0] == first.tokens_D[0] > 0
    assert found.nats_D[0] == pytest.approx(first.nats_D[0], rel=1e-4)
    assert (found.right_D <= found.tokens_D).all()
    assert np.isfinite(found.nats_D).all()
    assert found.nats_D.sum() / found.tokens_D.sum() > math.log(10)
