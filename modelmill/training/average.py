"""A running mean of the weights, which is validated and kept instead of them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from modelmill.training.checkpoint import Tensors
from modelmill.training.divided import like, shares


class Average:
    """The exponential moving average of a model's weights; its buffers are the model's own."""

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self._weights = dict(model.named_parameters())
        self._decay = decay
        self.tensors: Tensors = {name: weight.detach().clone() for name, weight in self._weights.items()}

    def follow(self, steps: int) -> None:
        """Take in the weights after so many steps."""
        decay = min(self._decay, (1 + steps) / (10 + steps))
        with torch.no_grad():
            torch._foreach_lerp_(shares(self.tensors.values()), shares(self._weights.values()), 1 - decay)

    def load(self, tensors: Tensors) -> None:
        """Put back what `tensors` was."""
        for name, tensor in self.tensors.items():
            tensor.copy_(like(tensor, tensors[name]))

    def put(self) -> None:
        """Make the mean the model's weights."""
        with torch.no_grad():
            torch._foreach_copy_(shares(self._weights.values()), shares(self.tensors.values()))

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Let the model have the mean as its weights for a while."""
        own = [weight.detach().clone() for weight in self._weights.values()]
        self.put()
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(shares(self._weights.values()), shares(own))
