"""LoRA (arXiv:2106.09685): dense layers stay as they are, and learn a product of two thin matrices beside them."""

# I inputs, O outputs, R rank

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


class LowRank(torch.nn.Module):
    """A dense layer that does not learn, with what is learned instead."""

    def __init__(self, dense: torch.nn.Linear, rank: int, alpha: float, dropout: float) -> None:
        super().__init__()
        self.dense = dense.requires_grad_(requires_grad=False)
        self.down_RI = torch.nn.Parameter(torch.empty(rank, dense.in_features))
        # Zero, so that the first answers are the model's own.
        self.up_OR = torch.nn.Parameter(torch.zeros(dense.out_features, rank))
        self.scale = alpha / rank
        self.dropout = dropout
        torch.nn.init.kaiming_uniform_(self.down_RI, a=math.sqrt(5))

    @property
    def weight(self) -> Tensor:
        """The dense layer's, whose type some layers ask for (T5's)."""
        return self.dense.weight

    def forward(self, x: Tensor) -> Tensor:
        """Return what the dense layer answers, and what was learned."""
        thin = F.linear(F.dropout(x, self.dropout, self.training), self.down_RI)
        answer: Tensor = self.dense(x) + F.linear(thin, self.up_OR) * self.scale
        return answer

    def merged(self) -> torch.nn.Linear:
        """Return the dense layer with what was learned in it."""
        with torch.no_grad():
            self.dense.weight.add_(self.up_OR @ self.down_RI, alpha=self.scale)
        return self.dense


def put_in(model: torch.nn.Module, chosen: Callable[[str], bool], rank: int, alpha: float, dropout: float) -> list[str]:
    """Put a thin pair beside each dense layer whose name is chosen; return their names."""
    # Of torch's attention the last dense layer is of a class of its own, and never called: its weights alone are read.
    dense = {name: module for name, module in model.named_modules() if type(module) is torch.nn.Linear}
    names = [name for name in dense if chosen(name)]
    for name in names:
        model.set_submodule(name, LowRank(dense[name], rank, alpha, dropout))
    return names


def merge(model: torch.nn.Module) -> None:
    """Make the model what it was before `put_in`, with what was learned in its dense layers."""
    pairs = [(name, module) for name, module in model.named_modules() if isinstance(module, LowRank)]
    for name, module in pairs:
        model.set_submodule(name, module.merged())
