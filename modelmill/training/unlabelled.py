"""Batches of pictures without labels: every one once an epoch, with a drawing of its own at each step."""

# N pictures, B batch, H rows, W columns, C channels

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from modelmill.training.data import Batch
from modelmill.training.pixels import Pixels, RowOrder

Make = Callable[[Pixels, np.random.Generator], Batch]
"""From pictures [B, H, W, C] to a batch, by chance."""


@dataclass(kw_only=True)
class UnlabelledBatches:
    """Pictures in an order, and with drawings, that seed and step decide."""

    pixels_NHWC: Pixels
    batch_rows: int
    seed: int
    make: Make
    order: RowOrder = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.order = RowOrder(rows=len(self.pixels_NHWC), batch_rows=self.batch_rows, seed=self.seed)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0."""
        return self.make(self.pixels_NHWC[self.order.of(step)], np.random.default_rng([self.seed, 1, step]))

    def fixed(self, most: int) -> list[Batch]:
        """Return the first batches in the pictures' own order, the same drawings at each call."""
        places = range(min(most, self.order.steps_per_epoch))
        edges = [self.order.edges(place) for place in places]
        return [
            self.make(self.pixels_NHWC[first:last], np.random.default_rng([self.seed, 2, place]))
            for place, (first, last) in zip(places, edges, strict=True)
        ]
