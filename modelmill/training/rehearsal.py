"""Work that is done to learn of the work: which precision is faster, and how much of it a token is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from modelmill.training import checkpoint, precision, utilisation
from modelmill.training.data import Batch, Batches
from modelmill.training.distributed import ALONE
from modelmill.training.gradients import Gradients, Total
from modelmill.training.objectives import Objective


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """Steps that leave no trace: no weight changes, and chance goes on as if nothing was."""

    gradients: Gradients
    optimizer: torch.optim.Optimizer
    batches: Batches

    def run(self, in_precision: precision.Precision, number: int) -> None:
        """Do the work of the batch of a number."""
        gradients, model = self.gradients, self.gradients.model
        own, world = gradients.precision, gradients.world
        random = checkpoint.random_state()
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        model.train()
        gradients.precision = in_precision
        if not world.sharded:
            gradients.world = ALONE
        gradients.compute([self.batches.batch(number)])
        gradients.precision, gradients.world = own, world
        self.optimizer.zero_grad(set_to_none=True)
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
        checkpoint.set_random_state(random)

    def chosen_precision(
        self, wanted: Literal["auto", precision.Precision]
    ) -> tuple[precision.Precision, dict[str, float]]:
        """Return the precision to train in, the same for all processes, and what it was chosen by."""
        world = self.gradients.world
        chosen: precision.Precision = "fp32"
        figures: dict[str, float] = {}
        if wanted != "auto" or world.writes or world.sharded:
            chosen, figures = precision.choose(wanted, self.gradients.device, self.run)
        return ("bf16" if world.first(float(chosen == "bf16")) else chosen), figures

    def counted(self, batches: Sequence[Batch], number: int, counted: Objective) -> tuple[Total, float]:
        """Compute the gradients of a step, the first of whose batches has a number; return with them the floating point
        operations of a token, which are as many in one batch as in another.

        What was translated cannot be counted: then `counted`, the same objective before that, does the work once more.
        """
        gradients = self.gradients
        if counted is gradients.objective:
            with utilisation.counter() as counter:
                total = gradients.compute(batches)
            return total, counter.get_total_flops() / total.tokens
        translated, gradients.objective = gradients.objective, counted
        with utilisation.counter() as counter:
            self.run(gradients.precision, number)
        gradients.objective = translated
        return gradients.compute(batches), counter.get_total_flops() / self.batches.batch(number).tokens
