import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modelmill.training.data import Batch
from modelmill.training.prefetch import Prefetched


class Noted:
    """Batches that remember in which order, and where, they were made."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.threads: set[int] = set()

    def batch(self, step: int) -> Batch:
        self.made.append(step)
        self.threads.add(threading.get_ident())
        if step >= 100:
            raise ValueError(f"no batch {step}")
        return Batch(tensors={"x": torch.tensor([step])}, rows=1, tokens=1)


@contextmanager
def prefetched(noted: Noted, ahead: int = 2, end: int = 1000) -> Iterator[Prefetched]:
    made = Prefetched(batches=noted, ahead=ahead, end=end, pin=False)
    try:
        yield made
    finally:
        made.close()


@given(asked=st.lists(st.integers(0, 90), max_size=30), ahead=st.integers(0, 4))
def test_whatever_is_asked_for_comes(asked: list[int], ahead: int) -> None:
    with prefetched(Noted(), ahead) as batches:
        assert [int(batches.batch(number).tensors["x"]) for number in asked] == asked


def test_in_order_each_batch_is_made_once_by_one_thread_and_ahead_of_time() -> None:
    noted = Noted()
    with prefetched(noted, end=20) as batches:
        batches.batch(0)
        assert batches._coming.keys() == {1, 2}
        for number in range(1, 20):
            batches.batch(number)
    assert noted.made == list(range(20))
    assert noted.threads != {threading.get_ident()}
    assert len(noted.threads) == 1


def test_what_goes_wrong_is_told_to_who_asks_for_it_and_to_no_one_before() -> None:
    with prefetched(Noted()) as batches:
        assert int(batches.batch(99).tensors["x"]) == 99
        with pytest.raises(ValueError, match="no batch 100"):
            batches.batch(100)
