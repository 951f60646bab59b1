"""Several processes at one training: each computes its part of every batch, and all take the same step.

The batches are those of one process, cut by rank, so the order of the rows does not depend on how many there are, and a
training may go on with more or fewer of them. Weights, optimiser and state are the same in all; the first process alone
writes.
"""

import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

from modelmill.training.data import Batch
from modelmill.training.divided import shares

# A process that is gone is noticed by the others after this long, if whoever started them has not ended them by then.
_PATIENCE = timedelta(minutes=10)
# Gradients are sent together up to this size.
_BUCKET_BYTES = 32 * 2**20


@dataclass(frozen=True, kw_only=True)
class World:
    """The processes of a training, as one of them sees them."""

    rank: int = 0
    size: int = 1
    sharded: bool = False
    """Whether the model is divided: then all must compute as often as each other, and gradients come added up."""

    @property
    def writes(self) -> bool:
        """Whether this is the process that writes checkpoints and says how it goes."""
        return self.rank == 0

    def part(self, batch: Batch) -> Batch | None:
        """Return this process's rows of a batch; None where there are too few for all."""
        if self.size == 1:
            return batch
        start, end = (batch.rows * rank // self.size for rank in (self.rank, self.rank + 1))
        return batch.rows_between(start, end) if end > start else None

    def pieces(self, batch: Batch, most: int | None) -> Iterator[tuple[Batch, int]]:
        """Yield this process's rows of a batch, at most so many at once, and 1; where it has none but must compute
        along, a row of another's and 0.
        """
        mine = self.part(batch)
        if not self.sharded:
            yield from ((piece, 1) for piece in mine.cut(most)) if mine is not None else ()
            return
        largest = -(-batch.rows // self.size)
        count = -(-largest // min(most or largest, largest))
        rows = mine.rows if mine is not None else 0
        for number in range(count):
            start, end = (rows * edge // count for edge in (number, number + 1))
            if mine is not None and end > start:
                yield mine.rows_between(start, end), 1
            else:
                yield batch.rows_between(0, 1), 0

    def seed(self, seed: int, step: int) -> int:
        """Return where this process's chance begins at a step."""
        return int.from_bytes(hashlib.sha256(f"{seed} {step} {self.rank}".encode()).digest()[:8], "big", signed=True)

    def sums(self, values: Sequence[float]) -> list[float]:
        """Return sums over all processes."""
        if self.size == 1:
            return list(values)
        # On the processor, also beside GPUs: a number from there would have to be waited for.
        added = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(added)
        return added.tolist()

    def first(self, value: float) -> float:
        """Return the first process's value."""
        return self.sums([value if self.writes else 0.0])[0]

    def wait(self) -> None:
        """Wait until all are here."""
        self.sums([0.0])

    def average(
        self, weights: Sequence[torch.nn.Parameter], unit: int, loss: torch.Tensor, count: int
    ) -> tuple[torch.Tensor, int]:
        """Make the gradients those of the mean loss of a prediction; return loss and predictions of all processes.

        Before, they are each process's own, of its summed loss through `unit`; of a divided model they are the mean of
        all processes' already.
        """
        if self.sharded:
            added, total = self.sums([float(loss), count])
            mine = shares(weight.grad for weight in weights if weight.grad is not None)
            torch._foreach_mul_(mine, unit * self.size / max(total, 1))
            return loss.new_tensor(added), int(total)
        used = [weight.grad is not None for weight in weights]
        if self.size > 1:
            total, *users = self.sums([count, *map(float, used)])
            # A weight that no process used has no gradient in one process either, and so does not decay.
            count, used = int(total), [number > 0 for number in users]
            distributed.all_reduce(loss)
        gradients = []
        for weight in itertools.compress(weights, used):
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            gradients.append(weight.grad)
        if gradients:
            torch._foreach_mul_(gradients, unit / max(count, 1))
        if self.size > 1:
            for bucket in _buckets(gradients):
                flat = _flatten_dense_tensors(bucket)  # type: ignore[no-untyped-call]
                distributed.all_reduce(flat)
                parts = _unflatten_dense_tensors(flat, bucket)  # type: ignore[no-untyped-call]
                torch._foreach_copy_(bucket, parts)
        return loss, count


ALONE = World()
"""One process."""


def join(*, shard: bool = False) -> World:
    """Meet the other processes that torchrun started with this one; alone where it started none.

    Args:
        shard: the model is to be divided over them.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ALONE
    if not distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(backend, timeout=_PATIENCE)
    return World(rank=distributed.get_rank(), size=size, sharded=shard)


def _buckets(gradients: Sequence[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Return gradients in their order, together as many as fit a bucket, and of one type."""
    made: list[list[torch.Tensor]] = []
    size = 0
    for gradient in gradients:
        if not made or made[-1][0].dtype != gradient.dtype or size + gradient.nbytes > _BUCKET_BYTES:
            made.append([])
            size = 0
        made[-1].append(gradient)
        size += gradient.nbytes
    return made
