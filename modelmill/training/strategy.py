"""Which weights of a model with a stack of layers learn, from when on, and how fast."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch

from modelmill.errors import UserError
from modelmill.training import lora
from modelmill.training.optimizer import Group
from modelmill.training.settings import Last, LoRA, Matching, Strategy


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an optimiser needs to know of the weights."""

    groups: Sequence[Group]
    thaw: Callable[[int], None] | None = None
    """Lets those weights learn that do at a step, counted from 0; None where they are the same at all steps."""


def plan(
    model: torch.nn.Module,
    strategy: Strategy,
    layer_decay: float = 1.0,
    thaw_steps: int | None = None,
    layers: Sequence[str] | None = None,
) -> Plan:
    """Freeze what does not learn, and return how the rest does.

    `layers` are the layers' names from the first to the last; left out, those of the longest list of layers.

    The depth of a weight is 0 before the layers, then its layer's number counted from 1, and one more behind them.
    Each step down learns at `layer_decay` times the rate above it, and, if `thaw_steps` is given, begins so many steps
    later (both ULMFiT, arXiv:1801.06146, section 3.2 and 3.3).

    Raises:
        UserError: the model has not what the strategy speaks of.
    """
    layers = _stack(model) if layers is None else layers
    if isinstance(strategy, LoRA):
        _put_lora_in(model, strategy, layers)
    depths = _depths(model, layers)
    top = len(layers) + 1
    learns = _learning(depths, strategy, top)
    weights = dict(model.named_parameters())
    for name, weight in weights.items():
        weight.requires_grad_(name in learns)
    groups = [
        Group(
            [weights[name] for name in weights if name in learns and depths[name] == depth],
            layer_decay ** (top - depth),
        )
        for depth in range(top + 1)
    ]
    if thaw_steps is None:
        return Plan(groups=[group for group in groups if group.weights])

    # Where nothing is behind the layers, the last of them begins.
    highest = max(depths[name] for name in learns)

    def thaw(step: int) -> None:
        lowest = highest - step // thaw_steps
        for name in learns:
            weights[name].requires_grad_(depths[name] >= lowest)

    return Plan(groups=[group for group in groups if group.weights], thaw=thaw)


def _learning(depths: dict[str, int], strategy: Strategy, top: int) -> set[str]:
    """Return the names of the weights that learn.

    Raises:
        UserError: the model has not what the strategy speaks of.
    """
    if isinstance(strategy, Matching):
        found = {name for name in depths if any(fnmatchcase(name, pattern) for pattern in strategy.weights)}
        for pattern in strategy.weights:
            if not any(fnmatchcase(name, pattern) for name in depths):
                raise UserError(
                    f"finetune.strategy.weights: {pattern!r} is the name of none of {len(depths)} weights; one is "
                    f"{next(iter(depths))}"
                )
        return found
    if isinstance(strategy, Last):
        if strategy.layers >= top:
            raise UserError(
                f"finetune.strategy.layers: {strategy.layers} of the {top - 1} layers that the model has; write less, "
                "or strategy: full"
            )
        return {name for name, depth in depths.items() if depth >= top - strategy.layers}
    if isinstance(strategy, LoRA):
        thin = (".down_RI", ".up_OR")
        return {name for name, depth in depths.items() if depth == top or name.endswith(thin)}
    if strategy.name == "full":
        return set(depths)
    behind = {name for name, depth in depths.items() if depth == top}
    if not behind:
        raise UserError(
            f"finetune.strategy: head learns what is behind the layers, and behind the {top - 1} of this model is "
            "nothing but the table of its tokens; write {name: last, layers: 1}, or lora"
        )
    return behind


def _put_lora_in(model: torch.nn.Module, strategy: LoRA, layers: Sequence[str]) -> None:
    def chosen(name: str) -> bool:
        number = _layer(name, layers)
        if number is None:
            return False
        inside = f"{number}{name.removeprefix(layers[number])}"
        return any(fnmatchcase(inside, pattern) for pattern in strategy.targets)

    if not lora.put_in(model, chosen, strategy.rank, strategy.alpha, strategy.dropout):
        raise UserError(
            f"finetune.strategy.targets: {', '.join(strategy.targets)} is the name of no dense layer under "
            f"{' and '.join(dict.fromkeys(layer.rpartition('.')[0] for layer in layers))}; write '*' for all"
        )


def _depths(model: torch.nn.Module, layers: Sequence[str]) -> dict[str, int]:
    if _reads_and_writes(model):
        # Places that are counted and not learned (sinusoids) have no depth.
        return {
            name: _depth_of_both(name, layers)
            for name, weight in model.named_parameters()
            if weight.requires_grad or "embed" not in name
        }
    depths: dict[str, int] = {}
    before = True
    for name, _ in model.named_parameters():
        number = _layer(name, layers)
        before = before and number is None
        depths[name] = 1 + number if number is not None else 0 if before else len(layers) + 1
    return depths


def _depth_of_both(name: str, layers: Sequence[str]) -> int:
    """Count the decoder's layers on from the encoder's; tables of tokens and places, the output's too, stand before."""
    number = _layer(name, layers)
    if number is not None:
        return 1 + number
    if "embed" in name or "shared" in name:
        return 0
    encoder = layers[0].rpartition(".")[0]
    own = sum(layer.startswith(f"{encoder}.") for layer in layers)
    return own if name.startswith(f"{encoder.rpartition('.')[0]}.") else len(layers) + 1


def _reads_and_writes(model: torch.nn.Module) -> list[tuple[str, int]]:
    """Return name and length of the encoder's and the decoder's list of layers; none where there are not both."""
    ends = ("encoder.layers", "encoder.block", "decoder.layers", "decoder.block")
    named = model.named_modules()
    found = [(name, len(part)) for name, part in named if isinstance(part, torch.nn.ModuleList) and name.endswith(ends)]
    return found if len(found) == 2 else []


def _layer(name: str, layers: Sequence[str]) -> int | None:
    """Return the number of the layer that a name is in, counted from 0."""
    return next((number for number, layer in enumerate(layers) if name.startswith(f"{layer}.")), None)


def _stack(model: torch.nn.Module) -> list[str]:
    """Return the names of the layers of the longest list of layers, or of an encoder's and its decoder's.

    Raises:
        UserError: there is none.
    """
    if both := _reads_and_writes(model):
        return [f"{name}.{number}" for name, count in both for number in range(count)]
    stacks = {name: len(module) for name, module in model.named_modules() if isinstance(module, torch.nn.ModuleList)}
    if not stacks:
        raise UserError("finetune.strategy: this model has no stack of layers; write strategy: full")
    name = max(stacks, key=lambda each: stacks[each])
    return [f"{name}.{number}" for number in range(stacks[name])]
