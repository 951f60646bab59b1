"""What fine-tuning needs to know of a kind of data: the loop, the checkpoints and the store are the same for all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import torch

from modelmill.dataset import Dataset
from modelmill.errors import UserError
from modelmill.training.data import Batch, Batches
from modelmill.training.distill import Parts
from modelmill.training.objectives import Objective
from modelmill.training.strategy import Plan


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where the weights come from."""

    folder: Path | None
    """A model's folder; None for random weights of the shape that the settings say."""


@dataclass(frozen=True, kw_only=True)
class Learner:
    """A model, what it learns from, and how it is kept."""

    model: torch.nn.Module
    objective: Objective
    batches: Batches
    steps_per_epoch: int
    """Batches that hold every row once."""
    validation: Sequence[Batch]
    best: str | None
    """The validation figure by which the best weights are chosen; None to keep the last ones."""
    save: Callable[[Path], None]
    """Writes the model, with all that stands before its weights, into a folder."""
    meta: Mapping[str, Any]
    """What `modelmill.json` says of it beside task and lineage."""
    plan: Plan | None = None
    """Which weights learn; None for all."""
    parts: Parts | None = None
    """The objective in two, where a teacher may stand beside; None where none may."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] | None = None
    """Another arithmetic than the settings say."""
    perplexity: bool = False
    """Whether the loss is of tokens, so that its exponential says among how many the model hesitates."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What is known of the data before learning, for the step's summary."""


def rows_of(dataset: Dataset, split: str, columns: Sequence[str]) -> pa.Table:
    """Return the columns of a split.

    Raises:
        UserError: it has no rows.
    """
    if not dataset.rows(split):
        raise UserError(
            f"{dataset.address}: 0 rows in the {split} split of {sum(map(dataset.rows, dataset.splits))}; raise "
            f"ingest.split.{split} or give more labelled rows"
        )
    return dataset.table(split, columns)
