"""What the validation rows say of a model, and which model is the better one."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from modelmill.errors import UserError
from modelmill.training import precision
from modelmill.training.data import Batch
from modelmill.training.distributed import World
from modelmill.training.gradients import Gradients

LOWER_IS_BETTER = frozenset({"loss", "mse"})
"""Validation figures of which the lower is the better."""


def score(
    gradients: Gradients, batches: Sequence[Batch], micro_rows: int | None, stopping: Callable[[], bool]
) -> dict[str, float] | None:
    """Return the means of loss and figures over batches; None when it was given up because of the wish to stop.

    Model, objective, precision and processes are those that the gradients are computed with; each process takes its
    share of the batches.
    """
    sums: defaultdict[str, float] = defaultdict(float)
    world, model = gradients.world, gradients.model
    model.eval()
    with torch.no_grad(), precision.autocast(gradients.device, gradients.precision):
        for piece, counts in _pieces(world, batches, micro_rows):
            # What computes a divided model together cannot stop apart.
            if stopping() and not world.sharded:
                break
            scored = gradients.objective(model, piece.to(gradients.device))
            for name, value in {"loss": scored.loss, **scored.sums}.items():
                sums[name] += float(value) * counts
            sums["count"] += scored.count * counts
    model.train()
    if any(world.sums([stopping()])):
        return None
    added = dict(zip(sums, world.sums(list(sums.values())), strict=True))
    count = added.pop("count")
    return {name: value / count for name, value in added.items()}


def _pieces(world: World, batches: Sequence[Batch], micro_rows: int | None) -> Iterator[tuple[Batch, int]]:
    """Yield what one process computes, and 0 for what it does not count."""
    if world.sharded:
        yield from (piece for batch in batches for piece in world.pieces(batch, micro_rows))
        return
    # Where there are fewer batches than processes, the others count one for nothing.
    mine, counts = (batches[world.rank :: world.size], 1) if world.rank < len(batches) else (batches[:1], 0)
    for batch in mine:
        yield from ((piece, counts) for piece in batch.cut(micro_rows))


def better(found: Mapping[str, float], best: Mapping[str, float] | None, figure: str) -> bool:
    """Return whether it has the better figure; of equal ones the lower loss; of equals of both the earlier.

    Raises:
        UserError: there is no such figure.
    """
    if figure not in found:
        known = ", ".join(name for name in found if name != "step")
        raise UserError(f"best: {figure!r} is no figure of this task's validation; it has {known}, or write last")
    if best is None:
        return True
    sign = -1 if figure in LOWER_IS_BETTER else 1
    return (sign * found[figure], -found["loss"]) > (sign * best[figure], -best["loss"])


def in_vain(found: Sequence[Mapping[str, float]], figure: str) -> int:
    """Return how many validations have come since the best one."""
    best = 0
    for place in range(1, len(found)):
        if better(found[place], found[best], figure):
            best = place
    return len(found) - 1 - best
