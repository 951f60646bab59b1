"""How long a training computes, and what that costs."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmill.home import home
from modelmill.profile import NodeKind
from modelmill.training.outline import Estimate
from pipelines.plan.trainings import Trained

UTILISATION = 0.4
"""Share of a device's best rate that a training reaches: what well-tuned trainings of transformers are reported with
(Llama 3, section 3.3.2, arXiv:2407.21783: 0.38 to 0.43). A small model on a large device reaches less."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a training computes and how long that takes; None where it is not known."""

    flops: float | None
    hours: float | None
    """From start to end, validation and saving not counted."""
    device_hours: float | None
    """Times the devices, or the processes where there is none."""
    price: float | None
    """In the profile's currency."""
    basis: str
    """Where the time is from."""


def cost_of(trained: Trained, estimate: Estimate, kind: NodeKind, recipe: str, *, here: bool) -> Cost:
    """Return what a training costs on a kind of node.

    Operations are the rows' own, forward and backward, by the share of their length that tokens fill; hours are these
    over devices x rate x utilisation. `here`, where no rate is told, the last run's tokens a second count.
    """
    if trained.rows is None:
        return Cost(flops=None, hours=None, device_hours=None, price=None, basis=f"rows are {trained.basis}")
    flops = trained.rows * estimate.flops_per_row * trained.fill
    hours, basis = None, "not known: the profile tells no device_tflops of this kind"
    if kind.device_tflops is not None:
        hours = flops / (trained.world * kind.device_tflops * 1e12 * UTILISATION) / 3600
        basis = f"{kind.device_tflops:g} TFLOPS a device, {UTILISATION:.0%} of them used"
    elif here:
        rate = _last_rate(recipe, trained.step)
        basis = "not known: no run of this recipe here yet"
        if rate is not None and trained.tokens is not None:
            hours = trained.tokens / rate[0] / 3600
            basis = f"{rate[0]:,.0f} {rate[1]} a second, as the last run here"
    price = None if hours is None or kind.price_per_hour is None else hours * kind.price_per_hour * kind.nodes
    return Cost(
        flops=flops,
        hours=hours,
        device_hours=None if hours is None else hours * trained.world,
        price=price,
        basis=basis,
    )


def _last_rate(recipe: str, step: str) -> tuple[float, str] | None:
    """Return how much a second the last run of a recipe here trained with, and of what; a cached step tells its own."""
    for folder in former_runs(recipe):
        summary = _summary(folder, step)
        # Where tokens are not told, a row is one.
        for figure, unit in (("tokens_per_second", "tokens"), ("samples_per_second", "rows")):
            if summary.get(figure):
                return float(summary[figure]), unit
    return None


def former_runs(recipe: str) -> Iterator[Path]:
    """Yield the folders of the runs of a recipe here, the newest first."""
    for folder in sorted((home() / "runs").glob("*/"), reverse=True):
        try:
            name = json.loads((folder / "recipe.json").read_text())["recipe"]["name"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if name == recipe and (folder / "outputs.json").is_file():
            yield folder


def _summary(folder: Path, step: str) -> dict[str, Any]:
    try:
        found = json.loads(json.loads((folder / "outputs.json").read_text())[step]["summary"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
