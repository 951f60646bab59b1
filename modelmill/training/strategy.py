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


def plan(model: torch.nn.Module, strategy: Strategy, layer_decay: float = 1.0, thaw_steps: int | None = None) -> Plan:
    """Freeze what does not learn, and return how the rest does.

    The depth of a weight is 0 before the layers, then its layer's number counted from 1, and one more behind them.
    Each step down learns at `layer_decay` times the rate above it, and, if `thaw_steps` is given, begins so many steps
    later (both ULMFiT, arXiv:1801.06146, section 3.2 and 3.3).

    Raises:
        UserError: the model has not what the strategy speaks of.
    """
    if isinstance(strategy, LoRA):
        _put_lora_in(model, strategy)
    depths = _depths(model)
    top = _top(model, depths)
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


def _top(model: torch.nn.Module, depths: dict[str, int]) -> int:
    """Return the depth of what is behind the layers, though nothing may be there."""
    stacks = _encoder_decoder(model)
    return 1 + sum(count for _, count in stacks) if stacks else max(depths.values())


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


def _put_lora_in(model: torch.nn.Module, strategy: LoRA) -> None:
    stacks = _encoder_decoder(model) or [_stack(model)]

    def chosen(name: str) -> bool:
        inside = [name.removeprefix(f"{stack}.") for stack, _ in stacks if name.startswith(f"{stack}.")]
        return bool(inside) and any(fnmatchcase(inside[0], pattern) for pattern in strategy.targets)

    if not lora.put_in(model, chosen, strategy.rank, strategy.alpha, strategy.dropout):
        raise UserError(
            f"finetune.strategy.targets: {', '.join(strategy.targets)} is the name of no dense layer under "
            f"{' and '.join(stack for stack, _ in stacks)}; write '*' for all"
        )


def _depths(model: torch.nn.Module) -> dict[str, int]:
    if stacks := _encoder_decoder(model):
        # Places that are counted and not learned (sinusoids) have no depth.
        return {
            name: _depth_of_both(name, stacks)
            for name, weight in model.named_parameters()
            if weight.requires_grad or "embed" not in name
        }
    stack, count = _stack(model)
    depths: dict[str, int] = {}
    before = True
    for name, _ in model.named_parameters():
        inside = name.removeprefix(f"{stack}.")
        if inside != name:
            before = False
            depths[name] = 1 + int(inside.partition(".")[0])
        else:
            depths[name] = 0 if before else count + 1
    return depths


def _depth_of_both(name: str, stacks: list[tuple[str, int]]) -> int:
    """Count the decoder's layers on from the encoder's; tables of tokens and places, the output's too, stand before."""
    below = 0
    for stack, count in stacks:
        if name.startswith(f"{stack}."):
            return below + 1 + int(name.removeprefix(f"{stack}.").partition(".")[0])
        below += count
    if "embed" in name or "shared" in name:
        return 0
    encoder, layers = stacks[0][0].rpartition(".")[0], stacks[0][1]
    return layers if name.startswith(f"{encoder}.") else below + 1


def _encoder_decoder(model: torch.nn.Module) -> list[tuple[str, int]]:
    """Return name and length of the encoder's and the decoder's list of layers; none where there are not both."""
    ends = ("encoder.layers", "encoder.block", "decoder.layers", "decoder.block")
    named = model.named_modules()
    found = [(name, len(part)) for name, part in named if isinstance(part, torch.nn.ModuleList) and name.endswith(ends)]
    return found if len(found) == 2 else []


def _stack(model: torch.nn.Module) -> tuple[str, int]:
    """Return the name of the longest list of layers, and its length.

    Raises:
        UserError: there is none.
    """
    stacks = {name: len(module) for name, module in model.named_modules() if isinstance(module, torch.nn.ModuleList)}
    if not stacks:
        raise UserError("finetune.strategy: this model has no stack of layers; write strategy: full")
    name = max(stacks, key=lambda each: stacks[each])
    return name, stacks[name]
