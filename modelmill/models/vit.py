"""The vision transformer (arXiv:2010.11929): torchvision's, that can leave patches out and average over them."""

# B batch, C channels, H rows, W columns, T patches, K patches that are seen, D width

from typing import Any, Literal

import torch
from torch import Tensor
from torchvision import models


class VisionTransformer(models.VisionTransformer):  # type: ignore[misc]  # torchvision has no types
    """torchvision's network, with its weights by its names; `class` pooling computes the same as it does."""

    def __init__(self, *, pool: Literal["class", "mean"] = "class", **sizes: Any) -> None:
        super().__init__(**sizes)
        self.pool = pool
        side = self.image_size // self.patch_size
        with torch.no_grad():
            # Learned on from there. Patches that are told apart from the first step on are worth thousands of steps to
            # a network that must say what stood where.
            self.encoder.pos_embedding[:, 1:] += waves(side, self.hidden_dim)

    def patches(self, pixels_BCHW: Tensor) -> Tensor:
        """Return the vectors [B, T, D] of the patches, row by row, without their places."""
        vectors_BTD: Tensor = self._process_input(pixels_BCHW)
        return vectors_BTD

    def encoded(self, vectors_BTD: Tensor, seen_BK: Tensor | None = None) -> Tensor:
        """Return what the layers make of the class's token and of the patches, or of those that are seen."""
        places_1SD: Tensor = self.encoder.pos_embedding
        vectors_BTD = vectors_BTD + places_1SD[:, 1:]
        if seen_BK is not None:
            vectors_BTD = vectors_BTD.gather(1, seen_BK.unsqueeze(-1).expand(-1, -1, vectors_BTD.shape[-1]))
        first_B1D = (self.class_token + places_1SD[:, :1]).expand(len(vectors_BTD), -1, -1)
        hidden: Tensor = self.encoder.dropout(torch.cat([first_B1D, vectors_BTD], dim=1))
        answer: Tensor = self.encoder.ln(self.encoder.layers(hidden))
        return answer

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of normalised pixels [B, C, H, W]."""
        hidden = self.encoded(self.patches(x))
        logits: Tensor = self.heads(hidden[:, 0] if self.pool == "class" else hidden[:, 1:].mean(dim=1))
        return logits


def waves(side: int, width: int) -> Tensor:
    """Return sines and cosines [side * side, width] of each patch's row and column (arXiv:2104.02057, section 4)."""
    count = width // 4
    rates = 10_000.0 ** (-torch.arange(count, dtype=torch.float64) / max(count, 1))
    turned = torch.arange(side, dtype=torch.float64)[:, None] * rates
    made = torch.zeros(side, side, width, dtype=torch.float64)
    both = torch.cat([turned.sin(), turned.cos()], dim=1)
    made[:, :, : 2 * count] = both[:, None]
    made[:, :, 2 * count : 4 * count] = both[None]
    return made.view(side * side, width).float()
