"""SimCLR (Chen et al. 2020, arXiv:2002.05709): two views of a picture shall be alike, and unlike all others' views."""

# B batch, H rows, W columns, C channels, D width, V = 2 B views

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelmill.errors import ModelmillError
from modelmill.models.image import ImageModel
from modelmill.training.data import Batch
from modelmill.training.objectives import Objective, Scored
from modelmill.training.pixels import Pixels
from modelmill.training.pretext_settings import Views
from modelmill.training.unlabelled import Make

# Of ITU-R BT.601: how bright red, green and blue look.
_LUMA = (0.299, 0.587, 0.114)
# Of the shape of a view before it is made square: torchvision's RandomResizedCrop, which the authors' crop is as well.
_LONGEST = 4 / 3


class Contrastive(nn.Module):
    """A network that makes features, under the small head that the loss looks at and that is thrown away."""

    def __init__(self, encoder: ImageModel, projection: int) -> None:
        super().__init__()
        self.encoder = encoder
        pixels = encoder.config.pixels
        with torch.no_grad():
            encoder.eval()
            width = encoder(torch.zeros(1, pixels.size, pixels.size, pixels.channels, dtype=torch.uint8)).shape[1]
            encoder.train()
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, projection))

    def forward(self, first_BHWC: Tensor, second_BHWC: Tensor) -> Tensor:
        """Return a vector of length 1 for each view [2 B, D], all first ones before all second ones."""
        features = self.encoder(torch.cat([first_BHWC, second_BHWC]))
        return F.normalize(self.head(features).float(), dim=1)


@dataclass(frozen=True, kw_only=True)
class ViewsBatch(Batch):
    """Views that are compared with each other: computed in pieces they would learn something else."""

    def cut(self, most: int | None) -> Iterator[Batch]:
        """Yield the batch, whole.

        Raises:
            ModelmillError: it shall be cut.
        """
        if most is not None and most < self.rows:
            raise ModelmillError(
                f"simclr compares the {self.rows} pictures of a batch with each other, and the memory holds {most} at "
                "once: lower pretrain.batch_rows"
            )
        yield self

    def rows_between(self, start: int, end: int) -> Batch:
        """Return a process's rows; they are compared with each other, and not with other processes'."""
        part = super().rows_between(start, end)
        return ViewsBatch(tensors=part.tensors, rows=part.rows, tokens=part.tokens)


def two_views(views: Views) -> Make:
    """Return what makes two views of each picture."""

    def make(pixels_BHWC: Pixels, chance: np.random.Generator) -> Batch:
        tensors = {name: torch.from_numpy(view(pixels_BHWC, views, chance)) for name in ("first", "second")}
        return ViewsBatch(tensors=tensors, rows=len(pixels_BHWC), tokens=len(pixels_BHWC))

    return make


def view(pixels_BHWC: Pixels, views: Views, chance: np.random.Generator) -> Pixels:
    """Return a view of each picture, of the same size."""
    seen_BHWC = _cropped(pixels_BHWC, views, chance)
    batch, channels = len(seen_BHWC), seen_BHWC.shape[3]

    def factors(most: float) -> "np.ndarray[Any, np.dtype[np.float32]]":
        return chance.uniform(1 - most, 1 + most, (batch, 1, 1, 1)).astype(np.float32)

    seen_BHWC = np.clip(seen_BHWC * factors(views.brightness), 0, 255)
    middle_B = seen_BHWC.mean(axis=(1, 2, 3), keepdims=True)
    seen_BHWC = np.clip(middle_B + (seen_BHWC - middle_B) * factors(views.contrast), 0, 255)
    if channels == 3:
        gray_BHW1 = (seen_BHWC * np.array(_LUMA, dtype=np.float32)).sum(axis=3, keepdims=True)
        share_B = factors(views.saturation) * (chance.random((batch, 1, 1, 1)) >= views.gray)
        seen_BHWC = np.clip(gray_BHW1 + (seen_BHWC - gray_BHW1) * share_B.astype(np.float32), 0, 255)
    made: Pixels = np.rint(seen_BHWC).astype(np.uint8)
    return made


def _cropped(pixels_BHWC: Pixels, views: Views, chance: np.random.Generator) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Return a part of each picture at its whole size, half of them mirrored."""
    batch, side = pixels_BHWC.shape[:2]
    area_B = chance.uniform(views.area, 1, batch)
    ratio_B = np.exp(chance.uniform(-np.log(_LONGEST), np.log(_LONGEST), batch) / 2)
    root_B = np.sqrt(area_B)
    # No side is longer than the picture's: of large parts the shape is less free.
    ratio_B = np.clip(ratio_B, root_B, 1 / root_B)
    size_B2 = np.stack([root_B * ratio_B, root_B / ratio_B], axis=1)
    middle_B2 = (2 * chance.random((batch, 2)) - 1) * (1 - size_B2)
    mirror_B = np.where((chance.random(batch) < 0.5) & views.flip, -1.0, 1.0)
    turn_B23 = np.zeros((batch, 2, 3), dtype=np.float32)
    turn_B23[:, 0, 0], turn_B23[:, 1, 1] = size_B2[:, 0] * mirror_B, size_B2[:, 1]
    turn_B23[:, :, 2] = middle_B2
    pixels_BCHW = torch.from_numpy(np.ascontiguousarray(pixels_BHWC)).permute(0, 3, 1, 2).float()
    grid = F.affine_grid(torch.from_numpy(turn_B23), [batch, pixels_BCHW.shape[1], side, side], align_corners=False)
    seen = F.grid_sample(pixels_BCHW, grid, padding_mode="border", align_corners=False)
    made: np.ndarray[Any, np.dtype[np.float32]] = seen.permute(0, 2, 3, 1).contiguous().numpy()
    return made


def telling_apart(temperature: float) -> Objective:
    """Return the objective of which other view is of the same picture (NT-Xent, section 2.1); `accuracy` is the share
    of views for which that one is the most like.
    """
    return partial(_telling_apart, temperature)


def _telling_apart(temperature: float, model: Any, batch: Batch) -> Scored:
    count = batch.rows
    if count < 2:
        raise ModelmillError(
            f"simclr compares the pictures of a batch with each other, and a process has {count}: raise "
            "pretrain.batch_rows, or lower processes"
        )
    vectors_VD = model(batch.tensors["first"], batch.tensors["second"])
    # Under autocast the product would be rounded before it is divided.
    with torch.autocast(vectors_VD.device.type, enabled=False):
        alike_VV = vectors_VD @ vectors_VD.T / temperature
        alike_VV = alike_VV.masked_fill(torch.eye(2 * count, dtype=torch.bool, device=alike_VV.device), -torch.inf)
        partner_V = torch.arange(2 * count, device=alike_VV.device).roll(count)
        loss = F.cross_entropy(alike_VV, partner_V, reduction="sum")
    correct = (alike_VV.detach().argmax(dim=1) == partner_V).sum()
    return Scored(loss=loss, count=2 * count, sums={"accuracy": correct})
