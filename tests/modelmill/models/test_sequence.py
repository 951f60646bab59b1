from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM

from modelmill.errors import UserError
from modelmill.models import sequence, text
from modelmill.models.architecture import Architecture, EncoderDecoder
from modelmill.models.decoding import Decoding
from modelmill.models.sequence import Marks

FAMILIES = ("transformer", "t5", "bart")
SPECIAL = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}


def model(family: Any, dropout: float = 0.0) -> Any:
    torch.manual_seed(5)
    shape = EncoderDecoder(family=family, layers=2, decoder_layers=1, width=32, heads=2)
    made = sequence.sequence_model(sequence.new_config(shape, 40, 20, SPECIAL))
    sequence.set_dropout(made, dropout)
    return made.eval()


def batch(made: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two rows of unlike length: sources, where they are, what the decoder is given, and where it is asked."""
    marks = Marks.of(made.config)
    first, second = marks.source(np.array([7, 8, 9]), 20), marks.source(np.array([10]), 20)
    ids = torch.zeros((2, len(first)), dtype=torch.long)
    ids[0], ids[1, : len(second)] = torch.from_numpy(first), torch.from_numpy(second)
    inputs = torch.tensor([[*marks.prefix, 9, 8], [*marks.prefix, 10, 0]])
    wanted = torch.ones_like(inputs, dtype=torch.bool)
    wanted[:, : len(marks.prefix) - 1] = False
    wanted[1, -1] = False
    there = torch.arange(len(first)) < torch.tensor([[len(first)], [len(second)]])
    return ids, there, inputs, wanted


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_those_of_the_library_and_no_padding_counts(family: str, tmp_path: Path) -> None:
    made = model(family)
    ids, there, inputs, wanted = batch(made)
    text.save(made, tmp_path)
    opened = AutoModelForSeq2SeqLM.from_pretrained(tmp_path, local_files_only=True).eval()
    with torch.inference_mode():
        ours = sequence.target_logits(made, ids, there, inputs, wanted)
        theirs = opened(input_ids=ids, attention_mask=there.long(), decoder_input_ids=inputs).logits[wanted]
        alone = sequence.target_logits(
            made, ids[1:, : there[1].sum()], there[1:, : there[1].sum()], inputs[1:], wanted[1:]
        )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours[-len(alone) :], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("beams", [1, 3])
def test_a_batch_is_answered_as_each_alone_and_within_bounds(family: str, beams: int) -> None:
    made = model(family)
    ids, there, _, _ = batch(made)
    decoding = Decoding(beams=beams, max_tokens=6, no_repeat_ngram=2)
    never = (0, 1, 2, 4)
    both = sequence.decode(made, ids, there, decoding, never)
    each = [
        sequence.decode(
            made, ids[row : row + 1, : there[row].sum()], there[row : row + 1, : there[row].sum()], decoding, never
        )[0]
        for row in range(2)
    ]
    assert both == each
    for tokens in both:
        assert len(tokens) <= 6
        assert not {0, 1, 2, 3, 4} & set(tokens)
        assert len(set(pairwise(tokens))) == max(len(tokens) - 1, 0)


def _likelihood(made: Any, ids: torch.Tensor, there: torch.Tensor, tokens: list[int]) -> float:
    marks = Marks.of(made.config)
    inputs = torch.tensor([[*marks.prefix, *tokens]])
    wanted = torch.ones_like(inputs, dtype=torch.bool)
    wanted[:, : len(marks.prefix) - 1] = False
    with torch.inference_mode():
        log = sequence.target_logits(made, ids, there, inputs, wanted).log_softmax(dim=1)
    return float(log[torch.arange(len(tokens) + 1), torch.tensor([*tokens, marks.end])].sum())


def test_wide_beams_find_the_likeliest_of_all_short_sequences() -> None:
    torch.manual_seed(1)
    shape = EncoderDecoder(family="transformer", layers=1, width=16, heads=2)
    made: Any = sequence.sequence_model(sequence.new_config(shape, 9, 20, SPECIAL)).eval()
    # An end that is likely, though not at once, so that the best does not hit the bound.
    made.final_logits_bias[0, SPECIAL["sep"]] = 1.0
    ids, there = torch.tensor([[6, 7, 3]]), torch.ones(1, 3, dtype=torch.bool)
    decoding = Decoding(beams=40, max_tokens=3, length_penalty=0.0)
    (found,) = sequence.decode(made, ids, there, decoding, (0, 1, 2, 4))
    words = range(5, 9)
    every = [[], *([a] for a in words), *([a, b] for a in words for b in words)]
    best = max(every, key=lambda tokens: _likelihood(made, ids, there, tokens))
    greedy = sequence.decode(made, ids, there, Decoding(beams=1, max_tokens=3), (0, 1, 2, 4))[0]
    assert found == best != greedy
    assert _likelihood(made, ids, there, greedy) <= _likelihood(made, ids, there, best)


@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_is_everywhere_but_inside_attention(family: str) -> None:
    made = model(family, dropout=0.5).train()
    ids, there, inputs, wanted = batch(made)
    drawn = [sequence.target_logits(made, ids, there, inputs, wanted) for _ in range(2)]
    assert not torch.equal(*drawn)
    for module in made.modules():
        if "Attention" in type(module).__name__ and isinstance(getattr(module, "dropout", None), float):
            assert module.dropout == 0


def test_a_folder_must_fit_the_data(tmp_path: Path) -> None:
    text.save(model("bart"), tmp_path)
    for vocabulary, longest, special, said in (
        (41, 20, SPECIAL, "has 40 tokens and the data's has 41"),
        (40, 21, SPECIAL, "at most 20 tokens and rows have up to 21"),
        (40, 20, {**SPECIAL, "pad": 9}, "the pad token of the data's tokenizer is 9 and the model's is 0"),
        (40, 20, {"sep": 3}, "its tokenizer has no pad token"),
    ):
        with pytest.raises(UserError, match=said):
            sequence.load_config(tmp_path, vocabulary, longest, special)
    sequence.load_config(tmp_path, 40, 20, SPECIAL)


def test_a_base_of_another_family_or_without_an_end_is_refused(tmp_path: Path) -> None:
    encoder = tmp_path / "encoder"
    text.save(text.masked_lm(text.new_config(Architecture(layers=1, width=32, heads=2), 40, 16, 0)), encoder)
    with pytest.raises(UserError, match="family 'bert'; 't5', 'bart' and 'marian' can be trained on"):
        sequence.load_config(encoder, 40, 16, SPECIAL)
    made = model("t5")
    made.config.pad_token_id = None
    made.config.decoder_start_token_id = 0
    with pytest.raises(UserError, match="no pad_token_id"):
        Marks.of(made.config)
