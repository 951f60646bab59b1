from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modelmill.errors import ModelmillError
from modelmill.models import text
from modelmill.training import precision, text_objectives
from modelmill.training.data import Batch, Masking
from modelmill.training.distributed import ALONE
from modelmill.training.gradients import Gradients
from modelmill.training.objectives import Objective, Scored
from tests import samples
from tests.modelmill.training.bench import CPU, batch_of, classify

MASKING = Masking(rate=0.15, mask=4, special=(0, 1, 2, 3, 4), vocabulary=40)


def gradients(model: torch.nn.Module, objective: Objective, micro_rows: int | None = None) -> Gradients:
    return Gradients(
        what="train",
        model=model,
        objective=objective,
        device=CPU,
        precision="fp32",
        scaler=precision.scaler(CPU, "fp32"),
        micro_rows=micro_rows,
        world=ALONE,
    )


def of(model: torch.nn.Module) -> list[torch.Tensor]:
    found = [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]
    model.zero_grad()
    return found


def close(one: list[torch.Tensor], other: list[torch.Tensor]) -> None:
    assert len(one) == len(other) > 0
    for ours, theirs in zip(one, other, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


def linear() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2)


def test_several_batches_give_the_gradients_of_one_large_one() -> None:
    model = linear()
    batches = [batch_of(0), batch_of(1).rows_between(0, 5), batch_of(2)]
    large = Batch(
        tensors={name: torch.cat([batch.tensors[name] for batch in batches]) for name in ("x", "labels")},
        rows=37,
        tokens=111,
    )
    total = gradients(model, classify).compute(batches)
    ours = of(model)
    whole = gradients(model, classify).compute([large])
    close(ours, of(model))
    assert (total.count, total.rows, total.tokens) == (whole.count, whole.rows, 32 * 3 + 15) == (37, 37, 111)
    torch.testing.assert_close(total.loss, whole.loss)


@given(micro_rows=st.integers(1, 9), seed=st.integers(0, 20))
def test_a_masked_batch_in_pieces_gives_the_gradients_of_the_whole(micro_rows: int, seed: int) -> None:
    torch.manual_seed(0)
    model = text.masked_lm(samples.tiny_config()).eval()
    batch = MASKING.batch(np.random.default_rng(seed).integers(5, 40, (7, 12)), [seed])
    pieces = list(batch.cut(micro_rows))
    sizes = [piece.rows for piece in pieces]
    assert (sum(sizes), len(sizes)) == (7, -(-7 // micro_rows))
    assert max(sizes) <= micro_rows
    assert max(sizes) - min(sizes) <= 1
    assert torch.cat([piece.tensors["targets"] for piece in pieces]).equal(batch.tensors["targets"])
    gradients(model, text_objectives.masked_lm).compute([batch])
    whole = of(model)
    gradients(model, text_objectives.masked_lm, micro_rows).compute([batch])
    close(of(model), whole)


def test_a_batch_that_says_not_which_entries_are_a_rows_is_not_cut() -> None:
    batch = Batch(tensors={"x": torch.zeros(4, 2), "others": torch.zeros(7), "share": torch.ones(())}, rows=4, tokens=8)
    assert list(batch.cut(None)) == list(batch.cut(4)) == [batch]
    with pytest.raises(ModelmillError, match="a batch of 4 rows holds 7 others, and cannot be cut"):
        list(batch.cut(3))


@dataclass
class Small:
    """A memory that holds only so many rows."""

    rows: int
    error: type[RuntimeError] = torch.OutOfMemoryError

    def __call__(self, model: Any, batch: Batch) -> Scored:
        scored = classify(model, batch)
        if batch.rows > self.rows:
            raise self.error("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.\nMore.")
        return scored


@pytest.mark.parametrize(("rows", "pieces"), [(16, None), (15, 8), (8, 8), (7, 4), (1, 1)])
@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_a_batch_that_the_memory_does_not_hold_is_halved_until_it_does(
    rows: int, pieces: int | None, error: type[RuntimeError]
) -> None:
    model = linear()
    gradients(model, classify).compute([batch_of(0)])
    whole = of(model)
    made = gradients(model, Small(rows, error))
    made.compute([batch_of(0)])
    close(of(model), whole)
    assert made.micro_rows == pieces


def test_a_memory_that_does_not_hold_one_row_is_told_with_the_way_out() -> None:
    message = (
        r"memory of this cpu does not hold 1 row of a batch of 16 rows and 48 tokens \(DefaultCPUAllocator.*bytes\.\)"
    )
    with pytest.raises(ModelmillError, match=message):
        gradients(linear(), Small(0)).compute([batch_of(0)])


def test_other_errors_are_not_taken_for_want_of_memory() -> None:
    def wrong(_model: Any, _batch: Batch) -> Scored:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        gradients(linear(), wrong).compute([batch_of(0)])


def test_a_long_gradient_is_cut_and_its_length_told() -> None:
    model = linear()
    made = gradients(model, classify)
    for most, left in ((None, 1.0), (1e-3, None), (1e3, 1.0)):
        made.compute([batch_of(0)])
        before = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])
        length = made.clipped(most)
        after = torch.cat([grad.flatten() for grad in of(model)])
        torch.testing.assert_close(length, before.norm())
        torch.testing.assert_close(after.norm(), before.norm() if left else torch.tensor(1e-3), rtol=1e-3, atol=0)
