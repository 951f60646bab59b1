"""The class of a picture as it comes from outside: decoded, resized, normalised, classified."""

# N pictures, L labels

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from modelmill.errors import InputRefused, UserError
from modelmill.models import image
from modelmill.pictures.pixels import Pixels, pixels_of


@dataclass(frozen=True, kw_only=True)
class ImagePredictor:
    """An image classifier with all that stands before its weights."""

    model: image.ImageModel
    labels: tuple[str, ...]

    def pixels(self, pictures: Sequence[bytes]) -> Pixels:
        """Return what the network looks at, [N, H, W, C]: of ingest's pictures the pixels that preprocessing stored.

        Raises:
            UserError: one cannot be decoded.
        """
        found = pixels_of(pictures, self.model.config.pixels)
        if isinstance(found, tuple):
            row, fault = found
            raise InputRefused(
                f"picture {row + 1} of {len(pictures)}: {fault.reason}: {fault.detail}; send a PNG or a JPEG",
                reason=fault.reason,
            )
        return found

    def predict(self, pictures: Sequence[bytes], batch_rows: int = 64) -> npt.NDArray[np.float64]:
        """Return the probability of each label [N, L] for the bytes of each picture, in single precision arithmetic.

        Raises:
            UserError: one cannot be decoded.
        """
        probability_NL = np.empty((len(pictures), len(self.labels)))
        for start in range(0, len(pictures), batch_rows):
            pixels = torch.from_numpy(self.pixels(pictures[start : start + batch_rows]))
            with torch.inference_mode():
                logits_BL = self.model(pixels.to(self.model.scale.device))
            probability_NL[start : start + len(pixels)] = logits_BL.double().softmax(dim=1).cpu().numpy()
        return probability_NL


def load(folder: Path, facts: Mapping[str, Any]) -> ImagePredictor:
    """Load an image classifier from its folder, which `facts` describes.

    Raises:
        UserError: the folder holds no such model, or its labels are not the facts'.
        KeyError: the facts lack something.
    """
    labels = tuple(facts["labels"])
    model = image.load(folder)
    if model.config.labels != labels:
        raise UserError(
            f"{folder}: config.json knows {len(model.config.labels)} labels and modelmill.json {len(labels)}, or "
            "other ones; copy all files from one model"
        )
    if torch.cuda.is_available():
        model.to("cuda")
    model.eval()
    return ImagePredictor(model=model, labels=labels)
