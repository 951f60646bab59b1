from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from modelmill.errors import UserError
from modelmill.models import causal, text
from modelmill.models.architecture import Decoder
from modelmill.models.causal import Sampling
from tests import samples

SPECIAL = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}
SHAPES = [
    Decoder(family="gpt2", layers=2, width=32, heads=4),
    Decoder(family="llama", layers=2, width=32, heads=4, key_value_heads=2),
]


def model_of(shape: Decoder, max_tokens: int = 24) -> Any:
    torch.manual_seed(0)
    model = causal.language_model(causal.new_config(shape, 40, max_tokens, SPECIAL))
    # Small random weights would make every position alike.
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.family)
def test_without_documents_the_logits_are_those_of_transformers(shape: Decoder) -> None:
    model = model_of(shape)
    ids_BT = torch.randint(5, 40, (3, 24))
    wanted_BT = torch.rand(3, 24) < 0.5
    with torch.no_grad():
        ours = causal.next_logits(model, ids_BT, wanted_BT, None)
        torch.testing.assert_close(ours, model(input_ids=ids_BT).logits[wanted_BT])


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.family)
def test_documents_of_one_row_are_read_as_if_each_stood_alone(shape: Decoder) -> None:
    model = model_of(shape)
    documents = [torch.randint(5, 40, (length,)) for length in (7, 1, 9, 4)]
    ids_1T = torch.cat([*documents, torch.zeros(3, dtype=torch.int64)])[None]
    numbers_1T = torch.tensor([[1] * 7 + [2] + [3] * 9 + [4] * 4 + [0] * 3])
    with torch.no_grad():
        together = causal.next_logits(model, ids_1T, numbers_1T > 0, numbers_1T)
        alone = torch.cat([model(input_ids=document[None]).logits[0] for document in documents])
        blurred = causal.next_logits(model, ids_1T, numbers_1T > 0, None)
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(blurred, alone, atol=1e-2)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.family)
def test_transformers_opens_what_is_saved_and_all_of_its_weights_come_back(shape: Decoder, tmp_path: Path) -> None:
    model = model_of(shape)
    text.save(model, tmp_path)
    ids_BT = torch.randint(5, 40, (2, 24))
    with torch.no_grad():
        for opened in (causal.language_model(tmp_path), AutoModelForCausalLM.from_pretrained(tmp_path)):
            torch.testing.assert_close(opened.eval()(input_ids=ids_BT).logits, model(input_ids=ids_BT).logits)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.family)
def test_a_continuation_is_what_the_whole_text_read_anew_for_every_token_gives(shape: Decoder) -> None:
    model, prompt_T = model_of(shape), torch.tensor([2, 7, 8])
    drawn = causal.continuation(model, prompt_T, Sampling(top_p=1e-9, most_tokens=12), end=3, never=(0, 1, 2, 4))
    wanted: list[int] = []
    while len(wanted) < 12:
        with torch.no_grad():
            logits_V = model(input_ids=torch.cat([prompt_T, torch.tensor(wanted, dtype=torch.int64)])[None]).logits[
                0, -1
            ]
        logits_V[[0, 1, 2, 4]] = -torch.inf
        if int(logits_V.argmax()) == 3:
            break
        wanted.append(int(logits_V.argmax()))
    assert drawn == wanted


def test_a_seed_gives_the_same_continuation_and_another_seed_another() -> None:
    model, prompt_T = model_of(SHAPES[1]), torch.tensor([2, 7])

    def drawn(**how: Any) -> list[int]:
        return causal.continuation(model, prompt_T, Sampling(**how), end=3, never=(0, 1, 2, 4))

    assert drawn(seed=1, temperature=5.0) == drawn(seed=1, temperature=5.0) != drawn(seed=2, temperature=5.0)


def test_a_continuation_ends_where_the_model_can_read_no_more() -> None:
    model = model_of(SHAPES[0], max_tokens=8)
    drawn = causal.continuation(model, torch.tensor([2, 7, 8]), Sampling(most_tokens=99), end=39, never=())
    assert len(drawn) <= 5


def test_only_the_likeliest_tokens_that_together_have_top_p_are_drawn() -> None:
    logits_V = torch.tensor([0.1, 0.2, 0.3, 0.4]).log()
    generator = torch.Generator().manual_seed(0)
    draws = {causal._draw(logits_V, Sampling(temperature=1.0, top_p=0.65), generator) for _ in range(200)}
    assert draws == {2, 3}


def test_dropout_goes_everywhere_but_into_attention() -> None:
    model = model_of(SHAPES[0])
    causal.set_dropout(model, 0.3)
    shares = {name: module.p for name, module in model.named_modules() if isinstance(module, torch.nn.Dropout)}
    assert shares["transformer.h.0.attn.attn_dropout"] == 0
    assert shares["transformer.h.0.attn.resid_dropout"] == shares["transformer.drop"] == 0.3


def test_a_base_model_that_does_not_fit_is_refused_with_both_figures(tmp_path: Path) -> None:
    encoder, decoder = tmp_path / "bert", tmp_path / "gpt2"
    text.save(text.masked_lm(samples.tiny_config()), encoder)
    text.save(model_of(SHAPES[0]), decoder)
    with pytest.raises(UserError, match="a model of the family 'bert'; 'gpt2' and 'llama' can be trained on"):
        causal.load_config(encoder, 40, 24)
    with pytest.raises(
        UserError,
        match="a model of the family 'gpt2'; 'bert', 'modernbert', 'roberta' and 'distilbert' can be trained on",
    ):
        text.load_config(decoder, 40, 24)
    with pytest.raises(UserError, match="vocabulary has 40 tokens and the data's has 41"):
        causal.load_config(decoder, 41, 24)
    with pytest.raises(UserError, match="reads at most 24 tokens and rows have up to 25"):
        causal.load_config(decoder, 40, 25)
