"""The number or the class of a table's raw row: transformed as the training rows were, then asked of the network."""

# N rows, F numbers of a vector, L labels

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from modelmill.errors import UserError
from modelmill.models import table
from modelmill.models.table import TableModel
from modelmill.tables.transforms import FILE, Transforms, Vectors, read_transforms

Answers = npt.NDArray[np.float64]

# Rows that go through at a time.
_BATCH = 4096


@dataclass(frozen=True, kw_only=True)
class TablePredictor:
    """A network over a table's rows with all that stands before its weights."""

    model: TableModel
    transforms: Transforms
    labels: tuple[str, ...]
    """None where a number is predicted."""
    target: str

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> Answers:
        """Return the probability of each label [N, L], or the number in its own unit [N], in single precision.

        A row names columns and values; what it does not name is missing.

        Raises:
            UserError: a value is of another type or refused, or a name is no column.
        """
        return self.of_vectors(self.transforms.of_rows(rows)[0])

    def of_vectors(self, features_NF: Vectors) -> Answers:
        """Return the same for rows that are vectors already."""
        return answers_of(self.model, features_NF)


def load(folder: Path, facts: Mapping[str, Any]) -> TablePredictor:
    """Load a table's network from its folder, which `facts` describes.

    Raises:
        UserError: the folder holds no such model, or its parts do not fit together.
        KeyError: the facts lack something.
    """
    labels = tuple(facts["labels"]) if facts["task"] == "table-classification" else ()
    model, transforms = table.load(folder), read_transforms(folder / FILE)
    config = model.config
    wanted = (len(transforms.names), len(labels) or 1, not labels)
    if (config.inputs, config.outputs, config.target is not None) != wanted:
        answers = f"{len(labels)} labels" if labels else "a number"
        raise UserError(
            f"{folder}: a network of {config.inputs} inputs and {config.outputs} outputs, its transforms give "
            f"{len(transforms.names)} and it is to answer {answers}; take the whole folder of one model"
        )
    if torch.cuda.is_available():
        model.to("cuda")
    return TablePredictor(model=model, transforms=transforms, labels=labels, target=str(facts["target"]))


def answers_of(model: TableModel, features_NF: Vectors) -> Answers:
    """Return the probabilities [N, L], or the numbers in the target's unit [N], that a network gives vectors."""
    parts = [_batch(model, features_NF[start : start + _BATCH]) for start in range(0, len(features_NF), _BATCH)]
    if parts:
        return np.concatenate(parts)
    return np.zeros((0, model.config.outputs) if model.config.target is None else 0)


def _batch(model: TableModel, features_BF: Vectors) -> Answers:
    device = next(model.parameters()).device
    with torch.inference_mode():
        outputs_BO = model(torch.tensor(features_BF).to(device)).double().cpu()
    target = model.config.target
    if target is None:
        probability_BL: Answers = outputs_BO.softmax(dim=1).numpy()
        return probability_BL
    number_B: Answers = outputs_BO.squeeze(1).numpy() * target.unit + target.mean
    return number_B
