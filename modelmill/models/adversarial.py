"""The fast gradient sign method (Goodfellow et al. 2015, arXiv:1412.6572): inputs moved to where the loss rises."""

# N rows, B rows of a batch; H rows, W columns, C channels of a picture; F numbers of a vector

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from modelmill.models.image_predictor import ImagePredictor
from modelmill.models.table_predictor import TablePredictor
from modelmill.pictures.pixels import Pixels
from modelmill.tables.columns import FittedNumbers
from modelmill.tables.transforms import Transforms, Vectors

Signs = npt.NDArray[np.int8]


def picture_signs(
    predictor: ImagePredictor, pixels_NHWC: Pixels, truth_N: npt.NDArray[np.int64], batch_rows: int = 64
) -> Signs:
    """Return where the loss of the true label rises with each value of the pixels: 1, -1 or 0, [N, H, W, C]."""
    model, device = predictor.model, predictor.model.scale.device
    signs = np.zeros(pixels_NHWC.shape, dtype=np.int8)
    for start in range(0, len(pixels_NHWC), batch_rows):
        batch = slice(start, start + batch_rows)
        # A copy, which the model's normalisation may write into.
        x_BCHW = model.normalised(torch.tensor(pixels_NHWC[batch]).to(device)).detach().requires_grad_()
        loss = F.cross_entropy(model.network(x_BCHW), torch.tensor(truth_N[batch]).to(device), reduction="sum")
        (slope_BCHW,) = torch.autograd.grad(loss, x_BCHW)
        # Normalised values rise with those of the pixels.
        signs[batch] = slope_BCHW.sign().permute(0, 2, 3, 1).to(torch.int8).cpu().numpy()
    return signs


def moved_pixels(pixels_NHWC: Pixels, signs: Signs, epsilon: float) -> Pixels:
    """Return pixels one step away, `epsilon` of a range of 1: pictures that may be sent as they are."""
    step = round(255 * epsilon)
    moved: Pixels = np.clip(pixels_NHWC.astype(np.int16) + step * signs.astype(np.int16), 0, 255).astype(np.uint8)
    return moved


def vector_signs(predictor: TablePredictor, features_NF: Vectors, truth_N: npt.NDArray[Any]) -> Signs:
    """Return where the loss rises with each number of the vectors, [N, F]; 0 at what is no column of numbers.

    The truth is label numbers, or numbers in the target's own unit.
    """
    model, target = predictor.model, predictor.model.config.target
    device = next(model.parameters()).device
    x_NF = torch.tensor(features_NF).to(device).requires_grad_()
    outputs_NO = model(x_NF)
    if target is None:
        loss: Tensor = F.cross_entropy(outputs_NO, torch.tensor(truth_N).to(device), reduction="sum")
    else:
        scaled_N = torch.tensor((truth_N - target.mean) / target.unit, dtype=torch.float32).to(device)
        loss = F.mse_loss(outputs_NO[:, 0], scaled_N, reduction="sum")
    (slope_NF,) = torch.autograd.grad(loss, x_NF)
    signs: Signs = slope_NF.sign().to(torch.int8).cpu().numpy() * numeric(predictor.transforms)
    return signs


def numeric(transforms: Transforms) -> Signs:
    """Return 1 at the numbers of a vector that are a column's own number, and 0 at all others, [F]."""
    places = []
    for column in transforms.columns:
        own = isinstance(column, FittedNumbers) and column.kind in {"number", "integer"}
        parts = len(column.parts) if own and isinstance(column, FittedNumbers) else 0
        places += [1] * parts + [0] * (len(column.names) - parts)
    return np.array(places, dtype=np.int8)
