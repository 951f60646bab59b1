import pytest
import torch
from transformers import BertModel

from modelmill.models.bert import FAMILY, encode_at
from tests import samples


@pytest.fixture
def bert() -> BertModel:
    torch.manual_seed(0)
    model = BertModel._from_config(samples.tiny_config(), attn_implementation="sdpa")
    # Weights far from their small start, so that attention is far from even.
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(6)
    return model.eval()


@pytest.mark.parametrize("padded", [False, True])
def test_only_what_is_wanted_is_computed_and_it_is_what_the_model_gives(bert: BertModel, padded: bool) -> None:
    ids_BT = torch.randint(5, 40, (3, 11))
    attention_BT = torch.arange(11) < torch.tensor([[11], [4], [7]]) if padded else None
    wanted_BK = torch.tensor([[0, 3, 2], [1, 0, 0], [6, 6, 5]])
    whole_BTD = bert(ids_BT, attention_mask=attention_BT).last_hidden_state
    expected_BKD = whole_BTD.gather(1, wanted_BK[:, :, None].expand(-1, -1, 32))
    found_BKD = encode_at(bert, ids_BT, attention_BT, wanted_BK)
    torch.testing.assert_close(found_BKD, expected_BKD, rtol=1e-4, atol=1e-5)


def test_the_gradients_are_those_of_the_whole_model(bert: BertModel) -> None:
    ids_BT, wanted_BK = torch.randint(5, 40, (3, 11)), torch.tensor([[2, 9], [0, 10], [4, 5]])
    # In double precision, so that what is left apart is no rounding, which differs from processor to processor.
    bert.double()

    def gradients(use_all: bool) -> list[torch.Tensor | None]:
        bert.zero_grad()
        if use_all:
            found = bert(ids_BT).last_hidden_state.gather(1, wanted_BK[:, :, None].expand(-1, -1, 32))
        else:
            found = encode_at(bert, ids_BT, None, wanted_BK)
        found.square().sum().backward()
        return [None if weight.grad is None else weight.grad.clone() for weight in bert.parameters()]

    for ours, theirs in zip(gradients(use_all=False), gradients(use_all=True), strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


def test_dropout_is_set_for_dense_maps_and_off_inside_attention(bert: BertModel) -> None:
    FAMILY.set_dropout(bert, 0.3)
    shares = {name: module.p for name, module in bert.named_modules() if isinstance(module, torch.nn.Dropout)}
    assert {share for name, share in shares.items() if name.endswith("attention.self.dropout")} == {0.0}
    assert {share for name, share in shares.items() if not name.endswith("attention.self.dropout")} == {0.3}
    ids_BT, wanted_BK = torch.randint(5, 40, (3, 11)), torch.zeros((3, 1), dtype=torch.int64)
    bert.train()
    assert not torch.equal(encode_at(bert, ids_BT, None, wanted_BK), encode_at(bert, ids_BT, None, wanted_BK))
    FAMILY.set_dropout(bert, 0.0)
    assert torch.equal(encode_at(bert, ids_BT, None, wanted_BK), encode_at(bert, ids_BT, None, wanted_BK))
