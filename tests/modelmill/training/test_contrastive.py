"""SimCLR: views of pictures, and the loss that tells them apart."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from modelmill.errors import ModelmillError
from modelmill.training.contrastive import ViewsBatch, telling_apart, two_views, view
from modelmill.training.data import Batch
from modelmill.training.pretext_settings import Views

STILL = Views(area=1, flip=False, brightness=0, contrast=0, saturation=0, gray=0)


def pictures(count: int = 6, channels: int = 3) -> Any:
    return np.random.default_rng(1).integers(0, 256, (count, 8, 8, channels), dtype=np.uint8)


def views_of(vectors: torch.Tensor) -> tuple[Any, Batch]:
    """Return a model that answers vectors [2 B, D], and a batch for it."""

    class Answers(torch.nn.Module):
        def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
            return F.normalize(torch.cat([first, second]), dim=1)

    first, second = vectors.chunk(2)
    return Answers(), ViewsBatch(tensors={"first": first, "second": second}, rows=len(first), tokens=len(first))


def test_the_loss_is_the_papers_formula() -> None:
    vectors = torch.randn(8, 5, generator=torch.Generator().manual_seed(3))
    model, batch = views_of(vectors)
    scored = telling_apart(0.3)(model, batch)
    expected = 0.0
    for i in range(8):
        alike = [float(F.cosine_similarity(vectors[i], vectors[k], dim=0)) / 0.3 for k in range(8)]
        others = sum(np.exp(alike[k]) for k in range(8) if k != i)
        expected -= np.log(np.exp(alike[(i + 4) % 8]) / others)
    assert scored.count == 8
    assert float(scored.loss) == pytest.approx(expected, rel=1e-5)


def test_equal_views_are_found() -> None:
    vectors = torch.eye(4).repeat(2, 1)
    model, batch = views_of(vectors)
    assert int(telling_apart(0.1)(model, batch).sums["accuracy"]) == 8


@pytest.mark.parametrize("channels", [1, 3])
def test_without_changes_a_view_is_the_picture_and_with_each_change_it_is_not(channels: int) -> None:
    asked = pictures(channels=channels)
    assert np.array_equal(view(asked, STILL, np.random.default_rng(0)), asked)
    changes: list[dict[str, Any]] = [{"area": 0.3}, {"flip": True}, {"brightness": 0.5}, {"contrast": 0.5}]
    colours: list[dict[str, Any]] = [{"saturation": 0.5}, {"gray": 1.0}]
    for change in changes + colours:
        found = view(asked, STILL.model_copy(update=change), np.random.default_rng(0))
        assert np.array_equal(found, asked) == (channels == 1 and change in colours), change
        assert found.shape == asked.shape
    mirrored = view(asked, STILL.model_copy(update={"flip": True}), np.random.default_rng(0))
    assert all(np.array_equal(a, b) or np.array_equal(a, b[:, ::-1]) for a, b in zip(mirrored, asked, strict=True))
    if channels == 3:
        gray = view(asked, STILL.model_copy(update={"gray": 1.0}), np.random.default_rng(0))
        assert (np.ptp(gray.astype(int), axis=3) <= 1).all()


def test_two_views_differ_and_a_seed_decides_them() -> None:
    first, again = (two_views(Views())(pictures(), np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(first.tensors["first"], again.tensors["first"])
    assert not torch.equal(first.tensors["first"], first.tensors["second"])


def test_a_batch_that_memory_does_not_hold_is_not_cut_but_refused() -> None:
    batch = two_views(Views())(pictures(), np.random.default_rng(5))
    assert [piece.rows for piece in batch.cut(None)] == [6]
    with pytest.raises(
        ModelmillError, match=r"the 6 pictures of a batch .* holds 3 at once: lower pretrain\.batch_rows"
    ):
        list(batch.cut(3))
    part = batch.rows_between(0, 4)
    with pytest.raises(ModelmillError, match="the 4 pictures of a batch"):
        list(part.cut(2))
    model, _ = views_of(torch.randn(4, 3))
    with pytest.raises(ModelmillError, match=r"and a process has 1: raise pretrain\.batch_rows, or lower processes"):
        telling_apart(0.5)(model, batch.rows_between(0, 1))
