"""What moved an answer: integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365) by captum.

A class's answer is taken as its log-odds against all others, which, other than its probability, still tells one
reason from another where the model is sure. Parts add up to how far the answer is from that to a blank input; by how
much they do not is the convergence delta, and where it is large more steps are taken.
"""

# B inputs between the blank one and the input, T tokens, F numbers of a vector, L labels
# H rows, W columns, C channels of a picture

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from modelmill.models import text
from modelmill.models.image_predictor import ImagePredictor
from modelmill.models.table_predictor import TablePredictor
from modelmill.models.text_predictor import TextPredictor

Weights = npt.NDArray[np.float64]
Forward = Callable[..., Tensor]

# Doubled until the parts add up, or there are the most.
_STEPS, _MOST_STEPS = 64, 512
# Of how far the answer moved; captum's own examples take 5 % for close. The second keeps what has not moved from asking
# for steps without end.
_CLOSE, _NEXT_TO_NOTHING = 0.05, 0.01
_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """What the parts of one input did to one answer."""

    weights: Weights
    """Of tokens [T], of pixels [H, W], of the numbers of a vector [F]; in the answer's unit."""
    moved: float
    """The answer less that to the blank input: in log-odds, or in the target's own unit."""
    delta: float
    """The sum of all parts less `moved`."""
    steps: int
    converged: bool
    """Whether the parts add up."""


def of_text(predictor: TextPredictor, asked: Any, label: int) -> Attribution:
    """Return what each token of a text, or of a pair, did to a label's log-odds, [T], those of the frame included.

    The blank text has `[MASK]` for every token, or padding where the model knows no mask.
    """
    from captum.attr import LayerIntegratedGradients

    ids_1T, *others = predictor.tensors(predictor.rows([asked]))
    special = predictor.tokenizer.special
    kept = torch.isin(ids_1T, torch.tensor([special["cls"], special["sep"]], device=ids_1T.device))
    blank_1T = torch.where(kept, ids_1T, special.get("mask", special["pad"]))
    family, model = text.family(predictor.model), predictor.model

    def forward(ids_BT: Tensor, *rest: Tensor) -> Tensor:
        return _log_odds(family.classify(model, ids_BT, *rest), label)

    explain = LayerIntegratedGradients(forward, model.get_input_embeddings())
    return _attribution(
        lambda steps: explain.attribute(
            ids_1T,
            baselines=blank_1T,
            additional_forward_args=tuple(others),
            n_steps=steps,
            internal_batch_size=_AT_ONCE,
            return_convergence_delta=True,
        ),
        (forward(ids_1T, *others) - forward(blank_1T, *others)).detach(),
        lambda parts_1TD: parts_1TD.sum(dim=2)[0],
    )


def of_picture(predictor: ImagePredictor, picture: bytes, label: int) -> Attribution:
    """Return what each pixel, as the network sees them, did to a label's log-odds, [H, W].

    The blank picture is of one colour, the mean of the training pictures.
    """
    model = predictor.model
    pixels_1HWC = torch.from_numpy(predictor.pixels([picture])).to(model.scale.device)
    x_1CHW = model.normalised(pixels_1HWC).detach()

    def forward(x_BCHW: Tensor) -> Tensor:
        return _log_odds(model.network(x_BCHW), label)

    # Normalised, the mean colour is 0.
    return _of_numbers(forward, x_1CHW, torch.zeros_like(x_1CHW), 1.0, lambda parts_1CHW: parts_1CHW.sum(dim=1)[0])


def of_row(predictor: TablePredictor, row: dict[str, Any], label: int | None) -> Attribution:
    """Return what each number of a row's vector did to a label's log-odds or to the number answered, [F].

    The blank row has what takes the place of missing values, and is not marked as missing any.
    """
    model, transforms = predictor.model, predictor.transforms
    device = next(model.parameters()).device
    x_1F, blank_1F = (torch.tensor(transforms.of_rows([each])[0]).to(device) for each in (row, {}))
    places = [
        sum(len(each.names) for each in transforms.columns[: number + 1]) - 1
        for number, column in enumerate(transforms.columns)
        if column.indicator
    ]
    blank_1F[:, places] = 0

    def forward(x_BF: Tensor) -> Tensor:
        outputs_BO = model(x_BF)
        return outputs_BO[:, 0] if label is None else _log_odds(outputs_BO, label)

    unit = 1.0 if model.config.target is None else model.config.target.unit
    return _of_numbers(forward, x_1F, blank_1F, unit, lambda parts_1F: parts_1F[0])


def _of_numbers(
    forward: Forward, x: Tensor, blank: Tensor, unit: float, summed: Callable[[Tensor], Tensor]
) -> Attribution:
    from captum.attr import IntegratedGradients

    explain = IntegratedGradients(forward)
    return _attribution(
        lambda steps: explain.attribute(
            x, baselines=blank, n_steps=steps, internal_batch_size=_AT_ONCE, return_convergence_delta=True
        ),
        (forward(x) - forward(blank)).detach(),
        summed,
        unit,
    )


def _attribution(
    explain: Callable[[int], tuple[Tensor, Tensor]],
    moved_1: Tensor,
    summed: Callable[[Tensor], Tensor],
    unit: float = 1.0,
) -> Attribution:
    """Return the parts by as few steps as they add up with."""
    steps = _STEPS
    while True:
        parts, delta_1 = explain(steps)
        moved, delta = float(moved_1), float(delta_1)
        converged = abs(delta) <= max(_CLOSE * abs(moved), _NEXT_TO_NOTHING)
        if converged or steps >= _MOST_STEPS:
            weights = summed(parts.detach().double()).cpu().numpy()
            return Attribution(
                weights=weights * unit, moved=moved * unit, delta=delta * unit, steps=steps, converged=converged
            )
        steps *= 2


def _log_odds(logits_BL: Tensor, label: int) -> Tensor:
    """Return the logarithm of a label's probability over that of all others, [B]."""
    others = torch.arange(logits_BL.shape[1], device=logits_BL.device) != label
    return logits_BL[:, label] - logits_BL[:, others].logsumexp(dim=1)
