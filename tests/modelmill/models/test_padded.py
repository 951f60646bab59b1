"""A map of padded rows is the map of the rows, for few shapes."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from modelmill.models.padded import padded


@given(st.integers(0, 100))
def test_rows_and_slopes_are_those_of_the_map_itself_and_it_meets_few_shapes(rows: int) -> None:
    torch.manual_seed(rows)
    layer = torch.nn.Linear(8, 5).double()
    x_ND = torch.randn(rows, 8, dtype=torch.float64, requires_grad=True)
    seen: list[int] = []
    layer.register_forward_pre_hook(lambda _, told: seen.append(len(told[0])))
    slopes_NV = torch.randn(rows, 5, dtype=torch.float64)

    def learned(answers_NV: torch.Tensor) -> list[torch.Tensor]:
        return [answers_NV, *torch.autograd.grad((answers_NV * slopes_NV).sum(), [x_ND, layer.weight, layer.bias])]

    filled = learned(padded(layer, x_ND))
    for ours, theirs in zip(filled, learned(layer(x_ND)), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert (seen[0] % 32, seen[0] - rows < 32) == (0, True)
