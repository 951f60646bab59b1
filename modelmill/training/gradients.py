"""The gradients of one step: of one batch or several, whole or in pieces that fit the memory."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from modelmill.errors import ModelmillError
from modelmill.training import precision
from modelmill.training.data import Batch
from modelmill.training.distributed import World
from modelmill.training.divided import whole
from modelmill.training.objectives import Objective

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Total:
    """What the batches of a step add up to."""

    loss: torch.Tensor
    """Summed over the predictions; on the device."""
    count: int
    """Predictions."""
    rows: int
    tokens: int

    def mean_loss(self) -> float:
        """Return the loss of a prediction; on a GPU this waits for it."""
        return float(self.loss) / max(self.count, 1)


@dataclass(kw_only=True)
class Gradients:
    """Leaves in a model's weights the gradients of the mean loss of a prediction."""

    what: str
    """Name of the training, for its errors."""
    model: torch.nn.Module
    objective: Objective
    device: torch.device
    precision: precision.Precision
    scaler: torch.amp.GradScaler
    micro_rows: int | None
    """Rows computed at once; lowered when the memory does not hold them."""
    world: World

    def compute(self, batches: Sequence[Batch]) -> Total:
        """Add up the gradients of batches, as if they were one.

        Raises:
            ModelmillError: the memory does not hold a single row.
        """
        while True:
            try:
                return self._added_up(batches)
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
                reason = str(error).splitlines()[0]
            if self.world.sharded:
                # The others wait for this one in the middle of a layer.
                raise ModelmillError(
                    f"{self.what}: the memory of process {self.world.rank} of {self.world.size} does not hold "
                    f"{self.micro_rows or max(batch.rows for batch in batches)} rows ({reason}); set micro_rows, or "
                    "recompute: true"
                )
            # Only now nothing holds the activations any more.
            self.model.zero_grad(set_to_none=True)
            self._halve(batches, reason)

    def clipped(self, most: float | None) -> torch.Tensor:
        """Cut the gradient to a length; return the length that it had."""
        weights = [weight for weight in self.model.parameters() if weight.grad is not None]
        norm = whole(torch.nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None]))
        # Where it is short enough a processor needs not touch it; a GPU would have to be waited for to know.
        if most is not None and not (norm.device.type == "cpu" and norm < most):
            torch.nn.utils.clip_grads_with_norm_(weights, most, norm, foreach=True)
        return norm

    def _added_up(self, batches: Sequence[Batch]) -> Total:
        pieces = [piece for batch in batches for piece in self.world.pieces(batch, self.micro_rows)]
        # Of a divided model gradients are added up on the way, and the unit must be the same for all.
        unit = batches[0].tokens if self.world.sharded else 0
        loss, count = torch.zeros((), device=self.device), 0
        for piece, counts in pieces:
            with precision.autocast(self.device, self.precision):
                scored = self.objective(self.model, piece.to(self.device))
            # How many predictions there are in all is known at the end; till then the first piece's are the unit.
            unit = unit or max(scored.count, 1)
            mine = scored.loss if counts else scored.loss * 0
            self.scaler.scale(mine / unit).backward()  # type: ignore[no-untyped-call]
            loss, count = loss + mine.detach(), count + scored.count * counts
        if len(pieces) > 1 or self.world.size > 1:
            weights = [weight for weight in self.model.parameters() if weight.requires_grad]
            loss, count = self.world.average(weights, unit, loss, count)
        rows, tokens = sum(batch.rows for batch in batches), sum(batch.tokens for batch in batches)
        return Total(loss=loss, count=count, rows=rows, tokens=tokens)

    def _halve(self, batches: Sequence[Batch], reason: str) -> None:
        rows = max(batch.rows for batch in batches)
        at_once = min(self.micro_rows or rows, rows)
        if at_once == 1:
            tokens = max(batch.tokens for batch in batches)
            raise ModelmillError(
                f"{self.what}: the memory of this {self.device.type} does not hold 1 row of a batch of {rows} rows and "
                f"{tokens} tokens ({reason}); shorten the rows, make the model smaller, or set recompute: true"
            )
        self.micro_rows = -(-at_once // 2)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        log.warning("%s: out of memory with %d rows at once, goes on with %d", self.what, at_once, self.micro_rows)


def _out_of_memory(error: RuntimeError) -> bool:
    # The processor's allocator has no class of its own for it.
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
