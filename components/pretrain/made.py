"""What pretraining needs to know of a kind of data: the loop, the checkpoints and the store are the same for all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from components.pretrain.settings import PretrainSettings
from modelmill.errors import ModelmillError
from modelmill.training.data import Batch, Batches
from modelmill.training.objectives import Objective


@dataclass(frozen=True, kw_only=True)
class Learner:
    """A model, what it learns from, and what is known of that before learning."""

    model: torch.nn.Module
    objective: Objective
    batches: Batches
    validation: Sequence[Batch]
    figures: Mapping[str, Any]
    save: Callable[[Path], None]
    """Writes the model, with all that stands before its weights, into a folder."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What `modelmill.json` says of it beside task and lineage."""


def pin(settings: PretrainSettings, base: str) -> str:
    """Return the pin of a base model that the settings speak of.

    Raises:
        ModelmillError: the step was given none.
    """
    if not base:
        raise ModelmillError(f"pretrain: base is {settings.base!r}, and the step was given no pin of it")
    return base
