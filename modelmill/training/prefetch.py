"""Makes the next batches while the model computes."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from modelmill.training.data import Batch, Batches


@dataclass(kw_only=True)
class Prefetched:
    """Batches by number, as those that they are made from; one thread makes them, in the order in which they are asked
    for, so that it may keep what it needs for one epoch.
    """

    batches: Batches
    ahead: int
    """Batches made before they are asked for."""
    end: int
    """From this number on none is made ahead."""
    pin: bool
    """Put them where a GPU can fetch them while it computes."""
    _thread: ThreadPoolExecutor = field(init=False, repr=False)
    _coming: dict[int, "Future[Batch]"] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")

    def batch(self, step: int) -> Batch:
        """Return a batch, and begin to make those after it."""
        wanted = self._asked(step)
        following = range(step + 1, min(step + 1 + self.ahead, self.end))
        for number in [number for number in self._coming if number not in following]:
            # Training has gone elsewhere: to a checkpoint, or to another epoch of a rehearsal.
            self._coming.pop(number).cancel()
        coming = {number: self._asked(number) for number in following}
        made = wanted.result()
        self._coming = coming
        return made

    def close(self) -> None:
        """Make no more."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _asked(self, step: int) -> "Future[Batch]":
        return self._coming.pop(step, None) or self._thread.submit(self._made, step)

    def _made(self, step: int) -> Batch:
        batch = self.batches.batch(step)
        if not self.pin:
            return batch
        return replace(batch, tensors={name: tensor.pin_memory() for name, tensor in batch.tensors.items()})
