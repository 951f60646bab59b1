"""All that learning changes: what a checkpoint holds, and how it is taken up again."""

from dataclasses import dataclass, field

import torch

from modelmill.training import checkpoint, optimizer, precision
from modelmill.training.average import Average
from modelmill.training.checkpoint import Checkpoint, Tensors
from modelmill.training.divided import whole
from modelmill.training.state import State


@dataclass(kw_only=True)
class Progress:
    """A model as far as it has learned."""

    model: torch.nn.Module
    device: torch.device
    optimizer: torch.optim.Optimizer
    average: Average | None
    state: State = field(init=False)
    scaler: torch.amp.GradScaler = field(init=False)
    best: Tensors = field(default_factory=dict, init=False)
    """The weights with the best validation so far."""

    def begin(self, state: State) -> None:
        """Take up a state, with what depends on its choices."""
        self.state = state
        self.scaler = precision.scaler(self.device, state.precision)

    def tensors(self) -> dict[str, Tensors]:
        """Return what is saved beside the state, by part, whole; it is not a copy, and collective where the model is
        divided.
        """
        parts = {
            "model": checkpoint.model_tensors(self.model),
            "optimizer": optimizer.state_tensors(self.optimizer),
            "random": checkpoint.random_state(),
            "average": {} if self.average is None else self.average.tensors,
            "scaler": {name: torch.tensor(value) for name, value in self.scaler.state_dict().items()},
            "best": self.best,
        }
        return {part: {name: whole(tensor) for name, tensor in named.items()} for part, named in parts.items()}

    def take(self, found: Checkpoint) -> None:
        """Take up a checkpoint; of one that does not fit nothing is taken.

        Raises:
            ModelmillError, KeyError, TypeError: it is of another model, or lacks a part.
        """
        state, parts = State.of(found.state), found.tensors
        own = checkpoint.model_tensors(self.model)
        checkpoint.check_tensors(own, parts["model"])
        optimizer.check_state_tensors(self.optimizer, parts.get("optimizer", {}))
        if state.best is not None:
            checkpoint.check_tensors(own, parts["best"])
        if self.average is not None:
            checkpoint.check_tensors(self.average.tensors, parts["average"])
            self.average.load(parts["average"])
        checkpoint.set_random_state(parts["random"])
        checkpoint.load_model_tensors(self.model, parts["model"])
        optimizer.load_state_tensors(self.optimizer, parts.get("optimizer", {}))
        self.best = parts.get("best", {})
        self.begin(state)
        if self.scaler.is_enabled():
            self.scaler.load_state_dict({name: tensor.item() for name, tensor in parts["scaler"].items()})

    def keep_as_best(self) -> None:
        """Copy the model's weights as the best so far."""
        tensors = checkpoint.model_tensors(self.model)
        self.best = {name: whole(tensor).to("cpu", copy=True) for name, tensor in tensors.items()}

    def put_kept(self, model: torch.nn.Module) -> None:
        """Give a model the weights that were worth keeping: the best, else the average, else the last."""
        if self.state.best is not None:
            checkpoint.load_model_tensors(model, self.best)
        else:
            if self.average is not None:
                self.average.put()
            if model is not self.model:
                last = checkpoint.model_tensors(self.model)
                checkpoint.load_model_tensors(model, {name: whole(tensor) for name, tensor in last.items()})
        model.eval()
