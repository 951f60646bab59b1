"""Dynamic int8 quantisation of linear layers: 8-bit weights with a scale for each output, inputs made so as they come.

In a folder `model.int8.safetensors` stands in the place of `model.safetensors`: of each quantised layer `<name>.weight`
in int8 and `<name>.weight_scale` in float32, all else as it was. `modelmill.json` says so under `quantization`. Another
name, because what reads the usual one would take the integers for weights.
"""

# M rows of all positions, I inputs of a layer, O outputs

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from modelmill.errors import UserError

KEY = "quantization"
"""Of `modelmill.json`."""
WEIGHTS, PLAIN = "model.int8.safetensors", "model.safetensors"
SCHEME = "int8-dynamic"
_SCALE = "_scale"
_MOST = 127
_TINY = 1e-12


class Int8Linear(nn.Module):
    """A linear layer whose products are of 8-bit integers; each row of its input has a scale of its own.

    So the answer to a row does not depend on the rows beside it, as with one scale for all it would. On a GPU the same
    weights are multiplied in float32.
    """

    weight_OI: Tensor

    def __init__(self, weight_OI: Tensor, scale_O: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight_OI", weight_OI)
        # Parameters, by which others ask a model for its device.
        self.scale_O = nn.Parameter(scale_O, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.out_features, self.in_features = weight_OI.shape

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs [..., O] of inputs [..., I]."""
        if x.is_cuda:
            return F.linear(x, self.weight_OI.float() * self.scale_O[:, None], self.bias)
        x_MI = x.reshape(-1, self.in_features).float()
        top_M1 = x_MI.abs().amax(dim=1, keepdim=True).clamp_min(_TINY)
        q_MI = (x_MI * (_MOST / top_M1)).round().to(torch.int8)
        # Sums of up to 133,000 products fit into int32.
        sums_MO = torch._int_mm(q_MI, self.weight_OI.t()) if len(q_MI) else q_MI.new_zeros(0, self.out_features)
        y_MO = sums_MO.float() * (top_M1 / _MOST) * self.scale_O
        if self.bias is not None:
            y_MO = y_MO + self.bias
        return y_MO.reshape(*x.shape[:-1], self.out_features)


def quantized(weight_OI: Tensor) -> tuple[Tensor, Tensor]:
    """Return a weight as int8 [O, I] and the scale of each output [O]; no weight moves by more than half a scale."""
    scale_O = weight_OI.abs().amax(dim=1).clamp_min(_TINY) / _MOST
    return (weight_OI / scale_O[:, None]).round().to(torch.int8), scale_O


def network_of(predictor: Any) -> nn.Module:
    """Return the network whose weights a predictor's folder holds, by the names that they have there."""
    model = predictor.model
    found: nn.Module = getattr(model, "network", model)
    return found


def save(predictor: Any, folder: Path, output: Path) -> int:
    """Write a folder's model with its linear layers quantised; return how many were.

    Layers that share their weights with others, or that others reach into, stay as they are.

    Raises:
        UserError: there is none to quantise, or the folder is quantised already.
    """
    if not (folder / PLAIN).is_file():
        raise UserError(f"{folder}: no {PLAIN}, whose layers could be quantised; name a model that is not quantised")
    weights = load_file(folder / PLAIN)
    names = [name for name in _layers(network_of(predictor)) if f"{name}.weight" in weights]
    if not names:
        raise UserError(
            f"{folder}: 0 linear layers among its {len(weights)} weights, so there is nothing to quantise: the rest "
            "stays in float32"
        )
    for name in names:
        key = f"{name}.weight"
        weights[key], weights[key + _SCALE] = quantized(weights[key].float())
    output.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_file() and path.name != PLAIN:
            shutil.copy2(path, output / path.name)
    save_file(weights, output / WEIGHTS, {"format": "pt"})
    return len(names)


def load(folder: Path, facts: Mapping[str, Any], plain: Callable[[Path, Mapping[str, Any]], Any]) -> Any:
    """Return the predictor of a quantised folder; `plain` loads one that is not.

    Raises:
        UserError: the folder holds no such weights, or they are of a scheme that is not known.
    """
    scheme = facts[KEY].get("scheme") if isinstance(facts[KEY], Mapping) else None
    if scheme != SCHEME:
        raise UserError(f"{folder}: weights quantised as {scheme!r}; {SCHEME!r} is read: update modelmill")
    try:
        weights = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{folder / WEIGHTS}: no safetensors ({error}); take the whole folder of one model") from error
    scales = {name.removesuffix(_SCALE): weights.pop(name) for name in list(weights) if name.endswith(_SCALE)}
    with tempfile.TemporaryDirectory(prefix="modelmill-int8-") as scratch:
        whole = Path(scratch)
        for path in folder.iterdir():
            if path.is_file() and path.name not in {WEIGHTS, PLAIN}:
                (whole / path.name).symlink_to(path.absolute())
        wide = {name: _wide(weight, scales.get(name)) for name, weight in weights.items()}
        save_file(wide, whole / PLAIN, {"format": "pt"})
        predictor = plain(whole, facts)
    network = network_of(predictor)
    for name, scale_O in scales.items():
        layer = network.get_submodule(name.removesuffix(".weight"))
        assert isinstance(layer, nn.Linear)
        device = layer.weight.device
        bias = None if layer.bias is None else layer.bias.detach()
        narrow = Int8Linear(weights[name].to(device), scale_O.to(device), bias)
        network.set_submodule(name.removesuffix(".weight"), narrow.eval())
    return predictor


def _wide(weight: Tensor, scale_O: Tensor | None) -> Tensor:
    return weight if scale_O is None else weight.float() * scale_O[:, None]


def _layers(network: nn.Module) -> list[str]:
    """Return the names of linear layers that are asked as a whole, and whose weights are theirs alone."""
    # Attention of torch's own reaches into its last layer, which therefore is of a class of its own.
    linear = {name: module for name, module in network.named_modules() if type(module) is nn.Linear}
    holders: dict[int, int] = {}
    for module in network.modules():
        for weight in module.parameters(recurse=False):
            holders[id(weight)] = holders.get(id(weight), 0) + 1
    return [name for name, module in linear.items() if holders[id(module.weight)] == 1]
