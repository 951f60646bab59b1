"""Masked autoencoding (He et al. 2022, arXiv:2111.06377): few patches of a picture are seen, the others filled in.

The encoder is the vision transformer that is fine-tuned afterwards, and computes the seen patches alone; a small
decoder fills in the others and is thrown away.
"""

# B batch, T patches, K of them seen, M of them hidden, D width, P numbers of a patch, H rows, W columns, C channels

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.vision_transformer import EncoderBlock

from modelmill.models.image import ImageModel
from modelmill.models.vit import VisionTransformer, waves
from modelmill.training.augment import flipped, moved
from modelmill.training.augment_settings import Augment
from modelmill.training.data import Batch
from modelmill.training.objectives import Objective, Scored
from modelmill.training.pixels import Pixels
from modelmill.training.pretext_settings import PictureDecoder
from modelmill.training.unlabelled import Make

# Of the variance of a patch, before its root divides: the authors' value (their repository, models_mae.py).
_LEAST_VARIANCE = 1e-6


class MaskedAutoencoder(nn.Module):
    """An encoder of pictures under a decoder that fills in what was hidden."""

    places: Tensor

    def __init__(self, encoder: ImageModel, decoder: PictureDecoder) -> None:
        super().__init__()
        network = encoder.network
        assert isinstance(network, VisionTransformer)
        pixels, self.patch = encoder.config.pixels, network.patch_size
        self.encoder = encoder
        self.enter = nn.Linear(network.hidden_dim, decoder.width)
        self.hidden = nn.Parameter(torch.empty(decoder.width).normal_(std=0.02))
        self.register_buffer("places", waves(pixels.size // self.patch, decoder.width), persistent=False)
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.layers = nn.ModuleList(
            EncoderBlock(decoder.heads, decoder.width, 4 * decoder.width, 0.0, 0.0, norm) for _ in range(decoder.layers)
        )
        self.norm = norm(decoder.width)
        self.leave = nn.Linear(decoder.width, self.patch**2 * pixels.channels)

    def forward(self, pixels_BHWC: Tensor, order_BT: Tensor, seen: int) -> Tensor:
        """Return what stands in the patches [B, T, P], guessed from the first `seen` ones of an order."""
        vit: Any = self.encoder.network
        vectors_BTD = vit.patches(self.encoder.normalised(pixels_BHWC))
        known_BKD = self.enter(vit.encoded(vectors_BTD, order_BT[:, :seen]))
        first_B1D, known_BKD = known_BKD[:, :1], known_BKD[:, 1:]
        batch, patches = order_BT.shape
        hidden_BMD = self.hidden.to(known_BKD.dtype).expand(batch, patches - seen, -1)
        drawn_BTD = torch.cat([known_BKD, hidden_BMD], dim=1)
        index_BTD = order_BT.argsort(dim=1).unsqueeze(-1).expand(-1, -1, drawn_BTD.shape[-1])
        hidden = torch.cat([first_B1D, drawn_BTD.gather(1, index_BTD) + self.places], dim=1)
        for layer in self.layers:
            hidden = layer(hidden)
        guessed_BTP: Tensor = self.leave(self.norm(hidden[:, 1:]))
        return guessed_BTP

    def wanted(self, pixels_BHWC: Tensor) -> Tensor:
        """Return the normalised pixels of each patch [B, T, P]."""
        return cut(self.encoder.normalised(pixels_BHWC).permute(0, 2, 3, 1), self.patch)


def cut(pixels_BHWC: Tensor, patch: int) -> Tensor:
    """Return pictures as patches [B, T, P], row by row."""
    batch, side, _, channels = pixels_BHWC.shape
    count = side // patch
    parts = pixels_BHWC.reshape(batch, count, patch, count, patch, channels).permute(0, 1, 3, 2, 4, 5)
    return parts.reshape(batch, count * count, patch * patch * channels)


def joined(patches_BTP: Tensor, patch: int) -> Tensor:
    """Return the pictures [B, H, W, C] that patches make: the way back from `cut`."""
    batch, patches, numbers = patches_BTP.shape
    count, channels = round(patches**0.5), numbers // patch**2
    parts = patches_BTP.reshape(batch, count, count, patch, patch, channels).permute(0, 1, 3, 2, 4, 5)
    return parts.reshape(batch, count * patch, count * patch, channels)


def masking(patches: int, augment: Augment | None) -> Make:
    """Return what draws an order of the patches for each picture, after changing it at random."""

    def make(pixels_BHWC: Pixels, chance: np.random.Generator) -> Batch:
        if augment is not None:
            pixels_BHWC = moved(pixels_BHWC, augment.padding(pixels_BHWC.shape[1]), chance)
            pixels_BHWC = flipped(pixels_BHWC, chance) if augment.flip else pixels_BHWC
        order_BT = chance.random((len(pixels_BHWC), patches)).argsort(axis=1, kind="stable")
        tensors = {
            "pixels": torch.from_numpy(np.ascontiguousarray(pixels_BHWC)),
            "order": torch.from_numpy(order_BT),
        }
        return Batch(tensors=tensors, rows=len(pixels_BHWC), tokens=len(pixels_BHWC))

    return make


def filling_in(seen: int, *, normalise: bool) -> Objective:
    """Return the objective of the hidden patches: the mean squared error of a number in them.

    With `normalise` each patch is wanted with mean 0 and deviation 1, which teaches more (section 3 and table 1d).
    """
    return partial(_filling_in, seen, normalise)


def _filling_in(seen: int, normalise: bool, model: Any, batch: Batch) -> Scored:
    pixels_BHWC, order_BT = batch.tensors["pixels"], batch.tensors["order"]
    guessed_BTP = model(pixels_BHWC, order_BT, seen).float()
    wanted_BTP = model.wanted(pixels_BHWC)
    if normalise:
        wanted_BTP = (wanted_BTP - wanted_BTP.mean(dim=2, keepdim=True)) * _rates(wanted_BTP)
    error_BT = (guessed_BTP - wanted_BTP).square().mean(dim=2)
    loss = error_BT.gather(1, order_BT[:, seen:]).sum()
    return Scored(loss=loss, count=order_BT[:, seen:].numel(), sums={})


def _rates(wanted_BTP: Tensor) -> Tensor:
    return (wanted_BTP.var(dim=2, keepdim=True) + _LEAST_VARIANCE).rsqrt()


@torch.no_grad()
def reconstructed(model: MaskedAutoencoder, batch: Batch, seen: int, *, normalise: bool) -> Pixels:
    """Return three rows of pictures, side by side [H, W, C]: whole, with what was seen, and filled in.

    Of a normalised patch mean and deviation are the true ones: they were never guessed.
    """
    training = model.training
    model.eval()
    pixels_BHWC, order_BT = batch.tensors["pixels"], batch.tensors["order"]
    guessed_BTP, wanted_BTP = model(pixels_BHWC, order_BT, seen).float(), model.wanted(pixels_BHWC)
    model.train(training)
    if normalise:
        guessed_BTP = guessed_BTP / _rates(wanted_BTP) + wanted_BTP.mean(dim=2, keepdim=True)
    guessed = joined(guessed_BTP, model.patch).permute(0, 3, 1, 2)
    guessed = (guessed - model.encoder.shift) / model.encoder.scale
    filled_BTP = cut(guessed.permute(0, 2, 3, 1), model.patch)
    true_BTP = cut(pixels_BHWC.float(), model.patch)
    hidden_BT1 = torch.ones_like(order_BT, dtype=torch.bool).scatter(1, order_BT[:, :seen], False).unsqueeze(-1)
    rows = [true_BTP, true_BTP.masked_fill(hidden_BT1, 128.0), torch.where(hidden_BT1, filled_BTP, true_BTP)]
    strips = [torch.cat(list(joined(row_BTP, model.patch)), dim=1) for row_BTP in rows]
    drawn: Pixels = torch.cat(strips).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    return drawn
