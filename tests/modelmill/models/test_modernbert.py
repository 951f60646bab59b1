from pathlib import Path

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, ModernBertModel

from modelmill.models import modernbert, text
from modelmill.models.architecture import Architecture
from modelmill.models.modernbert import FAMILY, encode_at

SHAPE = Architecture(family="modernbert", layers=3, width=32, heads=2)


def encoder(tokens: int, layers: int = 3) -> ModernBertModel:
    torch.manual_seed(0)
    config = modernbert.new_config(SHAPE.model_copy(update={"layers": layers}), 40, tokens, pad=0)
    config.local_attention = 8
    model = ModernBertModel._from_config(config, attn_implementation="sdpa")
    # Weights far from their small start, so that attention is far from even.
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(6)
    return model.eval()


# Every third layer sees all positions, the others near ones: with 3 layers the last one is local, with 4 it sees all.
@pytest.mark.parametrize("layers", [3, 4])
@pytest.mark.parametrize("tokens", [3, 5, 40])
def test_only_what_is_wanted_is_computed_and_it_is_what_the_model_gives(tokens: int, layers: int) -> None:
    model = encoder(tokens, layers)
    ids_BT, wanted_BK = torch.randint(1, 40, (3, tokens)), torch.randint(0, tokens, (3, 3))
    whole_BTD = model(ids_BT).last_hidden_state
    expected_BKD = whole_BTD.gather(1, wanted_BK[:, :, None].expand(-1, -1, 32))
    torch.testing.assert_close(encode_at(model, ids_BT, wanted_BK), expected_BKD, rtol=1e-4, atol=1e-4)


def test_the_gradients_are_those_of_the_whole_model() -> None:
    model = encoder(20)
    ids_BT, wanted_BK = torch.randint(1, 40, (3, 20)), torch.tensor([[2, 9], [0, 10], [4, 19]])
    # In double precision, so that what is left apart is no rounding, which differs from processor to processor.
    model.double()

    def gradients(use_all: bool) -> list[torch.Tensor | None]:
        model.zero_grad()
        if use_all:
            found = model(ids_BT).last_hidden_state.gather(1, wanted_BK[:, :, None].expand(-1, -1, 32))
        else:
            found = encode_at(model, ids_BT, wanted_BK)
        # Normalised vectors all have one length: their squares' sum would say nothing.
        found[..., 0].square().sum().backward()
        return [None if weight.grad is None else weight.grad.clone() for weight in model.parameters()]

    for ours, theirs in zip(gradients(use_all=False), gradients(use_all=True), strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-8)


def test_the_logits_are_those_that_transformers_gives_for_the_saved_model(tmp_path: Path) -> None:
    ids_BT = torch.randint(1, 40, (2, 9))
    language_model = text.masked_lm(text.new_config(SHAPE, 40, 16, pad=0)).eval()
    text.save(language_model, tmp_path / "language")
    wanted_BK, real_BK = torch.tensor([[0, 3], [8, 0]]), torch.tensor([[True, True], [True, False]])
    opened = AutoModelForMaskedLM.from_pretrained(tmp_path / "language", local_files_only=True).eval()
    expected_MV = opened(ids_BT).logits[[0, 0, 1], [0, 3, 8]]
    torch.testing.assert_close(FAMILY.masked_logits(language_model, ids_BT, wanted_BK, real_BK), expected_MV)

    classifier = text.classifier(tmp_path / "language", ["a", "b", "c"]).eval()
    for name, weight in language_model.model.state_dict().items():
        assert torch.equal(classifier.model.state_dict()[name], weight), name
    # The map that turned vectors into guesses goes on in the classifier.
    assert torch.equal(classifier.head.dense.weight, language_model.head.dense.weight)
    text.save(classifier, tmp_path / "classifier")
    opened = AutoModelForSequenceClassification.from_pretrained(tmp_path / "classifier", local_files_only=True).eval()
    attention_BT = torch.arange(9) < torch.tensor([[9], [4]])
    expected_BC = opened(ids_BT, attention_mask=attention_BT).logits
    torch.testing.assert_close(FAMILY.class_logits(classifier, ids_BT, attention_BT), expected_BC)


def test_padding_has_no_part_in_a_rows_class() -> None:
    classifier = text.classifier(text.new_config(SHAPE, 40, 16, pad=0), ["a", "b"]).eval()
    ids_BT = torch.randint(1, 40, (1, 5))
    padded_BT = torch.cat([ids_BT, torch.zeros((1, 6), dtype=torch.int64)], dim=1)
    alone = FAMILY.class_logits(classifier, ids_BT, torch.ones(1, 5, dtype=torch.bool))
    torch.testing.assert_close(FAMILY.class_logits(classifier, padded_BT, padded_BT > 0), alone)


def test_dropout_is_set_for_dense_maps_and_off_inside_attention() -> None:
    model = text.classifier(text.new_config(SHAPE, 40, 16, pad=0), ["a", "b"])
    model.config.attention_dropout = 0.5
    for layer in model.model.layers:
        layer.attn.attention_dropout, layer.attn.out_drop = 0.5, torch.nn.Dropout(0.5)
    FAMILY.set_dropout(model, 0.0)
    ids_BT, real_BT = torch.randint(1, 40, (3, 11)), torch.ones(3, 11, dtype=torch.bool)
    model.train()
    first = FAMILY.class_logits(model, ids_BT, real_BT)
    assert torch.equal(first, FAMILY.class_logits(model, ids_BT, real_BT))
    FAMILY.set_dropout(model, 0.3)
    assert {layer.attn.attention_dropout for layer in model.model.layers} == {0.0}
    assert not torch.equal(first, FAMILY.class_logits(model, ids_BT, real_BT))
