"""Cross-validation of what is learned from a table: trained k times, each time measured on rows it has not seen.

The training and the validation rows are divided, by group, so that rows that belong together never part. The test rows
stay out: who chooses settings by these figures can still trust the test. Each training is the recipe's own, with
transforms of its own rows and, in the same share, validation rows of its own for the choice of the best weights; the
fold that it is measured on decides nothing.
"""

# N rows, G groups, F numbers of a vector, L labels

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from components.finetune import tables
from components.finetune.learner import Learner
from components.finetune.settings import FinetuneSettings
from components.finetune.tables import Answer, Rows
from modelmill.dataset import Dataset, open_dataset
from modelmill.digest import sha256_hex
from modelmill.errors import UserError
from modelmill.evaluation import baselines, metrics, regression
from modelmill.evaluation.document import CrossValidation, Spread
from modelmill.evaluation.regression import rounded
from modelmill.models.table import TableModel
from modelmill.models.table_predictor import answers_of
from modelmill.step import Step
from modelmill.tables.settings import TableTransforms
from modelmill.tables.transforms import FILE, Transforms, fit_transforms

Integers = npt.NDArray[np.int64]
Fit = Callable[[Step, Learner, str], Any]
"""Trains a learner's model in place; the name tells the trainings of one step apart."""

_LEAST_ROWS = 2


@dataclass(kw_only=True)
class _Quiet(Step):
    """A step whose training tells of its progress, but not of its curves: those of the folds are not the model's."""

    of: Step

    def figures(self, values: Mapping[str, float], at: int | None = None) -> None:
        """Tell nothing."""

    @property
    def stopping(self) -> bool:
        """Whether the step was asked to stop."""
        return self.of.stopping

    def check_stop(self) -> None:
        """Raise if the step was asked to stop."""
        self.of.check_stop()


def cross_validate(step: Step, settings: FinetuneSettings, dataset: Dataset, fit: Fit) -> CrossValidation:
    """Return the figures of the model, and of the baselines, over `settings.folds` folds.

    Raises:
        Interrupted: the step was asked to stop.
        UserError: there are too few rows, or a value is refused.
    """
    assert settings.folds is not None
    if "source" not in dataset.meta:
        raise UserError(
            f"finetune.folds: {settings.folds} folds are asked for, and {dataset.address} holds "
            f"{dataset.meta['kind']}; cross-validation is for tables: leave folds out"
        )
    source = open_dataset(step.store, dataset.meta["source"])
    table = pa.concat_tables([source.table(split) for split in ("train", "validation")])
    fold_N, inner_N = divide(table["group"].to_numpy(), settings.folds, _share(source))
    transforms = Transforms.model_validate_json(step.store.get_blob(dataset.attachments[FILE].sha256))
    answer = Answer(name=dataset.meta["target"], labels=tuple(dataset.meta.get("labels", ())))
    quiet = _Quiet(name=step.name, store=step.store, scratch=step.scratch, events=step.events, of=step)
    found: dict[str, dict[str, list[float]]] = {}
    for number in range(settings.folds):
        held, validation = fold_N == number, (fold_N != number) & inner_N
        fold = _Fold(
            step=quiet,
            settings=settings,
            answer=answer,
            fit_by=transforms.settings,
            kinds=dataset.meta["features"],
            name=f"fold {number + 1} of {settings.folds}",
        )
        parts = {"train": ~held & ~validation, "validation": validation, "held": held}
        for who, figures in fold.measure({name: table.filter(pa.array(rows)) for name, rows in parts.items()}, fit):
            for metric, value in figures.items():
                found.setdefault(who, {}).setdefault(metric, []).append(value)
        step.figures({f"fold_{metric}": values[-1] for metric, values in found["model"].items()}, at=number + 1)
    return CrossValidation(
        folds=settings.folds,
        rows=table.num_rows,
        figures={
            who: {
                metric: _spread(metric, values) for metric, values in figures.items() if len(values) == settings.folds
            }
            for who, figures in found.items()
        },
    )


def divide(group_N: npt.NDArray[np.uint64], folds: int, share: float) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """Return the fold of each row, and which rows choose the best weights where they are not held out.

    Groups are dealt out in the order of their hashes, each to the fold in which its middle row lies, so that folds are
    as large as each other up to the size of a group.

    Raises:
        UserError: a fold would have fewer than two rows.
    """
    group_G, place_N, size_G = np.unique(group_N, return_inverse=True, return_counts=True)
    # Hashed anew: the groups' own numbers have decided which rows are in the test.
    draw_G = np.array([int(sha256_hex(f"fold {group}")[:16], 16) for group in group_G.tolist()], dtype=np.uint64)
    order = np.argsort(draw_G, kind="stable")
    middle_G = np.empty(len(group_G))
    middle_G[order] = np.cumsum(size_G[order]) - size_G[order] / 2
    fold_N = (middle_G * folds / max(len(group_N), 1)).astype(np.int64)[place_N]
    smallest = int(np.bincount(fold_N, minlength=folds).min()) if len(group_N) else 0
    if smallest < _LEAST_ROWS:
        raise UserError(
            f"finetune.folds: {folds} folds of {len(group_N):,} rows in {len(group_G):,} groups leave one with "
            f"{smallest} rows, and {_LEAST_ROWS} are needed; ask for fewer folds, or give more rows"
        )
    inner_G = np.array([int(sha256_hex(f"inner {group}")[:8], 16) / 2**32 for group in group_G.tolist()]) < share
    return fold_N, inner_G[place_N]


def _share(source: Dataset) -> float:
    """Return what share of the rows the recipe's own training takes for the choice of the best weights."""
    return source.rows("validation") / max(source.rows("train") + source.rows("validation"), 1)


@dataclass(frozen=True, kw_only=True)
class _Fold:
    step: Step
    settings: FinetuneSettings
    answer: Answer
    fit_by: TableTransforms
    kinds: Mapping[str, Any]
    name: str

    def measure(self, parts: Mapping[str, pa.Table], fit: Fit) -> list[tuple[str, dict[str, float]]]:
        """Return the figures of the model and the baselines, trained on one part of the rows, on those held out."""
        train = parts["train"]
        if not train.num_rows or not parts["validation"].num_rows:
            raise UserError(
                f"finetune.folds: {self.name} has {train.num_rows} training and {parts['validation'].num_rows} "
                "validation rows, and needs some of both; ask for fewer folds, raise ingest.split.validation, or give "
                "more rows"
            )
        transforms = fit_transforms(self.fit_by, self.kinds, train["features"], train["id"].to_pylist())
        rows = {name: self._rows(part, transforms) for name, part in parts.items()}
        # Each training is the same whether or not another one came before it.
        torch.manual_seed(self.settings.seed)
        learner = tables.learner(
            self.settings, self.answer, rows["train"], rows["validation"], attach=lambda _folder: None, facts={}
        )
        fit(self.step, learner, self.name)
        assert isinstance(learner.model, TableModel)
        return self._figures(rows, answers_of(learner.model, rows["held"].features_NF))

    def _rows(self, part: pa.Table, transforms: Transforms) -> Rows:
        features_NF, _ = transforms.of_table(part["features"], part["id"].to_pylist())
        answers_N = part["label" if self.answer.labels else "target"].to_numpy()
        rows = Rows(features_NF=features_NF, answers_N=answers_N)
        tables.check(rows, self.answer, part["id"], self.name, list(transforms.names))
        return rows

    def _figures(self, rows: Mapping[str, Rows], found: npt.NDArray[np.float64]) -> list[tuple[str, dict[str, float]]]:
        train, held = rows["train"], rows["held"]
        if self.answer.labels:
            truth_N, count = held.answers_N.astype(np.int64), len(self.answer.labels)
            prior_NL = baselines.majority(train.answers_N.astype(np.int64), count, len(truth_N))
            return [("model", metrics.score(truth_N, found)), ("majority", metrics.score(truth_N, prior_NL))]
        mean_N = baselines.mean(train.answers_N, len(held.answers_N))
        linear_N = baselines.least_squares(train.features_NF, train.answers_N, held.features_NF)
        by_name = {"model": found, "linear": linear_N, "mean": mean_N}
        return [(name, regression.score(held.answers_N, numbers_N)) for name, numbers_N in by_name.items()]


def _spread(metric: str, values: list[float]) -> Spread:
    return Spread(
        mean=rounded(metric, float(np.mean(values))),
        deviation=rounded(metric, float(np.std(values, ddof=1))),
        folds=tuple(values),
    )
