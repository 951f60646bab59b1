"""A number or a class learned from a table's vectors: a linear network or a multilayer perceptron."""

# N rows, F numbers of a vector

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from components.finetune.learner import Learner, Start, rows_of
from components.finetune.settings import FinetuneSettings
from modelmill.dataset import Dataset
from modelmill.errors import UserError
from modelmill.models import table
from modelmill.models.architecture import TableNetwork
from modelmill.models.table import TableConfig, TableModel, Target
from modelmill.training import objectives
from modelmill.training.data import Array
from modelmill.training.table_data import TableBatches

# Multiplications of a forward pass, a millisecond's work: of less, threads wait for each other longer than they work.
_FOR_ONE_CORE = 20_000_000


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Vectors, with what is to be predicted."""

    features_NF: Array
    answers_N: Array
    """Numbers of classes, or targets in their own unit."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is predicted: a number, or one of several classes."""

    name: str
    labels: tuple[str, ...] = ()
    """None where a number is."""


def prepare(settings: FinetuneSettings, dataset: Dataset, start: Start) -> Learner:
    """Return how the answer to a table's rows is learned.

    Raises:
        UserError: there are no training or validation rows, a value cannot be learned from, the shape is none of a
            table's network, or there are weights to start from.
    """
    if start.folder is not None:
        raise UserError(
            f"finetune.base: {start.folder} is to be started from, and a table's network starts from random weights, "
            "as its inputs are those of its own transforms; leave base out"
        )
    meta = dataset.meta
    answer = Answer(name=meta["target"], labels=tuple(meta.get("labels", ())))
    train, validation = (_rows(dataset, split, answer) for split in ("train", "validation"))

    def attach(folder: Path) -> None:
        dataset.fetch_attachments(folder)

    facts = {"features": meta["features"], "target": answer.name}
    return learner(settings, answer, train, validation, attach=attach, facts=facts)


def learner(
    settings: FinetuneSettings,
    answer: Answer,
    train: Rows,
    validation: Rows,
    *,
    attach: Callable[[Path], None],
    facts: dict[str, Any],
) -> Learner:
    """Return how the answer is learned from rows; `attach` writes what stands before the weights into a folder."""
    shape = _shape(settings)
    target = None
    if not answer.labels:
        mean, deviation = float(train.answers_N.mean()), float(train.answers_N.std())
        target = Target(name=answer.name, mean=mean, deviation=deviation)
    config = TableConfig(shape=shape, inputs=train.features_NF.shape[1], outputs=len(answer.labels) or 1, target=target)
    model = TableModel(config, settings.dropout)
    if settings.batch_rows * sum(weight.numel() for weight in model.parameters()) < _FOR_ONE_CORE:
        torch.set_num_threads(1)
    batches = _batches(settings, train, target)

    def save(folder: Path) -> None:
        table.save(model, folder)
        attach(folder)

    best = "mse" if target is not None else "accuracy"
    return Learner(
        model=model,
        objective=objectives.squared_error if target is not None else objectives.row_classification,
        batches=batches,
        steps_per_epoch=batches.steps_per_epoch,
        validation=_batches(settings, validation, target).fixed(),
        # A linear model has one best solution, that of the training rows: weights from the way there are another model.
        best=None if shape.family == "linear" else best,
        # These networks are too small to gain from bfloat16, whose three digits are too few for a regression.
        precision="fp32" if settings.precision == "auto" else settings.precision,
        save=save,
        meta={**facts, **({"labels": list(answer.labels)} if answer.labels else {})},
    )


def _shape(settings: FinetuneSettings) -> TableNetwork:
    shape = settings.model or TableNetwork(family="mlp")
    if not isinstance(shape, TableNetwork):
        raise UserError(
            f"finetune.model: {shape.family} does not read a table's rows; the families linear and mlp do: "
            "model: {family: mlp}"
        )
    return shape


def _rows(dataset: Dataset, split: str, answer: Answer) -> Rows:
    column = "label" if answer.labels else "target"
    found = rows_of(dataset, split, ["id", "features", column])
    rows = Rows(features_NF=vectors(found), answers_N=found[column].to_numpy())
    check(rows, answer, found["id"], f"{dataset.address}, split {split}", dataset.meta["names"])
    return rows


def vectors(table: pa.Table) -> Array:
    """Return the vectors of a table as an array [N, F]."""
    column = table["features"].combine_chunks()
    values: Array = column.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(column), column.type.list_size)


def check(rows: Rows, answer: Answer, ids: Any, where: str, names: list[str]) -> None:
    """Check that rows can be learned from.

    Raises:
        UserError: a number is not finite, or a class is none of the labels.
    """
    wrong = np.argwhere(~np.isfinite(rows.features_NF))
    if len(wrong):
        row, column = wrong[0]
        raise UserError(
            f"{where}, row {ids[row]}: feature {names[column]!r} is {rows.features_NF[row, column]}, as are "
            f"{len(wrong):,} of {rows.features_NF.size:,} values that are not finite; mend the data and run again"
        )
    if answer.labels:
        outside = np.flatnonzero((rows.answers_N < 0) | (rows.answers_N >= len(answer.labels)))
        said = f"the classes are 0 to {len(answer.labels) - 1} ({', '.join(answer.labels[:5])})"
    else:
        outside = np.flatnonzero(~np.isfinite(rows.answers_N))
        said = "a number is wanted"
    if len(outside):
        first = int(outside[0])
        raise UserError(
            f"{where}, row {ids[first]}: {answer.name} is {rows.answers_N[first]}, as wrong as {len(outside):,} of "
            f"{len(rows.answers_N):,}; {said}: mend the data and ingest again"
        )


def _batches(settings: FinetuneSettings, rows: Rows, target: Target | None) -> TableBatches:
    if target is None:
        answers_N = rows.answers_N.astype(np.int64)
    else:
        answers_N = ((rows.answers_N - target.mean) / target.unit).astype(np.float32)
    return TableBatches(
        features_NF=rows.features_NF.astype(np.float32, copy=False),
        answers_N=answers_N,
        batch_rows=settings.batch_rows,
        seed=settings.seed,
    )
